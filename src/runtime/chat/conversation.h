// What a chat is made of, before any model sees it. Native types: no JSON below this line, but for values that are JSON
// by nature (a call's arguments, a tool's schema and result).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace lapidary {

enum class MediaKind : uint8_t { image, audio, video };

struct TextPart {
  std::string text;
};
struct MediaPart {
  MediaKind kind = MediaKind::image;
  std::string path;                               // as written; relative to the chat file's folder
  std::shared_ptr<const std::string> bytes = {};  // the file's content, if it is in memory; `path` only names it then
};
using ContentPart = std::variant<TextPart, MediaPart>;

struct ToolCall {
  std::string id;  // "" if the message has none
  std::string name;
  OrderedJson arguments;  // an object (or null: no arguments)
};

struct ToolResponse {
  std::string name;
  OrderedJson response;
};

struct Message {
  std::string role;  // system, developer, user, assistant (also "model"), tool
  // Text, parts, or a value (a tool's result: object, number …); monostate: null or absent.
  std::variant<std::monostate, std::string, std::vector<ContentPart>, OrderedJson> content;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id, name;
  std::vector<ToolResponse> tool_responses;
};

struct Conversation {
  std::vector<Message> messages;
  std::vector<OrderedJson> tools;  // OpenAI function schemas: {"type":"function","function":{…}}
  bool think = false;
  bool preserve_thinking = false;
  bool generation_prompt = true;
};

// CHAT.json (see README, "Chat files"). Unknown roles, kinds of parts and types are errors that say where.
// `tool_calls[].function.arguments` may be JSON text, as OpenAI's API has it; it is decoded here.
Result<Conversation> parse_conversation(std::string_view json, const std::string& where);
// A list of tools alone (--tools F).
Result<std::vector<OrderedJson>> parse_tools(std::string_view json, const std::string& where);

}  // namespace lapidary
