#include "chat/conversation.h"

#include <doctest/doctest.h>

namespace lapidary {
namespace {

Conversation parse(std::string_view text) {
  auto parsed = parse_conversation(text, "chat.json");
  REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  return std::move(*parsed);
}

std::string error_of(std::string_view text) {
  const auto parsed = parse_conversation(text, "chat.json");
  return parsed ? "no error" : parsed.error().text();
}

void check_error(std::string_view text, const std::string& part) {
  INFO(text);
  const std::string error = error_of(text);
  INFO(error);
  CHECK(error.find(part) != std::string::npos);
  CHECK(error.starts_with("chat.json"));
}

}  // namespace

TEST_CASE("conversation: every kind of message") {
  const Conversation chat = parse(R"({
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image", "path": "a.png"},
                                   {"type": "image_url", "image_url": {"url": "b.png"}},
                                   {"type": "audio", "url": "c.wav"},
                                   {"type": "input_audio"}, {"type": "video", "video": "d.mp4"},
                                   {"type": "image_url", "image_url": "e.png"}]},
      {"role": "assistant", "content": null, "reasoning_content": "hm",
       "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": 2}}},
                      {"function": {"name": "g", "arguments": "{\"x\": [1.5]}"}},
                      {"function": {"name": "h", "arguments": " "}},
                      {"function": {"name": "i"}}]},
      {"role": "tool", "tool_call_id": "1", "content": {"temp": 21}},
      {"role": "tool", "name": "g", "content": 3.5},
      {"role": "model", "content": "ok", "reasoning": "r",
       "tool_responses": [{"name": "f", "response": {}}, {"response": null}]}
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "think": true, "preserve_thinking": true, "generation_prompt": false})");
  REQUIRE(chat.messages.size() == 6);
  const auto& parts = std::get<std::vector<ContentPart>>(chat.messages[1].content);
  REQUIRE(parts.size() == 7);
  CHECK(std::get<TextPart>(parts[0]).text == "see");
  std::vector<std::string> paths;
  for (size_t i = 1; i < parts.size(); ++i) paths.push_back(std::get<MediaPart>(parts[i]).path);
  CHECK(paths == std::vector<std::string>{"a.png", "b.png", "c.wav", "", "d.mp4", "e.png"});
  CHECK(std::get<MediaPart>(parts[3]).kind == MediaKind::audio);
  CHECK(std::get<MediaPart>(parts[5]).kind == MediaKind::video);
  const Message& caller = chat.messages[2];
  CHECK(std::holds_alternative<std::monostate>(caller.content));
  CHECK(caller.reasoning == "hm");
  REQUIRE(caller.tool_calls.size() == 4);
  CHECK(caller.tool_calls[0].id == "1");
  CHECK(dump(caller.tool_calls[0].arguments) == R"({"b":1,"a":2})");  // as written, not sorted
  CHECK(dump(caller.tool_calls[1].arguments) == R"({"x":[1.5]})");
  CHECK(caller.tool_calls[2].arguments.is_null());
  CHECK(caller.tool_calls[3].arguments.is_null());
  CHECK(std::get<OrderedJson>(chat.messages[3].content)["temp"] == 21);
  CHECK(chat.messages[4].name == "g");
  CHECK(chat.messages[5].tool_responses.size() == 2);
  CHECK(chat.tools.size() == 1);
  CHECK(chat.think);
  CHECK(chat.preserve_thinking);
  CHECK(!chat.generation_prompt);
}

TEST_CASE("conversation: a bare list of messages, with the usual switches") {
  const Conversation chat = parse(R"([{"role": "user", "content": "hi"}])");
  CHECK(std::get<std::string>(chat.messages[0].content) == "hi");
  CHECK(!chat.think);
  CHECK(chat.generation_prompt);
}

TEST_CASE("conversation: what is wrong is refused with its place") {
  check_error("{", "byte");
  check_error("7", "messages");
  check_error("{}", "messages: expected a list of messages, found nothing");
  check_error("[]", "at least one");
  check_error("[7]", "messages[0]");
  check_error(R"([{"content": "x"}])", "messages[0].role");
  check_error(R"([{"role": "user"}, {"role": "robot"}])", "messages[1].role");
  check_error(R"([{"role": "user", "content": 7}])", "messages[0].content");
  check_error(R"([{"role": "user", "content": ["x"]}])", "messages[0].content[0]");
  check_error(R"([{"role": "user", "content": [{"text": "x"}]}])", "messages[0].content[0].type");
  check_error(R"([{"role": "user", "content": [{"type": "smell"}]}])", "messages[0].content[0].type");
  check_error(R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text");
  check_error(R"([{"role": "user", "content": [{"type": "image", "path": 7}]}])", "messages[0].content[0].path");
  check_error(R"([{"role": "tool", "content": [1, 2]}])", "messages[0].content[0]");
  check_error(R"([{"role": "assistant", "reasoning": 7}])", "messages[0].reasoning");
  check_error(R"([{"role": "assistant", "tool_calls": {}}])", "messages[0].tool_calls");
  check_error(R"([{"role": "assistant", "tool_calls": [{"name": "f"}]}])", "messages[0].tool_calls[0]");
  check_error(R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])",
              "messages[0].tool_calls[0].function.name");
  check_error(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}])",
              "function.arguments");
  check_error(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}])",
              "function.arguments");
  check_error(R"([{"role": "assistant", "tool_responses": [{"name": "f"}]}])", "messages[0].tool_responses[0]");
  check_error(R"([{"role": "assistant", "tool_responses": 7}])", "messages[0].tool_responses");
  check_error(R"([{"role": "tool", "tool_call_id": 7}])", "messages[0].tool_call_id");
  check_error(R"({"messages": [{"role": "user"}], "think": "yes"})", "think");
  check_error(R"({"messages": [{"role": "user"}], "tools": {}})", "tools");
  check_error(std::string(100'000, '['), "nested deeper");
}

TEST_CASE("conversation: tools alone, and damaged ones (advisory 20)") {
  const auto check = [](std::string_view text, const std::string& part) {
    const auto parsed = parse_tools(text, "tools.json");
    REQUIRE(!parsed.has_value());
    INFO(parsed.error().text());
    CHECK(parsed.error().text().find(part) != std::string::npos);
  };
  CHECK(parse_tools(R"([{"function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}])", "tools.json")
            .value()
            .size() == 2);
  check("{}", "a list of tools");
  check("[7]", "tools[0]");
  check(R"([{"type": "retrieval"}])", "tools[0].type");
  check(R"([{"function": {}}])", "tools[0].function.name");
  check(R"([{"function": {"name": "f", "parameters": "x"}}])", "tools[0].function.parameters");
}

}  // namespace lapidary
