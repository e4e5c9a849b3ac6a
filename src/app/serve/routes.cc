#include "serve/routes.h"

#include "serve/dialects.h"
#include "serve/handlers.h"

namespace lapidary {

const std::vector<Route>& route_table() {
  using enum Scope;
  using enum Dialect;
  static const std::vector<Route> routes = {
      {"GET", "/health", none, openai, handle_health, "Whether the server lives"},
      {"HEAD", "/health", none, openai, handle_health, "Whether the server lives"},
      {"POST", "/v1/chat/completions", infer, openai, handle_chat_completions, "A reply to a conversation"},
      {"POST", "/v1/completions", infer, openai, handle_completions, "A text continued"},
      {"GET", "/v1/models", infer, openai, handle_models, "The models there are"},
      {"GET", "/v1/models/{}", infer, openai, handle_model, "One model"},
      {"POST", "/v1/embeddings", infer, openai, handle_not_there_yet, "Not available"},
      {"POST", "/v1/images/generations", infer, openai, handle_not_there_yet, "Not available"},
      {"POST", "/v1/audio/speech", infer, openai, handle_not_there_yet, "Not available"},
      {"GET", "/lapidary/keys", admin, openai, handle_keys, "The keys, without their secrets"},
      {"POST", "/lapidary/keys", admin, openai, handle_add_key, "A new key"},
      {"DELETE", "/lapidary/keys/{}", admin, openai, handle_revoke_key, "A key revoked; its streams end"},
  };
  return routes;
}

namespace {

// The text that stands for {}; nothing if the path is not of this pattern.
bool matches(std::string_view pattern, std::string_view path, std::string& parameter) {
  const size_t hole = pattern.find("{}");
  parameter.clear();
  if (hole == std::string_view::npos) return pattern == path;
  const std::string_view before = pattern.substr(0, hole), after = pattern.substr(hole + 2);
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after)) return false;
  parameter = path.substr(before.size(), path.size() - before.size() - after.size());
  return true;
}

}  // namespace

RouteMatch find_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : route_table()) {
    std::string parameter;
    if (!matches(route.pattern, path, parameter)) continue;
    match.path_known = true;
    if (method != route.method) continue;
    match.route = &route;
    match.parameter = std::move(parameter);
    return match;
  }
  return match;
}

Dialect dialect_of(std::string_view path) {
  const auto below = [&](std::string_view root) {
    return path == root || (path.starts_with(root) && path.substr(root.size()).starts_with('/'));
  };
  if (below("/v1/messages")) return Dialect::anthropic;
  if (below("/v1beta")) return Dialect::gemini;
  if (below("/api") || path == "/") return Dialect::ollama;
  if (below("/completion") || below("/tokenize") || below("/detokenize") || below("/apply-template") ||
      below("/props") || below("/slots"))
    return Dialect::llama;
  return Dialect::openai;
}

HttpReply shape_error(Dialect dialect, const ApiError& error) {
  HttpReply reply;
  reply.status = error.status;
  reply.body = dump(error_body(dialect, error));
  if (const std::string seconds = retry_after(error); !seconds.empty())
    reply.headers.emplace_back("Retry-After", seconds);
  if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

}  // namespace lapidary
