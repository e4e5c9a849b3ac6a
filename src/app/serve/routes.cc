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
      {"POST", "/v1/responses", infer, openai, handle_create_response, "A reply, kept"},
      {"GET", "/v1/responses/{}/input_items", infer, openai, handle_response_items, "What a reply was made from"},
      {"POST", "/v1/responses/{}/cancel", infer, openai, handle_cancel_response, "Ends a reply in the background"},
      {"GET", "/v1/responses/{}", infer, openai, handle_get_response, "A reply that was kept"},
      {"DELETE", "/v1/responses/{}", infer, openai, handle_delete_response, "Forgets a reply"},
      {"POST", "/v1/audio/transcriptions", infer, openai, handle_transcriptions, "What was said in a recording"},
      {"POST", "/v1/audio/translations", infer, openai, handle_translations, "The same in English"},
      {"GET", "/v1/models", infer, openai, handle_models, "The models there are"},
      {"GET", "/v1/models/{}", infer, openai, handle_model, "One model"},
      {"POST", "/v1/embeddings", infer, openai, handle_not_there_yet, "Not available"},
      {"POST", "/v1/images/generations", infer, openai, handle_not_there_yet, "Not available"},
      {"POST", "/v1/images/edits", infer, openai, handle_not_there_yet, "Not available"},
      {"POST", "/v1/audio/speech", infer, openai, handle_not_there_yet, "Not available"},
      {"POST", "/v1/messages", infer, anthropic, handle_messages, "A reply to a conversation (Anthropic)"},
      {"POST", "/v1/messages/count_tokens", infer, anthropic, handle_count_tokens,
       "Tokens of a conversation (Anthropic)"},
      {"GET", "/", infer, ollama, handle_ollama_root, "Whether the server lives (Ollama)"},
      {"HEAD", "/", infer, ollama, handle_ollama_root, "Whether the server lives (Ollama)"},
      {"POST", "/api/chat", infer, ollama, handle_ollama_chat, "A reply to a conversation (Ollama)"},
      {"POST", "/api/generate", infer, ollama, handle_ollama_generate, "A reply to a prompt (Ollama)"},
      {"GET", "/api/tags", infer, ollama, handle_ollama_tags, "The models there are (Ollama)"},
      {"POST", "/api/show", infer, ollama, handle_ollama_show, "One model (Ollama)"},
      {"GET", "/api/ps", infer, ollama, handle_ollama_ps, "The models that are loaded (Ollama)"},
      {"GET", "/api/version", infer, ollama, handle_ollama_version, "The server's version (Ollama)"},
      {"POST", "/api/embed", infer, ollama, handle_not_there_yet, "Not available"},
      {"POST", "/api/embeddings", infer, ollama, handle_not_there_yet, "Not available"},
      {"POST", "/api/pull", admin, ollama, handle_not_there_yet, "Not available"},
      {"POST", "/api/push", admin, ollama, handle_not_there_yet, "Not available"},
      {"POST", "/api/create", admin, ollama, handle_not_there_yet, "Not available"},
      {"POST", "/api/copy", admin, ollama, handle_not_there_yet, "Not available"},
      {"DELETE", "/api/delete", admin, ollama, handle_not_there_yet, "Not available"},
      {"POST", "/v1beta/models/{}:generateContent", infer, gemini, handle_gemini_generate, "A reply (Gemini)"},
      {"POST", "/v1beta/models/{}:streamGenerateContent", infer, gemini, handle_gemini_stream,
       "A streamed reply (Gemini)"},
      {"POST", "/v1beta/models/{}:countTokens", infer, gemini, handle_gemini_count,
       "Tokens of a conversation (Gemini)"},
      {"POST", "/v1beta/models/{}:embedContent", infer, gemini, handle_not_there_yet, "Not available"},
      {"POST", "/v1beta/models/{}:batchEmbedContents", infer, gemini, handle_not_there_yet, "Not available"},
      {"POST", "/v1beta/models/{}:predict", infer, gemini, handle_not_there_yet, "Not available"},
      {"POST", "/v1/models/{}:generateContent", infer, gemini, handle_gemini_generate, "A reply (Gemini)"},
      {"POST", "/v1/models/{}:streamGenerateContent", infer, gemini, handle_gemini_stream, "A streamed reply (Gemini)"},
      {"POST", "/v1/models/{}:countTokens", infer, gemini, handle_gemini_count, "Tokens of a conversation (Gemini)"},
      {"GET", "/v1beta/models", infer, gemini, handle_gemini_models, "The models there are (Gemini)"},
      {"GET", "/v1beta/models/{}", infer, gemini, handle_gemini_model, "One model (Gemini)"},
      {"POST", "/completion", infer, llama, handle_llama_completion, "A text continued (llama-server)"},
      {"POST", "/tokenize", infer, llama, handle_llama_tokenize, "Text to tokens (llama-server)"},
      {"POST", "/detokenize", infer, llama, handle_llama_detokenize, "Tokens to text (llama-server)"},
      {"POST", "/apply-template", infer, llama, handle_llama_template,
       "A conversation as the model gets it (llama-server)"},
      {"GET", "/props", infer, llama, handle_llama_props, "The server's settings (llama-server)"},
      {"GET", "/slots", infer, llama, handle_llama_slots, "What is being computed (llama-server)"},
      {"GET", "/metrics", infer, openai, handle_metrics, "Counters, for Prometheus"},
      {"GET", "/openapi.json", infer, openai, handle_openapi, "This description"},
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

// Google's newer clients write /v1/models/ID:generateContent.
bool gemini_verb(std::string_view path) {
  const std::string_view verb = path.substr(path.rfind(':') + 1);
  return path.starts_with("/v1/models/") &&
         (verb == "generateContent" || verb == "streamGenerateContent" || verb == "countTokens" ||
          verb == "embedContent" || verb == "batchEmbedContents" || verb == "predict");
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
  if (below("/v1beta") || gemini_verb(path)) return Dialect::gemini;
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
