// /metrics and /openapi.json
#include <fmt/format.h>

#include <cstring>

#include "base/system.h"
#include "serve/handlers.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

class Metrics {
 public:
  template <typename T>
  void add(const char* name, const char* type, const char* about, T value) {
    fmt::format_to(std::back_inserter(text_), "# HELP lapidary_{0} {1}\n# TYPE lapidary_{0} {2}\nlapidary_{0} {3}\n",
                   name, about, type, value);
  }
  std::string text() { return std::move(text_); }

 private:
  std::string text_;
};

// What a body has to have, and what it may say about the reply's form; everything else is told in docs/api.md.
struct BodySchema {
  const char* pattern;
  const char* required;         // name and type of the members that have to be there
  const char* optional = "{}";  // "" : of several types
};
constexpr BodySchema body_schemas[] = {
    {"/v1/chat/completions", R"({"messages": "messages"})",
     R"({"response_format": "object", "tools": "array", "tool_choice": "", "parallel_tool_calls": "boolean",
         "grammar": "string", "json_schema": "object"})"},
    {"/v1/completions", R"({"prompt": "string"})",
     R"({"response_format": "object", "grammar": "string", "json_schema": "object"})"},
    {"/v1/responses", R"({"input": "string"})",
     R"({"text": "object", "tools": "array", "tool_choice": "", "parallel_tool_calls": "boolean"})"},
    {"/v1/messages", R"({"model": "string", "max_tokens": "integer", "messages": "messages"})",
     R"({"output_config": "object", "output_format": "object", "tools": "array", "tool_choice": "object"})"},
    {"/v1/messages/count_tokens", R"({"model": "string", "messages": "messages"})"},
    {"/api/chat", R"({"model": "string", "messages": "messages"})", R"({"format": "", "tools": "array"})"},
    {"/api/generate", R"({"model": "string", "prompt": "string"})", R"({"format": ""})"},
    {"/api/show", R"({"model": "string"})"},
    {"/v1beta/models/{}:generateContent", R"({"contents": "contents"})",
     R"({"generationConfig": "object", "tools": "array", "toolConfig": "object"})"},
    {"/v1beta/models/{}:streamGenerateContent", R"({"contents": "contents"})",
     R"({"generationConfig": "object", "tools": "array", "toolConfig": "object"})"},
    {"/v1beta/models/{}:countTokens", R"({"contents": "contents"})"},
    {"/completion", R"({"prompt": "string"})",
     R"({"grammar": "string", "json_schema": "object", "response_format": "object"})"},
    {"/tokenize", R"({"content": "string"})"},
    {"/detokenize", R"({"tokens": "ids"})"},
    {"/apply-template", R"({"messages": "messages"})"},
    {"/lapidary/keys", R"({"id": "string"})"},
};

// The types of members that JSON has no name for.
struct MemberSchema {
  const char* type;
  const char* schema;
};
constexpr MemberSchema member_schemas[] = {
    {"messages", R"({"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role", "content"],
        "properties": {"role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object",
                "required": ["type"], "properties": {"type": {"type": "string"}, "text": {"type": "string"}}}}]}}}})"},
    {"contents", R"({"type": "array", "minItems": 1, "items": {"type": "object", "required": ["parts"],
        "properties": {"role": {"enum": ["user", "model"]}, "parts": {"type": "array", "items": {"type": "object",
            "properties": {"text": {"type": "string"}}}}}}})"},
    {"ids", R"({"type": "array", "items": {"type": "integer", "minimum": 0}})"},
};

OrderedJson schema_of_member(const OrderedJson& type) {
  if (type == "") return OrderedJson::object();
  for (const MemberSchema& known : member_schemas)
    if (type == known.type)
      if (auto schema = parse_ordered_json(known.schema, known.type)) return std::move(*schema);
  return {{"type", type}};
}

OrderedJson schema_of_body(const char* pattern) {
  OrderedJson schema = {{"type", "object"}};
  for (const BodySchema& known : body_schemas) {
    if (std::strcmp(known.pattern, pattern) != 0) continue;
    for (const char* list : {known.required, known.optional}) {
      const auto members = parse_ordered_json(list, pattern);
      if (!members) return schema;
      for (const auto& [name, type] : members->items()) {
        schema["properties"][name] = schema_of_member(type);
        if (list == known.required) schema["required"].push_back(name);
      }
    }
  }
  return schema;
}

