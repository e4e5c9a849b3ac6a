#include "serve/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/system.h"
#include "serve/context.h"
#include "serve/guard.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr double drain_seconds = 9.5, last_writes_seconds = 0.3, ping_seconds = 5;

bool on_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

// An address as it stands in a URL.
std::string in_url(const std::string& host) {
  return host.find(':') != std::string::npos ? fmt::format("[{}]", host) : host;
}

// What may stand in Host: those of this machine, the address that is listened on, and what the certificate is for.
std::vector<std::string> own_names(const ServeAppOptions& options) {
  std::vector<std::string> names = {"127.0.0.1", "localhost", "[::1]", in_url(options.host)};
  if (options.tls) names.insert(names.end(), options.tls->names().begin(), options.tls->names().end());
  return names;
}

// What clients are told to ask. One that the certificate is for, if there is one: the address where it is named, else
// the first.
std::string url_name(const ServeAppOptions& options) {
  const std::string host = in_url(options.host);
  if (!options.tls) return host;
  const std::vector<std::string>& names = options.tls->names();
  if (std::ranges::find(names, host) != names.end()) return host;
  const auto whole = std::ranges::find_if(names, [](const std::string& name) { return !name.starts_with("*"); });
  return whole != names.end() ? *whole : host;
}

}  // namespace

struct ServeApp::Parts {
  Context context;
  std::optional<Guard> guard;
  std::optional<HttpServer> server;
  std::thread drainer;
  uint16_t port = 0;
  std::string url;

  Parts(Service& service, KeyStore& keys) : context(service, keys) {}

  std::optional<HttpReply> check_head(HttpRequest& head) {
    const RouteMatch match = find_route(head.method, head.path);
    if (head.method == "OPTIONS" && !head.header("access-control-request-method").empty()) {
      if (const auto refusal = guard->check(head, Scope::none)) return refuse(head, *refusal);
      return preflight();
    }
    if (const auto refusal = guard->check(head, match.route != nullptr ? match.route->scope : Scope::infer))
      return refuse(head, *refusal);
    if (match.route == nullptr)
      return shape_error(dialect_of(head.path),
                         match.path_known ? ApiError(405, fmt::format("{} is not possible here", head.method))
                                          : ApiError(404, fmt::format("there is no {}", head.path), "unknown_url"));
    if (context.draining) return shape_error(match.route->dialect, ApiError(503, "the server is ending"));
    head.parameter = match.parameter;
    ++context.requests;
    return std::nullopt;
  }

  HttpReply refuse(const HttpRequest& head, const Refusal& refusal) {
    ++context.refusals;
    return shape_error(dialect_of(head.path),
                       ApiError(refusal.status, refusal.message, refusal.status == 401 ? "invalid_api_key" : ""));
  }

  static HttpReply preflight() {
    HttpReply reply;
    reply.status = 204;
    reply.content_type = "";
    reply.headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                     {"Access-Control-Allow-Headers",
                      "authorization, content-type, x-api-key, x-goog-api-key, anthropic-version, anthropic-beta"},
                     {"Access-Control-Max-Age", "600"}};
    return reply;
  }

  HeaderList common_headers(const HttpRequest& request) const {
    HeaderList headers = {{"X-Content-Type-Options", "nosniff"}};
    const std::string_view origin = request.header("origin");
    if (!origin.empty() && guard->origin_allowed(origin)) {
      headers.emplace_back("Access-Control-Allow-Origin", origin);
      headers.emplace_back("Vary", "Origin");
    }
    return headers;
  }

  HttpHandlers handlers() {
    HttpHandlers handlers;
    handlers.head = [this](HttpRequest& head) { return check_head(head); };
    handlers.request = [this](const std::shared_ptr<Exchange>& exchange) {
      const RouteMatch match = find_route(exchange->request().method, exchange->request().path);
      match.route->handler(context, exchange);
    };
    handlers.broken = [](int status, const std::string& message, const HttpRequest& head) {
      return shape_error(dialect_of(head.path), ApiError(status, message));
    };
    handlers.common_headers = [this](const HttpRequest& request) { return common_headers(request); };
    return handlers;
  }

  void close_revoked() {
    server->close_where(
        [this](const Caller& caller) { return !caller.key_id.empty() && !context.keys.has(caller.key_id); });
  }

  // The loop's thread. Waiting for the service happens elsewhere, because the last events still come through the loop.
  void begin_drain() {
    if (context.draining.exchange(true)) return;
    server->stop_accepting();
    drainer = std::thread([this] {
      context.service.drain(drain_seconds);
      std::this_thread::sleep_for(std::chrono::duration<double>(last_writes_seconds));
      server->stop();
    });
  }
};

Result<std::unique_ptr<ServeApp>> ServeApp::start(const ServeAppOptions& options, Service& service, KeyStore& keys) {
  if (options.no_key_on_loopback && !on_loopback(options.host))
    return fail(ErrorKind::wrong_use, "--no-key-on-loopback",
                fmt::format("other machines can reach {}, and from them a key is needed", options.host));
  auto parts = std::make_unique<Parts>(service, keys);
  Parts& app = *parts;
  app.context.version = options.version;
  app.context.started_seconds = monotonic_seconds();
  app.server.emplace(options.limits, app.handlers());
  LAPIDARY_TRY(app.port, app.server->listen_tcp(options.host, options.port, options.tls));
  if (!options.socket.empty()) LAPIDARY_CHECK(app.server->listen_unix(options.socket));
  const std::string scheme = options.tls ? "https" : "http";
  const uint16_t usual_port = options.tls ? 443 : 80;
  GuardOptions guard;
  for (const std::string& name : own_names(options)) {
    guard.hosts.push_back(fmt::format("{}:{}", name, app.port));
    guard.origins.push_back(fmt::format("{}://{}:{}", scheme, name, app.port));
    if (app.port == usual_port)
      guard.hosts.push_back(name), guard.origins.push_back(fmt::format("{}://{}", scheme, name));
  }
  app.url = fmt::format("{}://{}:{}", scheme, url_name(options), app.port);
  guard.origins.insert(guard.origins.end(), options.origins.begin(), options.origins.end());
  guard.no_key_on_loopback = options.no_key_on_loopback;
  app.guard.emplace(std::move(guard), keys);
  app.context.keys_changed = [&app] { app.server->post([&app] { app.close_revoked(); }); };
  app.server->every(1, [&app] { app.context.generations.ping_silent(ping_seconds); });
  app.server->every(0.5, [&app] {
    if (app.context.keys.refresh()) app.close_revoked();
  });
  return std::unique_ptr<ServeApp>(new ServeApp(std::move(parts)));
}

ServeApp::ServeApp(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

ServeApp::~ServeApp() {
  if (parts_->drainer.joinable()) parts_->drainer.join();
}

uint16_t ServeApp::port() const { return parts_->port; }
std::string ServeApp::url() const { return parts_->url; }

void ServeApp::run(bool handle_signals) {
  if (handle_signals) parts_->server->on_termination([this] { parts_->begin_drain(); });
  parts_->server->run();
}

void ServeApp::stop() {
  parts_->server->post([this] { parts_->begin_drain(); });
}

}  // namespace lapidary
