// The notation of tool calls, read by token: call:NAME{key:value,…}
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "chat/conversation.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

// `ids` is what stands between <|tool_call> and <tool_call|>. Strings are what stands between two <|"|> tokens,
// whatever it is; nothing in their text can end them. Space between the parts is allowed. Of a repeated key the last
// counts.
Result<ToolCall> parse_tool_call(std::span<const int32_t> ids, const Tokenizer& tokenizer);

}  // namespace lapidary
