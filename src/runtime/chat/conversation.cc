#include "chat/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace lapidary {
namespace {

std::string shown(const OrderedJson& value) { return dump(value).substr(0, 60); }

const OrderedJson* member(const OrderedJson& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// The text of an optional member; absent and null give "".
Result<std::string> text_member(const OrderedJson& object, const char* key, const std::string& where) {
  const OrderedJson* value = member(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return malformed(fmt::format("{}.{}", where, key), "a text", shown(*value));
  return value->get<std::string>();
}

Result<std::string> required_text(const OrderedJson& object, const char* key, const std::string& where) {
  if (member(object, key) == nullptr) return malformed(fmt::format("{}.{}", where, key), "a text", "nothing");
  return text_member(object, key, where);
}

Result<bool> flag_member(const OrderedJson& object, const char* key, bool fallback, const std::string& where) {
  const OrderedJson* value = member(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return malformed(fmt::format("{}: {}", where, key), "true or false", shown(*value));
  return value->get<bool>();
}

// "image_url": "a.png" or {"url": "a.png"}, and the other spellings in use for where a medium lies.
Result<std::string> path_of(const OrderedJson& part, const std::string& type, const std::string& where) {
  for (const char* key : {"path", "url", type.c_str(), "image", "audio", "video"}) {
    const OrderedJson* value = member(part, key);
    if (value == nullptr) continue;
    const OrderedJson* inner = value;
    for (const char* inner_key : {"path", "url"})
      if (const OrderedJson* found = member(*value, inner_key)) inner = found;
    if (!inner->is_string()) return malformed(fmt::format("{}.{}", where, key), "a path", shown(*value));
    return inner->get<std::string>();
  }
  return std::string();
}

std::optional<MediaKind> media_kind(std::string_view type) {
  if (type == "image" || type == "image_url") return MediaKind::image;
  if (type == "audio" || type == "input_audio") return MediaKind::audio;
  if (type == "video") return MediaKind::video;
  return std::nullopt;
}

Result<ContentPart> parse_part(const OrderedJson& part, const std::string& where) {
  if (!part.is_object()) return malformed(where, "a part of a message, {\"type\": …}", shown(part));
  const OrderedJson* named = member(part, "type");
  if (named == nullptr || !named->is_string())
    return malformed(where + ".type", "a text", named == nullptr ? "nothing" : shown(*named));
  const auto& type = named->get_ref<const std::string&>();
  if (type == "text") {
    LAPIDARY_TRY(std::string text, required_text(part, "text", where));
    return TextPart{std::move(text)};
  }
  const std::optional<MediaKind> kind = media_kind(type);
  if (!kind)
    return malformed(where + ".type", "text, image, image_url, audio, input_audio or video",
                     fmt::format("\"{}\"", type.substr(0, 60)));
  MediaPart media{*kind, {}};
  LAPIDARY_TRY(media.path, path_of(part, type, where));
  return media;
}

Result<void> parse_content(const OrderedJson& message, Message& result, const std::string& where) {
  const OrderedJson* content = member(message, "content");
  if (content == nullptr) return {};
  const std::string place = where + ".content";
  if (content->is_string()) {
    result.content = content->get<std::string>();
    return {};
  }
  if (content->is_array()) {
    std::vector<ContentPart> parts;
    for (size_t i = 0; i < content->size(); ++i) {
      LAPIDARY_TRY(ContentPart part, parse_part((*content)[i], fmt::format("{}[{}]", place, i)));
      parts.push_back(std::move(part));
    }
    result.content = std::move(parts);
    return {};
  }
  if (result.role != "tool") return malformed(place, "a text or a list of parts", shown(*content));
  result.content = *content;
  return {};
}

// An object, or the same as JSON text, as OpenAI's API has it.
Result<OrderedJson> parse_arguments(const OrderedJson& function, const std::string& where) {
  const OrderedJson* arguments = member(function, "arguments");
  if (arguments == nullptr) return OrderedJson();
  const std::string place = where + ".arguments";
  OrderedJson value = *arguments;
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) return OrderedJson();
    LAPIDARY_TRY(value, parse_ordered_json(text, place));
  }
  if (!value.is_object() && !value.is_null()) return malformed(place, "an object", shown(value));
  return value;
}

Result<std::vector<ToolCall>> parse_calls(const OrderedJson& calls, const std::string& where) {
  if (!calls.is_array()) return malformed(where, "a list of calls", shown(calls));
  std::vector<ToolCall> result;
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", where, i);
    const OrderedJson* function = member(calls[i], "function");
    if (function == nullptr || !function->is_object())
      return malformed(place, "{\"function\": {\"name\": …, \"arguments\": …}}", shown(calls[i]));
    ToolCall call;
    LAPIDARY_TRY(call.id, text_member(calls[i], "id", place));
    LAPIDARY_TRY(call.name, required_text(*function, "name", place + ".function"));
    LAPIDARY_TRY(call.arguments, parse_arguments(*function, place + ".function"));
    result.push_back(std::move(call));
  }
  return result;
}

Result<std::vector<ToolResponse>> parse_responses(const OrderedJson& responses, const std::string& where) {
  if (!responses.is_array()) return malformed(where, "a list of responses", shown(responses));
  std::vector<ToolResponse> result;
  for (size_t i = 0; i < responses.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", where, i);
    if (!responses[i].is_object() || !responses[i].contains("response"))
      return malformed(place, "{\"name\": …, \"response\": …}", shown(responses[i]));
    ToolResponse response;
    LAPIDARY_TRY(response.name, text_member(responses[i], "name", place));
    response.response = responses[i]["response"];
    result.push_back(std::move(response));
  }
  return result;
}

Result<Message> parse_message(const OrderedJson& message, const std::string& where) {
  if (!message.is_object()) return malformed(where, "a message, {\"role\": …, \"content\": …}", shown(message));
  Message result;
  LAPIDARY_TRY(result.role, required_text(message, "role", where));
  constexpr std::array<std::string_view, 6> roles = {"system", "developer", "user", "assistant", "model", "tool"};
  if (std::ranges::find(roles, result.role) == roles.end())
    return malformed(where + ".role", "system, developer, user, assistant or tool",
                     fmt::format("\"{}\"", result.role.substr(0, 60)));
  LAPIDARY_CHECK(parse_content(message, result, where));
  LAPIDARY_TRY(result.reasoning, text_member(message, "reasoning", where));
  LAPIDARY_TRY(std::string reasoning_content, text_member(message, "reasoning_content", where));
  if (result.reasoning.empty()) result.reasoning = std::move(reasoning_content);
  if (const OrderedJson* calls = member(message, "tool_calls")) {
    LAPIDARY_TRY(result.tool_calls, parse_calls(*calls, where + ".tool_calls"));
  }
  if (const OrderedJson* responses = member(message, "tool_responses")) {
    LAPIDARY_TRY(result.tool_responses, parse_responses(*responses, where + ".tool_responses"));
  }
  LAPIDARY_TRY(result.tool_call_id, text_member(message, "tool_call_id", where));
  LAPIDARY_TRY(result.name, text_member(message, "name", where));
  return result;
}

Result<std::vector<OrderedJson>> tools_of(const OrderedJson& tools, const std::string& where) {
  if (!tools.is_array()) return malformed(where, "a list of tools", shown(tools));
  std::vector<OrderedJson> result;
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", where, i);
    LAPIDARY_TRY(const std::string type, text_member(tools[i], "type", place));
    if (!type.empty() && type != "function")
      return malformed(place + ".type", "function", fmt::format("\"{}\"", type.substr(0, 60)));
    const OrderedJson* function = member(tools[i], "function");
    if (function == nullptr || !function->is_object())
      return malformed(place, "{\"type\": \"function\", \"function\": {\"name\": …}}", shown(tools[i]));
    LAPIDARY_CHECK(required_text(*function, "name", place + ".function"));
    const OrderedJson* parameters = member(*function, "parameters");
    if (parameters != nullptr && !parameters->is_object())
      return malformed(place + ".function.parameters", "an object (a JSON schema)", shown(*parameters));
    result.push_back(tools[i]);
  }
  return result;
}

}  // namespace

