// Tokens -> what they mean: text, thinking, tool calls. Decided by token id, never by looking for markers in the text,
// so strings may hold braces, quotes and the names of special tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chat/conversation.h"
#include "chat/render.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

struct TextDelta {
  std::string text;
};
struct ThinkingDelta {
  std::string text;
};
struct ToolCallEvent {
  ToolCall call;
};
// A tool call that could not be read: the raw text and why. Nothing is executed and nothing is lost.
struct BadToolCall {
  std::string raw;
  std::string reason;
};
using ReplyEvent = std::variant<TextDelta, ThinkingDelta, ToolCallEvent, BadToolCall>;

// Reads one reply. Not thread-safe.
//   <|channel>thought\n … \n<channel|>   thinking (the header and the line breaks around it are dropped; an empty block
//   gives
//                                        no event; an unclosed one stays thinking to the end; other channel names:
//                                        text)
//   <|tool_call>call:NAME{…}<tool_call|> a call; strings between <|"|> tokens hold anything; repeated calls are
//   separate anything else                        text; a stray special token is dropped, never shown
class ReplyParser {
 public:
  // `inside_thought`: the prompt ended with an open <|channel>thought\n.
  ReplyParser(const Tokenizer& tokenizer, ChatFormat format, bool inside_thought);

  // The events that `id` completes; text comes in whole characters.
  std::vector<ReplyEvent> push(int32_t id);
  // What is left when the reply ends (by stop token, limit or interruption).
  std::vector<ReplyEvent> finish();

  bool thinking() const;            // inside a thought now
  int64_t thinking_tokens() const;  // in this reply so far

  // Parses the inside of a tool call, given as ids (tests, fuzzing): call:NAME{key:value,…}
  static Result<ToolCall> parse_call(const std::vector<int32_t>& ids, const Tokenizer& tokenizer);

 private:
  enum class State : uint8_t { text, channel_name, thought, tool_call };
  std::vector<ReplyEvent> special(int32_t id);
  void take_text(std::string text, std::vector<ReplyEvent>& events);
  void take_channel_name(std::string text, std::vector<ReplyEvent>& events);
  void take_thought(std::string text, std::vector<ReplyEvent>& events);
  void close(std::vector<ReplyEvent>& events);  // ends what is open; the state is text afterwards
  void finish_call(std::vector<ReplyEvent>& events);

  const Tokenizer* tokenizer_;
  StreamingDecoder decoder_;
  State state_ = State::text;
  std::string pending_;         // the beginning of a channel's name, or line breaks that may end a thought
  bool thought_begun_ = false;  // something of this thought has been given out
  std::vector<int32_t> call_ids_;
  int64_t thinking_tokens_ = 0;
  int32_t channel_open_ = -1, channel_close_ = -1, call_open_ = -1, call_close_ = -1;
};

}  // namespace lapidary
