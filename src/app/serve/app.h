// The server put together: routes behind the guard, in front of the service.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/http_server.h"
#include "serve/keys.h"
#include "serve/tls.h"
#include "service/service.h"

namespace lapidary {

struct ServeAppOptions {
  std::string version;
  std::string host = "127.0.0.1";
  uint16_t port = 11535;
  std::string socket;  // a Unix socket's path, or ""
  std::shared_ptr<const TlsIdentity>
      tls;                           // null: none, and then a loopback address; the Unix socket has none in any case
  std::vector<std::string> origins;  // web pages that may ask, besides our own
  bool no_key_on_loopback = false;   // needs a loopback address
  HttpLimits limits;
};

class ServeApp {
 public:
  // Listens, and answers once run() is called. Both references must outlive the app.
  static Result<std::unique_ptr<ServeApp>> start(const ServeAppOptions& options, Service& service, KeyStore& keys);
  ~ServeApp();

  uint16_t port() const;
  std::string url() const;  // under which clients reach it: "http://127.0.0.1:11535"
  // Until stop(), or SIGINT or SIGTERM after `handle_signals`: running answers get 10 seconds to end.
  void run(bool handle_signals);
  void stop();  // the same as a signal; any thread

  struct Parts;

 private:
  explicit ServeApp(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace lapidary
