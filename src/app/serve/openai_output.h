// Pieces of answers that OpenAI's dialects share.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/collected.h"

namespace lapidary {

const char* openai_finish(const Collected& reply);             // stop, length or tool_calls
OrderedJson openai_message(const Collected& reply);            // role, content, reasoning_content, tool_calls
OrderedJson openai_usage(std::span<const Collected> replies);  // of a request with one prompt and these replies
OrderedJson logprobs_of(std::span<const TokenEvent> tokens);   // {"content": […]}
std::string arguments_text(const ToolCall& call);              // the arguments as JSON text
// A model as the clients of OpenAI, Anthropic and Google read it: they share the path /v1/models.
OrderedJson model_for_all(const ModelInfo& model);

}  // namespace lapidary
