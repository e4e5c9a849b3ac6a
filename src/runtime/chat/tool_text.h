// Gemma 4's notation for tools: declarations, calls, responses and the values in them (gemma4.md 6.3).
#pragma once

#include "base/result.h"
#include "chat/conversation.h"
#include "chat/prompt_writer.h"

namespace lapidary {

// <|tool>declaration:NAME{…}<tool|> of an OpenAI function schema. `where` names the tool in errors.
Result<void> write_declaration(PromptWriter& out, const OrderedJson& tool, const std::string& where);

// <|tool_call>call:NAME{key:value,…}<tool_call|>. Names that would break out of this framing are an error.
Result<void> write_call(PromptWriter& out, const ToolCall& call, const std::string& where);

// <|tool_response>response:NAME{key:value,…}<tool_response|>, {value:…} if the body is not an object.
void write_response(PromptWriter& out, std::string_view name, const OrderedJson& body);

}  // namespace lapidary