OrderedJson operation_json(const Route& route) {
  const OrderedJson any = {{"application/json", {{"schema", OrderedJson::object()}}}};
  OrderedJson operation = {{"summary", route.about}, {"x-scope", scope_name(route.scope)}};
  if (std::strstr(route.pattern, "{}") != nullptr)
    operation["parameters"] =
        OrderedJson::array({{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
  if (std::strcmp(route.method, "POST") == 0)
    operation["requestBody"] = {{"required", true},
                                {"content", {{"application/json", {{"schema", schema_of_body(route.pattern)}}}}}};
  OrderedJson responses = OrderedJson::object();
  if (route.handler != handle_not_there_yet) responses["200"] = {{"description", "Done"}};
  if (route.handler == handle_not_there_yet) responses["501"] = {{"description", "Not available"}, {"content", any}};
  responses["4XX"] = {{"description", "Refused, with the reason"}};
  if (route.scope != Scope::none)
    responses["503"] = {{"description", "Not now: the server is ending, or memory is short"}};
  operation["responses"] = std::move(responses);
  if (route.scope == Scope::none) operation["security"] = OrderedJson::array();
  return operation;
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string named_path(std::string pattern) {
  if (const size_t hole = pattern.find("{}"); hole != std::string::npos) pattern.replace(hole, 2, "{id}");
  return pattern;
}

}  // namespace

void handle_metrics(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const ServiceState state = context.service.state();
  Metrics metrics;
  metrics.add("uptime_seconds", "gauge", "Since the server started", monotonic_seconds() - context.started_seconds);
  metrics.add("http_requests_total", "counter", "Requests that passed the guard", context.requests.load());
  metrics.add("http_refusals_total", "counter", "Requests that the guard refused", context.refusals.load());
  metrics.add("requests_total", "counter", "Generations asked for", state.requests);
  metrics.add("requests_refused_total", "counter", "Generations refused because the queue was full", state.refused);
  metrics.add("requests_cancelled_total", "counter", "Generations whose client left", state.cancelled);
  metrics.add("requests_failed_total", "counter", "Generations that ended with an error", state.failed);
  metrics.add("requests_preempted_total", "counter", "Times that a background generation made room", state.preempted);
  metrics.add("requests_running", "gauge", "Generations being computed", state.running);
  metrics.add("requests_waiting", "gauge", "Generations that wait", state.waiting);
  metrics.add("slots", "gauge", "Generations that can be computed at the same time", state.slots);
  metrics.add("prompt_tokens_total", "counter", "Tokens of prompts", state.prompt_tokens);
  metrics.add("prompt_tokens_reused_total", "counter", "Of those, found in the prefix cache", state.reused_tokens);
  metrics.add("reply_tokens_total", "counter", "Tokens generated", state.reply_tokens);
  metrics.add("prompt_seconds_total", "counter", "Spent reading prompts", state.prompt_seconds);
  metrics.add("reply_seconds_total", "counter", "Spent generating", state.reply_seconds);
  metrics.add("prefix_cache_bytes", "gauge", "Memory of the prefix cache", state.prefix_cache_bytes);
  metrics.add("prefix_cache_entries", "gauge", "Prefixes in the cache", state.prefix_cache_entries);
  metrics.add("disk_cache_bytes", "gauge", "Of the prefix cache on disk", state.disk_cache_bytes);
  metrics.add("disk_cache_files", "gauge", "Prefixes on disk", state.disk_cache_files);
  metrics.add("kv_bytes", "gauge", "Memory of keys and values", state.kv_bytes);
  metrics.add("resident_bytes", "gauge", "Memory of the process", resident_bytes_now());
  HttpReply reply;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.body = metrics.text();
  exchange->reply(std::move(reply));
}

void handle_openapi(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson paths = OrderedJson::object();
  for (const Route& route : route_table())
    paths[named_path(route.pattern)][lower_case(route.method)] = operation_json(route);
  answer(exchange,
         OrderedJson{{"openapi", "3.1.0"},
                     {"info", {{"title", "Lapidary"}, {"version", context.version}}},
                     {"paths", std::move(paths)},
                     {"components", {{"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}},
                     {"security", OrderedJson::array({{{"key", OrderedJson::array()}}})}});
}

}  // namespace lapidary
