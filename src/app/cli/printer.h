// The events of a turn as a person reads them.
#pragma once

#include <string>
#include <string_view>

#include "chat/turn.h"
#include "cli/console.h"

namespace lapidary {

// "get_weather({"city":"Oslo"})"
std::string format_call(const ToolCall& call);
// "52 tokens read in 0.31 s, 118 written at 7.9 a second, seed 42" (the seed where dice were thrown)
std::string format_usage(const UsageEvent& usage, const SamplerOptions& sampler);

// Text streams to standard output. Thinking stays apart: dimmed there if it is a terminal (behind a bar where there is
// no colour), else to standard error.
class ReplyPrinter {
 public:
  // `exact`: nothing but the text, not even a line break at its end.
  ReplyPrinter(Console& console, bool exact) : console_(console), exact_(exact) {}

  void print(const TurnEvent& event);
  // Ends the line that is open. To be called after the turn, however it ended.
  void finish();
  // Whether there was a tool call that cannot be read. With --json events are noted only, not printed here.
  bool bad_call() const { return bad_call_; }
  void note_bad_call(const TurnEvent& event) { bad_call_ = bad_call_ || std::holds_alternative<BadToolCall>(event); }

 private:
  void thinking(std::string_view text);
  void end_thinking();
  void end_line();

  Console& console_;
  const bool exact_;
  bool thinking_ = false, thinking_line_begins_ = true;
  bool line_open_ = false;
  bool bad_call_ = false;
};

}  // namespace lapidary