Result<Conversation> parse_conversation(std::string_view json, const std::string& where) {
  LAPIDARY_TRY(const OrderedJson root, parse_ordered_json(json, where));
  Conversation conversation;
  const OrderedJson* messages = root.is_array() ? &root : member(root, "messages");
  const std::string place = where + ": messages";
  if (messages == nullptr || !messages->is_array())
    return malformed(place, "a list of messages", messages == nullptr ? "nothing" : shown(*messages));
  if (messages->empty()) return malformed(place, "at least one message", "none");
  for (size_t i = 0; i < messages->size(); ++i) {
    LAPIDARY_TRY(Message message, parse_message((*messages)[i], fmt::format("{}[{}]", place, i)));
    conversation.messages.push_back(std::move(message));
  }
  if (const OrderedJson* tools = member(root, "tools")) {
    LAPIDARY_TRY(conversation.tools, tools_of(*tools, where + ": tools"));
  }
  LAPIDARY_TRY(conversation.think, flag_member(root, "think", false, where));
  LAPIDARY_TRY(conversation.preserve_thinking, flag_member(root, "preserve_thinking", false, where));
  LAPIDARY_TRY(conversation.generation_prompt, flag_member(root, "generation_prompt", true, where));
  return conversation;
}

Result<std::vector<OrderedJson>> parse_tools(std::string_view json, const std::string& where) {
  LAPIDARY_TRY(const OrderedJson root, parse_ordered_json(json, where));
  return tools_of(root, where + ": tools");
}

}  // namespace lapidary
