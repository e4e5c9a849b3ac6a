// Replies in Gemma 4's format with calls of declared tools: text, calls, or both, by token id.
//
//   <|tool_call>call:NAME{key:value,…}<tool_call|>
//
// with names bare, strings between quote tokens, nothing escaped (gemma4.md, 6.3).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/machine.h"
#include "grammar/recognizer.h"

namespace lapidary::grammar {

inline constexpr Symbol call_begin_symbol = 257, call_end_symbol = 258;

struct ToolCalls {
  struct Tool {
    std::string opening;  // "call:NAME{", sorted
    uint32_t node = 0;    // of its arguments
  };
  Program program;
  std::vector<Tool> tools;
  bool text = true;      // a reply may be text, before calls or without them
  bool calls = true;     // may hold calls
  bool parallel = true;  // … more than one
  uint64_t effort = 0;   // that compiling its schemas took
};

// Adds a tool; without parameters its arguments are any object. Errors: what its schema cannot have,
// ErrorKind::unsupported; a name that cannot be written; ErrorKind::limit: all the schemas together are too much.
Result<void> add_tool(ToolCalls& calls, const std::string& name, std::optional<std::string_view> parameters);

// `calls` has to outlive it. `answer`: what a reply without calls has to be, by a recognizer of one of the other kinds;
// nullptr: any text.
std::unique_ptr<Recognizer> make_tool_recognizer(const ToolCalls& calls, std::unique_ptr<Recognizer> answer);

}  // namespace lapidary::grammar
