#include "serve/openai_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "serve/media.h"

namespace lapidary {
namespace {

constexpr size_t messages_max = 20'000, stops_max = 32;
constexpr int32_t image_tokens_low = 70;

Result<MediaPart> read_image(const OrderedJson& value, const std::string& where, int32_t* image_tokens) {
  if (value.is_string()) return medium_from_url(MediaKind::image, value.get<std::string>(), where);
  LAPIDARY_TRY(const Fields fields, Fields::of(value, where));
  LAPIDARY_TRY(const std::string url, fields.required_text("url"));
  LAPIDARY_TRY(const auto detail, fields.text("detail"));
  if (detail == "low" && image_tokens != nullptr) *image_tokens = image_tokens_low;
  return medium_from_url(MediaKind::image, url, fields.place("url"));
}

Result<std::vector<ToolCall>> read_calls(const OrderedJson& list, const std::string& where) {
  std::vector<ToolCall> calls;
  for (size_t i = 0; i < list.size(); ++i) {
    LAPIDARY_TRY(const Fields fields, Fields::of(list[i], fmt::format("{}[{}]", where, i)));
    LAPIDARY_TRY(const OrderedJson* inner, fields.object("function"));
    if (inner == nullptr) return malformed(fields.place("function"), "{\"name\": …, \"arguments\": …}", "nothing");
    const Fields function(*inner, fields.place("function"));
    ToolCall call;
    LAPIDARY_TRY(const auto id, fields.text("id"));
    call.id = id.value_or("");
    LAPIDARY_TRY(call.name, function.required_text("name"));
    if (const OrderedJson* arguments = function.find("arguments"); arguments != nullptr && arguments->is_object()) {
      call.arguments = *arguments;
    } else {
      LAPIDARY_TRY(const auto text, function.text("arguments"));
      LAPIDARY_TRY(call.arguments, read_arguments(text.value_or(""), function.place("arguments")));
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

Result<Message> read_message(const OrderedJson& value, const std::string& where, int32_t* image_tokens) {
  LAPIDARY_TRY(const Fields fields, Fields::of(value, where));
  Message message;
  LAPIDARY_TRY(message.role, fields.required_text("role"));
  constexpr std::array<std::string_view, 5> roles = {"system", "developer", "user", "assistant", "tool"};
  if (std::ranges::find(roles, message.role) == roles.end())
    return malformed(fields.place("role"), "system, developer, user, assistant or tool",
                     fmt::format("\"{}\"", message.role.substr(0, 60)));
  const bool join = message.role != "user";
  if (const OrderedJson* content = fields.find("content"))
    LAPIDARY_CHECK(read_content(*content, fields.place("content"), join, message, image_tokens));
  LAPIDARY_TRY(const auto name, fields.text("name"));
  if (message.role == "tool") {
    message.name = name.value_or("");
    LAPIDARY_TRY(const auto id, fields.text("tool_call_id"));
    message.tool_call_id = id.value_or("");
  }
  if (message.role == "assistant") {
    for (const char* key : {"reasoning_content", "reasoning"}) {
      LAPIDARY_TRY(const auto reasoning, fields.text(key));
      if (message.reasoning.empty()) message.reasoning = reasoning.value_or("");
    }
    LAPIDARY_TRY(const OrderedJson* calls, fields.list("tool_calls"));
    if (calls != nullptr) {
      LAPIDARY_TRY(message.tool_calls, read_calls(*calls, fields.place("tool_calls")));
    }
  }
  return message;
}

}  // namespace

Result<OrderedJson> read_arguments(const std::string& text, const std::string& where) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return OrderedJson::object();
  LAPIDARY_TRY(OrderedJson value, parse_ordered_json(text, where, JsonLimits{.depth_max = 64}));
  if (value.is_null()) return OrderedJson::object();
  if (!value.is_object()) return malformed(where, "an object", shown(value));
  return value;
}

Result<ContentPart> read_part(const OrderedJson& part, const std::string& where, int32_t* image_tokens) {
  LAPIDARY_TRY(const Fields fields, Fields::of(part, where));
  LAPIDARY_TRY(const std::string type, fields.required_text("type"));
  if (type == "text" || type == "input_text" || type == "output_text") {
    LAPIDARY_TRY(std::string text, fields.required_text("text"));
    return TextPart{std::move(text)};
  }
  if (type == "refusal") {
    LAPIDARY_TRY(std::string text, fields.required_text("refusal"));
    return TextPart{std::move(text)};
  }
  if (type == "image_url" || type == "input_image") {
    const OrderedJson* image = fields.find("image_url");
    if (image == nullptr) return malformed(fields.place("image_url"), "a data: URL", "nothing");
    LAPIDARY_TRY(const auto detail, fields.text("detail"));
    if (detail == "low" && image_tokens != nullptr) *image_tokens = image_tokens_low;
    LAPIDARY_TRY(MediaPart media, read_image(*image, fields.place("image_url"), image_tokens));
    return media;
  }
  if (type == "input_audio") {
    LAPIDARY_TRY(const OrderedJson* audio, fields.object("input_audio"));
    if (audio == nullptr) return malformed(fields.place("input_audio"), "{\"data\": …, \"format\": …}", "nothing");
    const Fields inner(*audio, fields.place("input_audio"));
    LAPIDARY_TRY(const std::string data, inner.required_text("data"));
    LAPIDARY_TRY(MediaPart media, data.starts_with("data:")
                                      ? medium_from_url(MediaKind::audio, data, inner.place("data"))
                                      : medium_from_base64(MediaKind::audio, data, inner.place("data")));
    return media;
  }
  return malformed(fields.place("type"), "text, image_url or input_audio", fmt::format("\"{}\"", type.substr(0, 60)));
}

Result<void> read_content(const OrderedJson& content, const std::string& where, bool join, Message& message,
                          int32_t* image_tokens) {
  if (content.is_string()) {
    message.content = content.get<std::string>();
    return {};
  }
  if (!content.is_array()) return malformed(where, "a text or a list of parts", shown(content));
  std::vector<ContentPart> parts;
  bool text_only = true;
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    LAPIDARY_TRY(ContentPart part, read_part(content[i], fmt::format("{}[{}]", where, i), image_tokens));
    if (const auto* words = std::get_if<TextPart>(&part))
      text += words->text;
    else
      text_only = false;
    parts.push_back(std::move(part));
  }
  if (join && text_only)
    message.content = std::move(text);
  else
    message.content = std::move(parts);
  return {};
}

Result<std::vector<Message>> read_messages(const OrderedJson& list, const std::string& where, int32_t* image_tokens) {
  if (!list.is_array()) return malformed(where, "a list of messages", shown(list));
  if (list.empty()) return malformed(where, "at least one message", "none");
  if (list.size() > messages_max) return malformed(where, fmt::format("at most {} messages", messages_max), "more");
  std::vector<Message> messages;
  for (size_t i = 0; i < list.size(); ++i) {
    LAPIDARY_TRY(Message message, read_message(list[i], fmt::format("{}[{}]", where, i), image_tokens));
    messages.push_back(std::move(message));
  }
  return messages;
}

Result<std::vector<OrderedJson>> read_tools(const OrderedJson& list, const std::string& where) {
  if (!list.is_array()) return malformed(where, "a list of tools", shown(list));
  std::vector<OrderedJson> tools;
  for (size_t i = 0; i < list.size(); ++i) {
    LAPIDARY_TRY(const Fields fields, Fields::of(list[i], fmt::format("{}[{}]", where, i)));
    LAPIDARY_TRY(const std::string type, fields.required_text("type"));
    if (type != "function")
      return malformed(fields.place("type"), "function", fmt::format("\"{}\"", type.substr(0, 60)));
    // Chat completions put the description one level deeper than Responses.
    LAPIDARY_TRY(const OrderedJson* inner, fields.object("function"));
    const Fields function(inner != nullptr ? *inner : list[i],
                          inner != nullptr ? fields.place("function") : fields.where());
    LAPIDARY_TRY(const std::string name, function.required_text("name"));
    LAPIDARY_TRY(const auto description, function.text("description"));
    LAPIDARY_TRY(OrderedJson tool,
                 make_tool(name, description.value_or(""), function.find("parameters"), function.where()));
    tools.push_back(std::move(tool));
  }
  return tools;
}

SamplerOptions sampler_of(const SamplingWish& wish, const ModelInfo& model) {
  SamplerOptions sampler = model.sampler;
  if (wish.temperature || wish.top_p || wish.min_p || wish.top_k) sampler.greedy = false;
  if (wish.temperature) sampler.temperature = *wish.temperature;
  if (wish.temperature == 0.0) sampler.greedy = true;
  if (wish.top_p) sampler.top_p = *wish.top_p;
  if (wish.min_p) sampler.min_p = *wish.min_p;
  if (wish.top_k) sampler.top_k = static_cast<int32_t>(std::max<int64_t>(*wish.top_k, 0));
  sampler.seed = wish.seed ? static_cast<uint64_t>(*wish.seed) : std::random_device{}();
  return sampler;
}

Result<SamplingWish> read_wish(const Fields& fields) {
  SamplingWish wish;
  LAPIDARY_TRY(wish.temperature, fields.number("temperature", 0, temperature_max));
  LAPIDARY_TRY(wish.top_p, fields.number("top_p", 0, 1));
  LAPIDARY_TRY(wish.min_p, fields.number("min_p", 0, 1));
  LAPIDARY_TRY(wish.top_k, fields.integer("top_k", -1, std::numeric_limits<int32_t>::max()));
  LAPIDARY_TRY(wish.seed,
               fields.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()));
  return wish;
}

Result<PenaltyOptions> read_penalties(const Fields& fields, PenaltyWindow window) {
  constexpr double repeat_min = 0.01, repeat_max = 100;  // 0 would divide by it
  constexpr int64_t usual_last_n = 64;
  LAPIDARY_TRY(const auto presence, fields.number("presence_penalty", penalty_min, penalty_max));
  LAPIDARY_TRY(const auto frequency, fields.number("frequency_penalty", penalty_min, penalty_max));
  LAPIDARY_TRY(const auto repeat, fields.number("repeat_penalty", repeat_min, repeat_max));
  LAPIDARY_TRY(const auto last_n, fields.integer("repeat_last_n", -1, std::numeric_limits<int32_t>::max()));
  PenaltyOptions penalties;
  penalties.presence = presence.value_or(0);
  penalties.frequency = frequency.value_or(0);
  penalties.repeat = repeat.value_or(1);
  if (window == PenaltyWindow::last_tokens || repeat || last_n) {
    penalties.last_n = static_cast<int32_t>(last_n.value_or(usual_last_n));
    penalties.prompt = true;
  }
  return penalties;
}

ApiResult<void> read_sampling(const Fields& fields, const ModelInfo& model, SamplerOptions& sampler) {
  LAPIDARY_TRY(const SamplingWish wish, read_wish(fields));
  sampler = sampler_of(wish, model);
  LAPIDARY_TRY(sampler.penalties, read_penalties(fields, PenaltyWindow::reply));
  LAPIDARY_TRY(const OrderedJson* bias, fields.object("logit_bias"));
  if (bias != nullptr && !bias->empty()) return api_fail(400, "logit_bias: is not available", "unsupported_parameter");
  return {};
}

Result<std::vector<std::string>> read_stops(const Fields& fields, const char* key) {
  LAPIDARY_TRY(std::vector<std::string> stops, fields.texts(key, stops_max));
  for (const std::string& stop : stops)
    if (stop.empty()) return malformed(fields.place(key), "texts that are not empty", "an empty one");
  return stops;
}

Result<int64_t> read_tokens_max(const Fields& fields, const char* key) {
  LAPIDARY_TRY(const auto tokens, fields.integer(key, 1, std::numeric_limits<int64_t>::max()));
  return tokens ? std::min(*tokens, int64_t{1} << 30) : 0;
}

ApiResult<void> read_thinking(const Fields& fields, Conversation& conversation) {
  LAPIDARY_TRY(const auto effort, fields.text("reasoning_effort"));
  if (effort) conversation.think = *effort != "none" && *effort != "minimal";
  LAPIDARY_TRY(const auto enabled, fields.boolean("enable_thinking"));
  if (enabled) conversation.think = *enabled;
  LAPIDARY_TRY(const OrderedJson* arguments, fields.object("chat_template_kwargs"));
  if (arguments == nullptr) return {};
  for (const auto& [key, value] : arguments->items())
    if (key != "enable_thinking" && key != "preserve_thinking")
      return api_fail(400,
                      fmt::format("chat_template_kwargs: expected enable_thinking or preserve_thinking, found \"{}\"",
                                  key.substr(0, 60)));
  const Fields inner(*arguments, "chat_template_kwargs");
  LAPIDARY_TRY(const auto think, inner.boolean("enable_thinking"));
  LAPIDARY_TRY(const auto preserve, inner.boolean("preserve_thinking"));
  if (think) conversation.think = *think;
  if (preserve) conversation.preserve_thinking = *preserve;
  return {};
}

}  // namespace lapidary
