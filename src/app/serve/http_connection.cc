#include "serve/http_connection.h"

#include <fmt/format.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/write.hpp>
#include <exception>
#include <sstream>

#include "serve/url.h"

namespace lapidary {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr size_t block_bytes = 64 << 10;
constexpr double linger_seconds = 3;

template <typename View>
std::string to_string(const View& view) {
  return std::string(view.data(), view.size());
}

std::chrono::nanoseconds duration(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// A header's value comes from our own code, but may hold text of a request: nothing may end the line.
std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace

HttpConnection::HttpConnection(ConnectionHost& host, std::unique_ptr<ByteStream> stream, bool unix_socket)
    : host_(host), stream_(std::move(stream)), unix_socket_(unix_socket), since_(LoopClock::now()) {}

const Caller* HttpConnection::caller() const { return exchange_ ? &exchange_->request().caller : nullptr; }

void HttpConnection::start() {
  set_deadline(host_.limits.handshake_seconds);
  stream_->open([self = shared_from_this()](error_code error) {
    if (self->state_ == State::closed) return;
    if (error) return self->close();
    self->state_ = State::waiting;
    self->set_deadline(self->host_.limits.header_seconds);  // a fresh connection that says nothing is no keep-alive
    self->read();
  });
}

void HttpConnection::set_deadline(double seconds) {
  since_ = LoopClock::now();
  deadline_ = since_ + duration(seconds);
}

void HttpConnection::check_deadline(LoopClock::time_point now) {
  if (writing_ && now > write_deadline_) return close();
  if (state_ == State::busy || now <= deadline_) return;
  if (state_ == State::head || state_ == State::body) return refuse(408, "the request took too long to arrive");
  close();
}

void HttpConnection::close() {
  if (state_ == State::closed) return;
  const auto self = shared_from_this();
  state_ = State::closed;
  peer_gone_ = true;
  stream_->close();
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->client_left();
    exchange->detach();
  }
  host_.closed(this);
}

void HttpConnection::read() {
  if (reading_ || state_ == State::closed || peer_gone_) return;
  reading_ = true;
  block_.resize(block_bytes);
  stream_->read_some(asio::buffer(block_), [self = shared_from_this()](error_code error, size_t bytes) {
    self->reading_ = false;
    if (self->state_ == State::closed) return;
    if (error)
      self->on_end_of_input(error != asio::error::eof);
    else
      self->on_read(bytes);
  });
}

void HttpConnection::on_read(size_t bytes) {
  if (state_ == State::lingering) return read();  // thrown away
  input_.append(block_, 0, bytes);
  if (state_ == State::busy) {
    if (input_.size() > host_.limits.pipelined_bytes_max) return close();
    return read();
  }
  consume();
}

// A client that half-closes while a stream runs has left. A plain answer is still written to it.
void HttpConnection::on_end_of_input(bool broken) {
  peer_gone_ = true;
  if (broken || !exchange_ || exchange_->minds_half_close()) {
    if (state_ == State::busy && !exchange_ && !broken) return;  // the answer's end is still being written
    return close();
  }
}

void HttpConnection::consume() {
  while (state_ != State::busy && state_ != State::lingering && state_ != State::closed && !input_.empty()) {
    if (!parser_) {
      parser_.emplace();
      parser_->header_limit(host_.limits.header_bytes_max);
      parser_->body_limit(host_.limits.body_bytes_max);
      head_ = HttpRequest();
      state_ = State::head;
      set_deadline(host_.limits.header_seconds);
      body_deadline_ = since_ + duration(host_.limits.body_seconds);
    }
    error_code error;
    const size_t used = parser_->put(asio::buffer(input_), error);
    input_.erase(0, used);
    if (error == http::error::need_more) error = {};
    if (error == http::error::header_limit)
      return refuse(431, fmt::format("headers of more than {} bytes", host_.limits.header_bytes_max));
    if (error == http::error::body_limit)
      return refuse(413, fmt::format("a body of more than {} bytes", host_.limits.body_bytes_max));
    if (error) return refuse(400, fmt::format("not a proper HTTP request: {}", error.message()));
    if (state_ == State::head && parser_->is_header_done() && !take_head()) return;
    if (parser_->is_done()) return take_request();
    if (state_ == State::body)
      deadline_ = std::min(LoopClock::now() + duration(host_.limits.body_pause_seconds), body_deadline_);
    if (used == 0) break;
  }
  read();
}

bool HttpConnection::take_head() {
  const auto& message = parser_->get();
  head_.method = to_string(message.method_string());
  head_.unix_socket = unix_socket_;
  keep_alive_ = message.keep_alive();
  chunked_ = message.version() >= 11;
  head_only_ = head_.method == "HEAD";
  size_t count = 0;
  for (const auto& field : message) {
    if (++count > host_.limits.headers_max) {
      refuse(431, fmt::format("more than {} headers", host_.limits.headers_max));
      return false;
    }
    head_.headers.emplace_back(lower_case(to_string(field.name_string())), to_string(field.value()));
  }
  if (const auto target = parse_target(to_string(message.target()), head_); !target) {
    refuse(400, target.error().text());
    return false;
  }
  if (auto refusal = host_.handlers.head(head_)) {
    refuse(std::move(*refusal));
    return false;
  }
  state_ = State::body;
  if (lower_case(std::string(head_.header("expect"))) == "100-continue" && !parser_->is_done()) {
    queued_ += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
  }
  return true;
}

void HttpConnection::take_request() {
  state_ = State::busy;
  streaming_ = answer_complete_ = false;
  head_.body = std::move(parser_->get().body());
  parser_.reset();
  exchange_ = std::make_shared<ConnectionExchange>(host_, shared_from_this(), std::move(head_));
  head_ = HttpRequest();
  asio::post(*host_.workers, [&host = host_, exchange = exchange_] {
    try {
      host.handlers.request(exchange);
    } catch (const std::exception& problem) {
      exchange->reply(
          host.handlers.broken(500, fmt::format("a fault in the server: {}", problem.what()), exchange->request()));
    }
  });
  read();
}

void HttpConnection::refuse(int status, const std::string& message) {
  refuse(host_.handlers.broken(status, message, head_));
}

// Before a body was read: what of it still comes is thrown away, so that the client gets to read the answer.
void HttpConnection::refuse(HttpReply reply) {
  state_ = State::busy;
  const bool complete = parser_ && parser_->is_done();
  if (!complete) {
    keep_alive_ = false;
    input_.clear();
  }
  parser_.reset();
  if (reply.close) keep_alive_ = false;
  write_head(reply, reply.body.size());
  if (!head_only_) queued_ += reply.body;
  answer_complete_ = true;
  flush();
  read();
}

void HttpConnection::write_head(const HttpReply& reply, std::optional<size_t> body_bytes) {
  http::response_header<> head;
  head.version(11);
  head.result(static_cast<unsigned>(reply.status));
  if (!reply.content_type.empty() && reply.status != 204) head.set(http::field::content_type, reply.content_type);
  if (body_bytes && reply.status != 204) head.set(http::field::content_length, std::to_string(*body_bytes));
  if (!body_bytes && chunked_) head.set(http::field::transfer_encoding, "chunked");
  if (!body_bytes && !chunked_) keep_alive_ = false;
  head.set(http::field::connection, keep_alive_ ? "keep-alive" : "close");
  for (const auto& [name, value] : reply.headers) head.set(name, one_line(value));
  const HttpRequest& request = exchange_ ? exchange_->request() : head_;
  for (const auto& [name, value] : host_.handlers.common_headers(request)) head.set(name, one_line(value));
  std::ostringstream text;
  text << head;
  queued_ += text.str();
}

void HttpConnection::reply(const ConnectionExchange* from, HttpReply reply) {
  if (from != exchange_.get() || streaming_ || answer_complete_) return;
  if (reply.close) keep_alive_ = false;
  write_head(reply, reply.body.size());
  if (!head_only_) queued_ += reply.body;
  finish();
}

void HttpConnection::begin_stream(const ConnectionExchange* from, HttpReply head) {
  if (from != exchange_.get() || streaming_ || answer_complete_) return;
  streaming_ = true;
  write_head(head, std::nullopt);
  flush();
}

void HttpConnection::send(const ConnectionExchange* from, std::string_view bytes) {
  if (from != exchange_.get() || !streaming_ || bytes.empty()) return;
  if (queued_.size() + bytes.size() > host_.limits.queued_bytes_max) return close();  // reads too slowly
  if (chunked_) {
    const auto chunk = http::make_chunk(asio::buffer(bytes.data(), bytes.size()));
    for (const asio::const_buffer part : boost::beast::buffers_range_ref(chunk))
      queued_.append(static_cast<const char*>(part.data()), part.size());
  } else {
    queued_ += bytes;
  }
  flush();
}

void HttpConnection::end_stream(const ConnectionExchange* from) {
  if (from != exchange_.get() || !streaming_) return;
  if (chunked_) queued_ += "0\r\n\r\n";
  finish();
}

void HttpConnection::finish() {
  answer_complete_ = true;
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->detach();
  flush();
}

void HttpConnection::flush() {
  if (writing_ || queued_.empty() || state_ == State::closed) return;
  writing_ = true;
  in_writing_.clear();
  in_writing_.swap(queued_);
  write_deadline_ = LoopClock::now() + duration(host_.limits.write_seconds);
  stream_->write_all(asio::buffer(in_writing_), [self = shared_from_this()](error_code error, size_t) {
    self->writing_ = false;
    if (self->state_ == State::closed) return;
    if (error) return self->close();
    self->on_written();
  });
}

void HttpConnection::on_written() {
  if (!queued_.empty()) return flush();
  if (!answer_complete_) return;
  answer_complete_ = streaming_ = false;
  if (peer_gone_) return close();
  if (keep_alive_) {
    state_ = State::waiting;
    set_deadline(host_.limits.idle_seconds);
    return consume();
  }
  state_ = State::lingering;
  set_deadline(linger_seconds);
  stream_->end_output([self = shared_from_this()](error_code) {});
  read();
}

// A reply, or a piece of a stream, on the loop's thread.
void ConnectionExchange::reply(HttpReply reply) {
  asio::dispatch(host_.context, [self = shared_from_this(), reply = std::move(reply)]() mutable {
    if (const auto connection = self->connection_) connection->reply(self.get(), std::move(reply));
  });
}

void ConnectionExchange::begin_stream(HttpReply head) {
  asio::dispatch(host_.context, [self = shared_from_this(), head = std::move(head)]() mutable {
    if (const auto connection = self->connection_) connection->begin_stream(self.get(), std::move(head));
  });
}

void ConnectionExchange::send(std::string bytes) {
  asio::dispatch(host_.context, [self = shared_from_this(), bytes = std::move(bytes)] {
    if (const auto connection = self->connection_) connection->send(self.get(), bytes);
  });
}

void ConnectionExchange::end_stream() {
  asio::dispatch(host_.context, [self = shared_from_this()] {
    if (const auto connection = self->connection_) connection->end_stream(self.get());
  });
}

void ConnectionExchange::on_gone(std::function<void()> gone) {
  asio::dispatch(host_.context, [self = shared_from_this(), gone = std::move(gone)]() mutable {
    if (self->left_ || (gone && self->connection_ && self->connection_->peer_gone())) {
      if (const auto connection = self->connection_) connection->close();
      if (gone) gone();
    } else if (self->connection_) {
      self->gone_ = std::move(gone);
    }
  });
}

void ConnectionExchange::post(std::function<void()> work) { asio::post(host_.context, std::move(work)); }

void ConnectionExchange::client_left() {
  left_ = true;
  if (const auto gone = std::exchange(gone_, nullptr)) gone();
}

}  // namespace lapidary
