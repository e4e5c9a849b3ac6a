// Listens on TCP, with TLS or on loopback alone, and on a Unix socket, reads requests within limits, and writes answers
// and streams.
//
// Framing is Boost.Beast's. One thread, the one in run(), is the loop: it owns every connection. Requests are handed
// out on a few worker threads, because reading a large body's JSON would hold up everybody's streams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "serve/http_message.h"
#include "serve/tls.h"

namespace lapidary {

struct HttpLimits {
  uint32_t header_bytes_max = 32 << 10;
  size_t headers_max = 100;
  uint64_t body_bytes_max = 96 << 20;
  size_t connections_max = 512;  // one more pushes out the connection that has been idle longest
  size_t handshakes_max = 128;   // of these, in TLS's handshake: one more pushes out the oldest of them
  size_t pipelined_bytes_max = 64 << 10;
  size_t queued_bytes_max = 1 << 20;  // of a stream whose reader is slow; then it is dropped
  double handshake_seconds = 10;
  double header_seconds = 10;      // from a request's first byte to the end of its headers
  double idle_seconds = 75;        // between requests
  double body_pause_seconds = 20;  // without a byte of a body
  double body_seconds = 300;
  double write_seconds = 60;  // until the system takes one piece
};

struct HttpHandlers {
  // On the loop's thread, when a request's head is there: fills in `caller` and `parameter`, or refuses.
  std::function<std::optional<HttpReply>(HttpRequest& head)> head;
  // On a worker's thread, when the body is there too.
  std::function<void(std::shared_ptr<Exchange> exchange)> request;
  // The answer to what is no proper request, or to one that made a handler fail.
  std::function<HttpReply(int status, const std::string& message, const HttpRequest& head)> broken;
  // Headers that every answer to this request gets.
  std::function<HeaderList(const HttpRequest& request)> common_headers;
};

class HttpServer {
 public:
  HttpServer(HttpLimits limits, HttpHandlers handlers);
  ~HttpServer();

  // An address, or localhost; without `tls` one of loopback. Port 0 takes a free one. The port. A taken one:
  // ErrorKind::io, and who has it.
  Result<uint16_t> listen_tcp(const std::string& host, uint16_t port, std::shared_ptr<const TlsIdentity> tls);
  // Mode 0600. A socket file that nobody listens on is replaced; another one is refused.
  Result<void> listen_unix(const std::string& path);

  void run();   // until stop()
  void stop();  // any thread

  // From any thread; runs on the loop's.
  void post(std::function<void()> work);
  // Before run(). Calls come on the loop's thread.
  void every(double seconds, std::function<void()> work);
  void on_termination(std::function<void()> work);  // SIGINT, SIGTERM: once; the second one ends the program

  // The loop's thread only.
  void stop_accepting();
  void close_where(const std::function<bool(const Caller& caller)>& chosen);
  size_t connections() const;
  size_t busy_connections() const;
  uint64_t accepted() const;

  struct Loop;

 private:
  std::unique_ptr<Loop> loop_;
};

}  // namespace lapidary
