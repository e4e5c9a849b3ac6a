// What the OpenAI dialects' requests have in common, read into native types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chat/conversation.h"
#include "serve/api_error.h"
#include "serve/fields.h"
#include "service/service.h"

namespace lapidary {

// {"role": …, "content": …}, as chat completions have them.
Result<std::vector<Message>> read_messages(const OrderedJson& list, const std::string& where, int32_t* image_tokens);

// A content part: text, image_url, input_audio (chat) or input_text, input_image, output_text (Responses).
Result<ContentPart> read_part(const OrderedJson& part, const std::string& where, int32_t* image_tokens);

// A text, or parts; parts that are all text become one text where `join` is set.
Result<void> read_content(const OrderedJson& content, const std::string& where, bool join, Message& message,
                          int32_t* image_tokens);

// [{"type": "function", "function": {…}}]
Result<std::vector<OrderedJson>> read_tools(const OrderedJson& list, const std::string& where);

// A call's arguments, which come as JSON text.
Result<OrderedJson> read_arguments(const std::string& text, const std::string& where);

// What a request says about sampling.
struct SamplingWish {
  std::optional<double> temperature, top_p, min_p;
  std::optional<int64_t> top_k, seed;  // top_k: -1 or 0 for off
};
// The model's advice with the wish over it; a seed is drawn if none is wished.
SamplerOptions sampler_of(const SamplingWish& wish, const ModelInfo& model);
inline constexpr double temperature_max = 100;

// presence_penalty, frequency_penalty, repeat_penalty, repeat_last_n. In OpenAI's API the reply is looked at; in
// llama-server's and Ollama's the last 64 tokens (repeat_last_n; -1: all) of prompt and reply, as here where one of
// their two names is given.
enum class PenaltyWindow : uint8_t { reply, last_tokens };
Result<PenaltyOptions> read_penalties(const Fields& fields, PenaltyWindow window);
inline constexpr double penalty_min = -2, penalty_max = 2;

// temperature, top_p, top_k, min_p, seed, penalties and, where it is not empty, the refusal of logit_bias.
ApiResult<void> read_sampling(const Fields& fields, const ModelInfo& model, SamplerOptions& sampler);
Result<SamplingWish> read_wish(const Fields& fields);

// Stop strings: one or several, none empty.
Result<std::vector<std::string>> read_stops(const Fields& fields, const char* key);

// Most tokens of the reply; any large number is as good as none.
Result<int64_t> read_tokens_max(const Fields& fields, const char* key);

// reasoning_effort, chat_template_kwargs (enable_thinking, preserve_thinking; no others), enable_thinking.
ApiResult<void> read_thinking(const Fields& fields, Conversation& conversation);

}  // namespace lapidary
