// What the program says and understands, without a model.
#include <doctest/doctest.h>

#include "cli/chat_loop.h"
#include "cli/exit_status.h"
#include "cli/id_list.h"
#include "cli/json_events.h"
#include "cli/open_model.h"
#include "cli/printer.h"

namespace lapidary {
namespace {

// What a turn's events become on the two streams.
struct Printed {
  std::string output, error;
  bool bad_call = false;
};
Printed print(const std::vector<TurnEvent>& events, bool output_is_terminal, bool colour, bool exact = false) {
  Printed printed;
  Console console(
      Console::Setup{output_is_terminal, output_is_terminal, colour, [&](Stream stream, std::string_view bytes) {
                       (stream == Stream::output ? printed.output : printed.error) += bytes;
                       return WriteResult::written;
                     }});
  ReplyPrinter printer(console, exact);
  for (const TurnEvent& event : events) printer.print(event);
  printer.finish();
  printed.bad_call = printer.bad_call();
  return printed;
}

}  // namespace

TEST_CASE("an answer is printed as it is, and ends its line") {
  const std::vector<TurnEvent> hello = {TextDelta{"hel"}, TextDelta{"lo"}};
  CHECK(print(hello, false, false).output == "hello\n");
  CHECK(print(hello, true, true).output == "hello\n");
  CHECK(print({TextDelta{"hello\n"}}, false, false).output == "hello\n");
  CHECK(print({TextDelta{"hello"}}, false, false, true).output == "hello");
  CHECK(print({}, true, true).output.empty());
}

TEST_CASE("model text drives no terminal, but reaches files as it is") {
  const std::vector<TurnEvent> text = {TextDelta{"a\x1b[31mb"}};
  CHECK(print(text, false, false).output == "a\x1b[31mb\n");
  CHECK(print(text, true, true).output == "a\xE2\x90\x9B[31mb\n");
  ToolCall call;
  call.name = "f\x1b]0;x\x07";
  CHECK(print({ToolCallEvent{call}}, true, false).output.find('\x1b') == std::string::npos);
  CHECK(print({ThinkingDelta{"a\x1b[31mb"}}, true, false).output.find('\x1b') == std::string::npos);
}

TEST_CASE("thinking stays apart from the answer") {
  const std::vector<TurnEvent> thought = {ThinkingDelta{"one\ntw"}, ThinkingDelta{"o"}, TextDelta{"answer"}};
  CHECK(print(thought, true, true).output == "\x1b[2mone\ntw\x1b[0m\x1b[2mo\x1b[0m\n\nanswer\n");
  CHECK(print(thought, true, false).output == "| one\n| two\n\nanswer\n");
  CHECK(print(thought, false, false).output == "answer\n");
  CHECK(print(thought, false, false).error == "| one\n| two\n\n");
}

TEST_CASE("tool calls, good and bad") {
  ToolCall call;
  call.name = "f";
  call.arguments = {{"a", 1}};
  CHECK(print({TextDelta{"so"}, ToolCallEvent{call}}, false, false).output == "so\nf({\"a\":1})\n");
  const Printed bad = print({BadToolCall{"call:x", "no brace"}}, false, false);
  CHECK(bad.bad_call);
  CHECK(bad.output.empty());
  CHECK(bad.error.starts_with("lapidary: "));
}

TEST_CASE("a closed pipe ends quietly, a full disk does not") {
  std::string error;
  WriteResult result = WriteResult::closed;
  const auto write = [&](Stream stream, std::string_view bytes) {
    if (stream == Stream::error) error += bytes;
    return stream == Stream::output ? result : WriteResult::written;
  };
  Console closed(Console::Setup{false, false, false, write});
  closed.print("x");
  CHECK(closed.output_ended());
  CHECK(closed.finish(ExitStatus::done) == ExitStatus::done);
  CHECK(error.empty());
  result = WriteResult::failed;
  Console full(Console::Setup{false, false, false, write});
  full.print("x");
  CHECK(full.finish(ExitStatus::done) == ExitStatus::failed);
  CHECK(error.starts_with("lapidary: "));
}

TEST_CASE("the lines of a chat: commands, blocks, messages") {
  const auto kind = [](std::string_view line) { return parse_chat_command(line).kind; };
  CHECK(kind("hello") == ChatCommandKind::message);
  CHECK(kind("/help") == ChatCommandKind::help);
  CHECK(kind("  /clear ") == ChatCommandKind::clear);
  CHECK(parse_chat_command("/image  my picture.png ").argument == "my picture.png");
  CHECK(kind("/image x") == ChatCommandKind::image);
  CHECK(kind("/audio x") == ChatCommandKind::audio);
  CHECK(parse_chat_command("/system You are\nbrief.").argument == "You are\nbrief.");
  CHECK(kind("/think") == ChatCommandKind::think);
  CHECK(kind("/tools t.json") == ChatCommandKind::tools);
  CHECK(kind("/imagine a cat") == ChatCommandKind::unknown);
  CHECK(kind("/usr/bin is full") == ChatCommandKind::message);
  CHECK(kind("/ what") == ChatCommandKind::unknown);
  CHECK(parse_chat_command("\"\"\"\n/help\nis text\n\"\"\"").argument == "/help\nis text");
  CHECK(kind("\"\"\"/help\"\"\"") == ChatCommandKind::message);
  CHECK(block_is_open("\"\"\"a\nb"));
  CHECK(block_is_open("\"\"\""));
  CHECK(block_is_open("\"\"\"\"\""));
  CHECK(!block_is_open("\"\"\"\"\"\""));
  CHECK(!block_is_open("\"\"\"a\nb\"\"\""));
  CHECK(!block_is_open("say \"\"\""));
}

TEST_CASE("paths as people paste them") {
  CHECK(typed_path("'/no where/a b.png'") == "/no where/a b.png");
  CHECK(typed_path("\"a b.png\"") == "a b.png");
  CHECK(typed_path("/no\\ where/a\\'b.png") == "/no where/a'b.png");
  CHECK(typed_path("models/spark/config.json") == "models/spark/config.json");
}

TEST_CASE("events are one line of JSON each, whatever is in them") {
  CHECK(json_event(TurnEvent(TextDelta{"a\n\"\x1b"}), 1) == "{\"type\":\"text\",\"text\":\"a\\n\\\"\\u001b\"}\n");
  CHECK(json_event(TurnEvent(ThinkingDelta{"hm"}), 1) == "{\"type\":\"thinking\",\"text\":\"hm\"}\n");
  ToolCall call;
  call.name = "f";
  call.arguments = {{"b", 1}, {"a", {1, 2}}};
  CHECK(json_event(TurnEvent(ToolCallEvent{call}), 1) ==
        "{\"type\":\"tool_call\",\"name\":\"f\",\"arguments\":{\"b\":1,\"a\":[1,2]}}\n");
  call.arguments = nullptr;
  CHECK(json_event(TurnEvent(ToolCallEvent{call}), 1) == "{\"type\":\"tool_call\",\"name\":\"f\",\"arguments\":{}}\n");
  UsageEvent usage;
  usage.reply_ids = {1, 2};
  usage.reason = StopReason::stop_string;
  const Json parsed = parse_json(json_event(TurnEvent(usage), 42), "usage").value();
  CHECK(parsed["type"] == "usage");
  CHECK(parsed["stop"] == "stop_string");
  CHECK(parsed["seed"] == 42);
  CHECK(parsed["reply_ids"] == Json({1, 2}));
  MediaEvent media{MediaKind::audio, "x.wav", 25, 0, 0, 1.0, ""};
  CHECK(json_event(TurnEvent(media), 1) ==
        "{\"type\":\"media\",\"kind\":\"audio\",\"path\":\"x.wav\",\"soft_tokens\":25,\"seconds\":1.0}\n");
  CHECK(parse_json(json_event(Error{ErrorKind::io, "here", "no"}), "error").value()["text"] == "here: no");
  CHECK(parse_json(json_event(TurnEvent(BadToolCall{"call:x", "no brace"}), 1), "bad").value()["raw"] == "call:x");
}

TEST_CASE("each kind of error has its exit status") {
  CHECK(exit_status(ErrorKind::wrong_use) == ExitStatus::wrong_use);
  CHECK(exit_status(ErrorKind::not_found) == ExitStatus::file_refused);
  CHECK(exit_status(ErrorKind::refused) == ExitStatus::file_refused);
  CHECK(exit_status(ErrorKind::unsupported) == ExitStatus::file_refused);
  CHECK(exit_status(ErrorKind::out_of_memory) == ExitStatus::out_of_memory);
  CHECK(exit_status(ErrorKind::cancelled) == ExitStatus::interrupted);
  CHECK(exit_status(ErrorKind::io) == ExitStatus::failed);
  CHECK(exit_status(ErrorKind::limit) == ExitStatus::failed);
}

TEST_CASE("lists of ids") {
  CHECK(format_ids(std::vector<int32_t>{}) == "[]");
  CHECK(format_ids(std::vector<int32_t>{2, 9259}) == "[2, 9259]");
  CHECK(parse_ids("[2, 9259]", "x", 10000).value() == std::vector<int32_t>{2, 9259});
  for (const char* bad : {"", "{}", "[1.5]", "[-1]", "[10000]", "[\"1\"]", "[18446744073709551615]", "[1", "[[1]]"}) {
    CAPTURE(bad);
    CHECK(!parse_ids(bad, "x", 10000).has_value());
  }
}

TEST_CASE("sampling: the model's defaults, what is chosen over them") {
  GenerationDefaults defaults;
  defaults.temperature = 0.7;
  defaults.top_k = 64;
  defaults.top_p = 0.95;
  defaults.suppress_tokens = {5};
  SamplingChoice choice;
  choice.seed = 9;
  SamplerOptions options = sampler_options(choice, defaults);
  CHECK(!options.greedy);
  CHECK(options.temperature == 0.7);
  CHECK(options.top_k == 64);
  CHECK(options.top_p == 0.95);
  CHECK(options.seed == 9);
  CHECK(options.suppress == std::vector<int32_t>{5});
  choice.temperature = 0.1;
  choice.top_k = 0;
  options = sampler_options(choice, defaults);
  CHECK(options.temperature == 0.1);
  CHECK(options.top_k == 0);
  choice.greedy = true;
  CHECK(sampler_options(choice, defaults).greedy);
  defaults.sample = false;
  CHECK(sampler_options({}, defaults).greedy);
  choice.greedy = false;
  CHECK(!sampler_options(choice, defaults).greedy);
}

}  // namespace lapidary
