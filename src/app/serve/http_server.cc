#include "serve/http_server.h"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <list>
#include <unordered_map>

#include "base/port_owner.h"
#include "serve/http_connection.h"

namespace lapidary {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using asio::ip::tcp;
using asio::local::stream_protocol;
using boost::system::error_code;

namespace {

constexpr int worker_threads = 2;
constexpr std::chrono::milliseconds accept_pause{100};

struct Repeated {
  asio::steady_timer timer;
  std::chrono::milliseconds interval;
  std::function<void()> work;
};

void repeat(Repeated& repeated) {
  repeated.timer.expires_after(repeated.interval);
  repeated.timer.async_wait([&repeated](error_code error) {
    if (error) return;
    repeated.work();
    repeat(repeated);
  });
}

}  // namespace

struct HttpServer::Loop {
  ConnectionHost host;
  asio::executor_work_guard<asio::io_context::executor_type> work{host.context.get_executor()};
  std::list<tcp::acceptor> tcp_acceptors;
  std::list<stream_protocol::acceptor> unix_acceptors;
  std::list<fs::path> unix_files;
  asio::signal_set signals{host.context};
  std::list<Repeated> repeated;
  std::unordered_map<HttpConnection*, std::shared_ptr<HttpConnection>> connections;
  uint64_t accepted = 0;
  bool accepting = true;

  void take(std::unique_ptr<ByteStream> stream, bool unix_socket) {
    if (connections.size() >= host.limits.connections_max)
      push_out([](const HttpConnection& other) { return !other.busy(); });
    if (connections.size() >= host.limits.connections_max) return;  // all are at work: this one is closed
    ++accepted;
    auto connection = std::make_shared<HttpConnection>(host, std::move(stream), unix_socket);
    connections.emplace(connection.get(), connection);
    connection->start();
    size_t opening = 0;
    for (const auto& [pointer, other] : connections) opening += other->opening();
    if (opening > host.limits.handshakes_max) push_out([](const HttpConnection& other) { return other.opening(); });
  }

  // The connection that waits longest for its client, whether between requests or for the rest of one.
  template <typename Chosen>
  void push_out(const Chosen& chosen) {
    std::shared_ptr<HttpConnection> oldest;
    for (const auto& [pointer, connection] : connections)
      if (chosen(*connection) && (!oldest || connection->since() < oldest->since())) oldest = connection;
    if (oldest) oldest->close();
  }

  template <typename Acceptor>
  void accept(Acceptor& acceptor, std::shared_ptr<const TlsIdentity> tls) {
    acceptor.async_accept([this, &acceptor, tls = std::move(tls)](error_code error,
                                                                  typename Acceptor::protocol_type::socket socket) {
      if (!accepting || error == asio::error::operation_aborted) return;
      if (error) {  // no descriptors left, say: later there may be
        auto pause = std::make_shared<asio::steady_timer>(host.context, accept_pause);
        pause->async_wait([this, &acceptor, tls, pause](error_code) {
          if (accepting) accept(acceptor, tls);
        });
        return;
      }
      constexpr bool unix_socket = !std::is_same_v<Acceptor, tcp::acceptor>;
      if constexpr (!unix_socket) {
        error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
      }
      take(tls ? tls->stream(HttpSocket(std::move(socket))) : plain_stream(HttpSocket(std::move(socket))), unix_socket);
      accept(acceptor, tls);
    });
  }

