// Replies in Gemma 4's format with calls of declared tools: text, calls, or both, by token id.
//
//   <|tool_call>call:NAME{key:value,…}<tool_call|>
//
// with names bare, strings between quote tokens, nothing escaped (gemma4.md, 6.3).
#pragma once

#include <memory>
#include <string>
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
};

// Adds a tool. Errors: what its schema cannot have, ErrorKind::unsupported; a name that cannot be written.
Result<void> add_tool(ToolCalls& calls, const std::string& name, std::string_view parameters);

// `calls` has to outlive it.
std::unique_ptr<Recognizer> make_tool_recognizer(const ToolCalls& calls);

}  // namespace lapidary::grammar
