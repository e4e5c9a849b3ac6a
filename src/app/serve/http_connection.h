// One connection: reads, hands out, writes, notices when the other side leaves. Everything on the loop's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "serve/byte_stream.h"
#include "serve/http_server.h"

namespace lapidary {

using LoopClock = std::chrono::steady_clock;

class HttpConnection;
class ConnectionExchange;

// What connections need of the server.
struct ConnectionHost {
  HttpLimits limits;
  HttpHandlers handlers;
  boost::asio::io_context context{1};
  std::optional<boost::asio::thread_pool> workers;
  std::function<void(HttpConnection*)> closed;
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(ConnectionHost& host, std::unique_ptr<ByteStream> stream, bool unix_socket);

  void start();
  void close();  // at once; a running request's client counts as gone
  void check_deadline(LoopClock::time_point now);

  bool busy() const { return exchange_ != nullptr; }
  bool opening() const { return state_ == State::opening; }  // in the handshake
  LoopClock::time_point since() const { return since_; }
  const Caller* caller() const;

  // From the exchange.
  void reply(const ConnectionExchange* from, HttpReply reply);
  void begin_stream(const ConnectionExchange* from, HttpReply head);
  void send(const ConnectionExchange* from, std::string_view bytes);
  void end_stream(const ConnectionExchange* from);
  bool peer_gone() const { return peer_gone_; }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class State : uint8_t { opening, waiting, head, body, busy, lingering, closed };

  void read();
  void on_read(size_t bytes);
  void on_end_of_input(bool broken);
  void consume();
  bool take_head();  // false: refused
  void take_request();
  void refuse(HttpReply reply);
  void refuse(int status, const std::string& message);
  void set_deadline(double seconds);
  void write_head(const HttpReply& reply, std::optional<size_t> body_bytes);
  void flush();
  void on_written();
  void finish();

  ConnectionHost& host_;
  const std::unique_ptr<ByteStream> stream_;
  const bool unix_socket_;
  State state_ = State::opening;
  std::string input_, block_;
  std::optional<Parser> parser_;
  HttpRequest head_;
  bool reading_ = false, writing_ = false, peer_gone_ = false;
  bool keep_alive_ = true, chunked_ = false, streaming_ = false, answer_complete_ = false, head_only_ = false;
  std::string queued_, in_writing_;
  LoopClock::time_point since_, deadline_, body_deadline_, write_deadline_;
  std::shared_ptr<ConnectionExchange> exchange_;
};

// Exchange by messages to the loop.
class ConnectionExchange : public Exchange, public std::enable_shared_from_this<ConnectionExchange> {
 public:
  ConnectionExchange(ConnectionHost& host, std::shared_ptr<HttpConnection> connection, HttpRequest request)
      : host_(host), connection_(std::move(connection)), request_(std::move(request)) {}

  const HttpRequest& request() const override { return request_; }
  void reply(HttpReply reply) override;
  void begin_stream(HttpReply head) override;
  void send(std::string bytes) override;
  void end_stream() override;
  void on_gone(std::function<void()> gone) override;
  void post(std::function<void()> work) override;

  // From the connection.
  void client_left();  // calls what on_gone() set
  bool minds_half_close() const { return static_cast<bool>(gone_); }
  void detach() { connection_.reset(), gone_ = nullptr; }

 private:
  ConnectionHost& host_;
  std::shared_ptr<HttpConnection> connection_;  // null once answered, or gone
  HttpRequest request_;
  std::function<void()> gone_;
  bool left_ = false;
};

}  // namespace lapidary