  std::vector<std::shared_ptr<HttpConnection>> all() const {
    std::vector<std::shared_ptr<HttpConnection>> list;
    for (const auto& [pointer, connection] : connections) list.push_back(connection);
    return list;
  }
};

HttpServer::HttpServer(HttpLimits limits, HttpHandlers handlers) : loop_(std::make_unique<Loop>()) {
  loop_->host.limits = limits;
  loop_->host.handlers = std::move(handlers);
  loop_->host.workers.emplace(worker_threads);
  loop_->host.closed = [loop = loop_.get()](HttpConnection* connection) {
    // Later: the connection's own code is still running.
    asio::post(loop->host.context, [loop, connection] { loop->connections.erase(connection); });
  };
  every(0.5, [loop = loop_.get()] {
    const auto now = LoopClock::now();
    for (const auto& connection : loop->all()) connection->check_deadline(now);
  });
}

HttpServer::~HttpServer() {
  loop_->host.workers->join();
  for (const auto& connection : loop_->all()) connection->close();
  for (const fs::path& file : loop_->unix_files) {
    std::error_code ignored;
    fs::remove(file, ignored);
  }
}

Result<uint16_t> HttpServer::listen_tcp(const std::string& host, uint16_t port,
                                        std::shared_ptr<const TlsIdentity> tls) {
  const std::string where = fmt::format("{}:{}", host, port);
  error_code error;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error) return fail(ErrorKind::wrong_use, where, "expected an address in numbers, or localhost");
  if (!tls && !address.is_loopback())
    return fail(
        ErrorKind::wrong_use, where,
        "expected a loopback address (127.0.0.1, ::1 or localhost): other machines can reach any other, and that "
        "needs TLS (--tls-cert, --tls-key)");
  auto& acceptor = loop_->tcp_acceptors.emplace_back(loop_->host.context);
  acceptor.open(address.is_v6() ? tcp::v6() : tcp::v4(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(tcp::endpoint(address, port), error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {
    const std::string owner = port_owner(port);
    return fail(ErrorKind::io, where,
                fmt::format("the port is taken{}; --port chooses another", owner.empty() ? "" : " by " + owner));
  }
  if (error) return fail(ErrorKind::io, where, error.message());
  loop_->accept(acceptor, std::move(tls));
  return acceptor.local_endpoint().port();
}

Result<void> HttpServer::listen_unix(const std::string& path) {
  error_code error;
  std::error_code ignored;
  if (path.size() > 100) return fail(ErrorKind::wrong_use, path, "the path of a socket has at most 100 bytes");
  if (fs::exists(fs::symlink_status(path, ignored))) {
    if (!fs::is_socket(fs::symlink_status(path, ignored)))
      return fail(ErrorKind::io, path, "is there, and is no socket");
    stream_protocol::socket probe(loop_->host.context);
    probe.connect(stream_protocol::endpoint(path), error);
    if (!error) return fail(ErrorKind::io, path, "another program listens on this socket");
    fs::remove(path, ignored);
  }
  auto& acceptor = loop_->unix_acceptors.emplace_back(loop_->host.context);
  acceptor.open(stream_protocol(), error);
  if (!error) acceptor.bind(stream_protocol::endpoint(path), error);
  if (error) return fail(ErrorKind::io, path, error.message());
  loop_->unix_files.emplace_back(path);
  // Nobody can connect before listen(), so there is no moment at which others could.
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write, ignored);
  if (ignored) return fail(ErrorKind::io, path, ignored.message());
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail(ErrorKind::io, path, error.message());
  loop_->accept(acceptor, nullptr);
  return {};
}

void HttpServer::run() { loop_->host.context.run(); }
void HttpServer::stop() { loop_->host.context.stop(); }
void HttpServer::post(std::function<void()> work) { asio::post(loop_->host.context, std::move(work)); }

void HttpServer::every(double seconds, std::function<void()> work) {
  auto& repeated = loop_->repeated.emplace_back(Repeated{asio::steady_timer(loop_->host.context),
                                                         std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3)),
                                                         std::move(work)});
  repeat(repeated);
}

void HttpServer::on_termination(std::function<void()> work) {
  loop_->signals.add(SIGINT);
  loop_->signals.add(SIGTERM);
  loop_->signals.async_wait([loop = loop_.get(), work = std::move(work)](error_code error, int) {
    if (error) return;
    work();
    loop->signals.async_wait([loop](error_code again, int) {
      if (again) return;
      for (const auto& connection : loop->all()) connection->close();  // what they asked for is cancelled
      loop->host.context.stop();
    });
  });
}

void HttpServer::stop_accepting() {
  loop_->accepting = false;
  error_code ignored;
  for (auto& acceptor : loop_->tcp_acceptors) acceptor.close(ignored);
  for (auto& acceptor : loop_->unix_acceptors) acceptor.close(ignored);
}

void HttpServer::close_where(const std::function<bool(const Caller& caller)>& chosen) {
  for (const auto& connection : loop_->all())
    if (const Caller* caller = connection->caller(); caller != nullptr && chosen(*caller)) connection->close();
}

size_t HttpServer::connections() const { return loop_->connections.size(); }
uint64_t HttpServer::accepted() const { return loop_->accepted; }
size_t HttpServer::busy_connections() const {
  size_t busy = 0;
  for (const auto& [pointer, connection] : loop_->connections) busy += connection->busy();
  return busy;
}

}  // namespace lapidary
