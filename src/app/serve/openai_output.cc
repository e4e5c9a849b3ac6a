#include "serve/openai_output.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>

#include "base/utf8.h"

namespace lapidary {
namespace {

OrderedJson token_json(const TokenProbability& token) {
  OrderedJson bytes = OrderedJson::array();
  for (const char byte : token.bytes) bytes.push_back(static_cast<uint8_t>(byte));
  // JSON has no infinities.
  const double log_probability = std::max(token.log_probability, -9999.0);
  return {{"token", utf8_repair(token.bytes)}, {"logprob", log_probability}, {"bytes", std::move(bytes)}};
}

}  // namespace

const char* openai_finish(const Collected& reply) {
  if (was_cut(reply.usage.reason)) return "length";
  return reply.calls.empty() ? "stop" : "tool_calls";
}

std::string arguments_text(const ToolCall& call) {
  return call.arguments.is_object() ? dump(call.arguments) : std::string("{}");
}

OrderedJson openai_message(const Collected& reply) {
  OrderedJson message = {{"role", "assistant"}};
  if (reply.text.empty() && !reply.calls.empty())
    message["content"] = nullptr;
  else
    message["content"] = reply.text;
  message["refusal"] = nullptr;
  if (!reply.thinking.empty()) message["reasoning_content"] = reply.thinking;
  if (!reply.calls.empty()) {
    OrderedJson calls = OrderedJson::array();
    for (const ToolCall& call : reply.calls)
      calls.push_back({{"id", call.id},
                       {"type", "function"},
                       {"function", {{"name", call.name}, {"arguments", arguments_text(call)}}}});
    message["tool_calls"] = std::move(calls);
  }
  return message;
}

OrderedJson openai_usage(std::span<const Collected> replies) {
  int64_t reply_tokens = 0, thinking = 0;
  for (const Collected& reply : replies) {
    reply_tokens += reply.usage.reply_tokens;
    thinking += reply.usage.thinking_tokens;
  }
  const UsageEvent& first = replies[0].usage;
  return {{"prompt_tokens", first.prompt_tokens},
          {"completion_tokens", reply_tokens},
          {"total_tokens", first.prompt_tokens + reply_tokens},
          {"prompt_tokens_details", {{"cached_tokens", first.reused_tokens}, {"audio_tokens", 0}}},
          {"completion_tokens_details", {{"reasoning_tokens", thinking}}}};
}

OrderedJson logprobs_of(std::span<const TokenEvent> tokens) {
  OrderedJson content = OrderedJson::array();
  for (const TokenEvent& event : tokens) {
    OrderedJson entry = token_json(event.chosen);
    OrderedJson best = OrderedJson::array();
    for (const TokenProbability& token : event.best) best.push_back(token_json(token));
    entry["top_logprobs"] = std::move(best);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

OrderedJson model_for_all(const ModelInfo& model) {
  OrderedJson inputs = OrderedJson::array({"text"});
  if (model.sees) inputs.push_back("image");
  if (model.hears) inputs.push_back("audio");
  return {{"id", model.name},
          {"object", "model"},
          {"type", "model"},
          {"name", "models/" + model.name},
          {"display_name", model.name},
          {"displayName", model.name},
          {"created", model.modified_seconds},
          {"created_at",
           fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(model.modified_seconds)))},
          {"owned_by", "local"},
          {"inputTokenLimit", model.context},
          {"outputTokenLimit", model.context},
          {"context_window", model.context},
          {"input_modalities", std::move(inputs)}};
}

}  // namespace lapidary
