#include "chat/reply_parser.h"

#include <algorithm>

#include "chat/chat_for_test.h"

namespace lapidary {
namespace {

using chat_test::ids_of;
using chat_test::tokenizer;

// The events of a reply in short: text as it is, {thinking}, [call name arguments], !raw|reason!
struct Reader {
  explicit Reader(bool inside_thought = false, ChatFormat format = ChatFormat::gemma4)
      : parser(tokenizer(), format, inside_thought) {}

  void take(const std::vector<ReplyEvent>& events) {
    for (const ReplyEvent& event : events) {
      const bool thinking_last = std::exchange(last_was_thinking, std::holds_alternative<ThinkingDelta>(event));
      if (const auto* delta = std::get_if<TextDelta>(&event)) {
        CHECK(!delta->text.empty());
        text += delta->text;
        all += delta->text;
      } else if (const auto* thinking = std::get_if<ThinkingDelta>(&event)) {
        CHECK(!thinking->text.empty());
        thought += thinking->text;
        if (thinking_last) all.pop_back();
        all += (thinking_last ? "" : "{") + thinking->text + "}";
      } else if (const auto* call = std::get_if<ToolCallEvent>(&event)) {
        all += "[" + call->call.name + " " + dump(call->call.arguments) + "]";
      } else {
        const auto& bad = std::get<BadToolCall>(event);
        all += "!" + bad.raw + "|" + bad.reason + "!";
      }
    }
  }
  void push(const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) take(parser.push(id));
  }

  ReplyParser parser;
  std::string text, thought, all;
  bool last_was_thinking = false;
};

std::string events_of(std::string_view reply, bool inside_thought = false, ChatFormat format = ChatFormat::gemma4) {
  Reader reader(inside_thought, format);
  reader.push(ids_of(reply));
  reader.take(reader.parser.finish());
  return reader.all;
}

// The thinking and the text, each joined.
std::pair<std::string, std::string> thought_and_text(std::string_view reply, bool inside_thought = false) {
  Reader reader(inside_thought);
  reader.push(ids_of(reply));
  reader.take(reader.parser.finish());
  return {reader.thought, reader.text};
}

using Pair = std::pair<std::string, std::string>;

}  // namespace

TEST_CASE("reply: plain text comes as it is, a stop token is no part of it") {
  CHECK(events_of("Hello 日本.\n\n<turn|>") == "Hello 日本.\n\n");
  CHECK(events_of("").empty());
}

TEST_CASE("pitfall 30: thinking and text are told apart, whether the channel is empty, full, streamed or unclosed") {
  CHECK(thought_and_text("<|channel>thought\nI think.\nSo.\n<channel|>Answer<turn|>") ==
        Pair{"I think.\nSo.", "Answer"});
  CHECK(thought_and_text("<|channel>thought\n<channel|>Answer") == Pair{"", "Answer"});
  CHECK(thought_and_text("<|channel>thought<channel|>Answer") == Pair{"", "Answer"});
  CHECK(thought_and_text("<|channel><channel|>Answer") == Pair{"", "Answer"});
  CHECK(thought_and_text("<|channel>thought\n\n\n<channel|>Answer") == Pair{"", "Answer"});
  CHECK(thought_and_text("<|channel>thought\nnever ends\n\n") == Pair{"never ends", ""});
  CHECK(thought_and_text("inside\n<channel|>out", true) == Pair{"inside", "out"});
  CHECK(thought_and_text("<|channel>thought\na<channel|>b<|channel>thought\nc<channel|>d") == Pair{"ac", "bd"});
}

TEST_CASE("pitfall 41: a channel that opens in the middle of the text and never closes hides nothing else") {
  CHECK(thought_and_text("It is sunny.<|channel>thought\nhm") == Pair{"hm", "It is sunny."});
  CHECK(thought_and_text("a<|channel>final\nThe answer") == Pair{"", "afinal\nThe answer"});
  CHECK(thought_and_text("<|channel>thoughtful words") == Pair{"", "thoughtful words"});
  CHECK(thought_and_text("<|channel>tho<turn|>") == Pair{"", "tho"});
}

TEST_CASE("reply: line breaks inside a thought stay, those around it go") {
  Reader reader;
  reader.push(ids_of("<|channel>thought\n\na\n"));
  CHECK(reader.thought == "a");
  reader.push(ids_of("\nb"));
  CHECK(reader.thought == "a\n\nb");
  CHECK(reader.parser.thinking());
  CHECK(reader.parser.thinking_tokens() > 2);
  reader.push(ids_of("<channel|>"));
  CHECK(!reader.parser.thinking());
}

TEST_CASE("pitfall 35: stray special tokens are dropped, never shown") {
  CHECK(events_of("a<|image|>b<audio|><|audio>c<channel|><tool_call|><|\"|><bos><|turn><tool_response|>d") == "abcd");
}

TEST_CASE("pitfall 44: markers of other models are text") {
  CHECK(events_of("<think>x</think> <start_of_turn>") == "<think>x</think> <start_of_turn>");
}

TEST_CASE("reply: calls, one and several, with text around them") {
  CHECK(events_of("Let me "
                  "see.<|tool_call>call:f{city:<|\"|>Paris<|\"|>,n:-3}<tool_call|><|tool_call>call:g{}<tool_call|><|"
                  "tool_response>") == "Let me see.[f {\"city\":\"Paris\",\"n\":-3}][g {}]");
  CHECK(events_of("<|channel>thought\nhm\n<|tool_call>call:f{}<tool_call|>x") == "{hm}[f {}]x");
}

TEST_CASE("pitfall 29: strings in calls hold braces, quotes and the names of special tokens") {
  // As the model writes it: the quote tokens around the string by id, everything in it as characters.
  const std::string inner = "line 1\nline 2 \"quoted\" }{ <|\"|>,x:1}<tool_call|> end";
  std::vector<int32_t> ids = ids_of("<|tool_call>call:f{text:<|\"|>");
  tokenizer().encode(inner, SpecialParsing::off, ids);
  tokenizer().encode("<|\"|>,日本:<|\"|>🙂<|\"|>}<tool_call|>", SpecialParsing::on, ids);
  Reader reader;
  reader.push(ids);
  CHECK(reader.all == "[f " + dump(OrderedJson{{"text", inner}, {"日本", "🙂"}}) + "]");
}

TEST_CASE("reply: a call that cannot be read is kept with the reason, and nothing is executed") {
  CHECK(events_of("<|tool_call>call:f{a:<|\"|>x<tool_call|>y").starts_with("!call:f{a:<|\"|>x|"));
  CHECK(events_of("<|tool_call>call:f{a:1}") == "!call:f{a:1}|the call is not closed!");
  CHECK(events_of("<|tool_call>call:f{<|tool_call>call:g{}<tool_call|>") == "!call:f{|the call is not closed![g {}]");
  CHECK(events_of("<|tool_call>call:f{<|channel>thought\nx<channel|>") == "!call:f{|the call is not closed!{x}");
  CHECK(events_of("<|tool_call>call:f{a:<turn|>1}<tool_call|>").find("special token <turn|>") != std::string::npos);
}

TEST_CASE("reply: half a character at the end of a reply, a thought or before a call is U+FFFD") {
  const auto half = [](std::string_view after) {
    Reader reader;
    auto ids = ids_of("日");
    ids.resize(2);
    reader.push(ids);
    reader.push(ids_of(after));
    reader.take(reader.parser.finish());
    return reader.all;
  };
  CHECK(half("") == "\uFFFD\uFFFD");
  CHECK(half("<|tool_call>call:f{}<tool_call|>") == "\uFFFD\uFFFD[f {}]");
}

TEST_CASE("reply: a model without channels and calls gives text") {
  CHECK(events_of("a<|channel>thought\nb<channel|>c", false, ChatFormat::gemma3) == "athought\nbc");
}

}  // namespace lapidary
