#include "c_library/request.h"

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "c_library/calls.h"
#include "chat/reply_form.h"

namespace lapidary {
namespace {

constexpr int32_t probabilities_max = 20;
constexpr size_t stop_strings_max = 1024;

Result<void> check_flag(int32_t value, const char* name) {
  if (value == 0 || value == 1) return {};
  return wrong_use(name, fmt::format("expected 0 or 1, found {}", value));
}

Result<void> check_range(double value, double min, double max, const char* name) {
  if (value >= min && value <= max) return {};  // false for what is no number
  return wrong_use(name, fmt::format("expected {} to {}, found {}", min, max, value));
}

Result<void> check_options(const lapidary_generation_options& options) {
  constexpr double tokens_max = 1e15, seconds_max = 1e9, image_tokens_max = 1e6;
  LAPIDARY_CHECK(check_range(static_cast<double>(options.reply_tokens_max), 0, tokens_max, "reply_tokens_max"));
  LAPIDARY_CHECK(check_range(static_cast<double>(options.thinking_tokens_max), 0, tokens_max, "thinking_tokens_max"));
  LAPIDARY_CHECK(check_range(options.deadline_seconds, 0, seconds_max, "deadline_seconds"));
  LAPIDARY_CHECK(check_flag(options.think, "think"));
  LAPIDARY_CHECK(check_flag(options.background, "background"));
  LAPIDARY_CHECK(check_flag(options.drop_oldest_turns, "drop_oldest_turns"));
  LAPIDARY_CHECK(check_range(options.image_tokens, 0, image_tokens_max, "image_tokens"));
  LAPIDARY_CHECK(check_flag(options.greedy, "greedy"));
  LAPIDARY_CHECK(check_range(options.top_k, -1, INT32_MAX, "top_k"));
  LAPIDARY_CHECK(check_range(options.temperature, 0, 1e6, "temperature"));
  LAPIDARY_CHECK(check_range(options.top_p, 0, 1, "top_p"));
  if (options.min_p != -1) LAPIDARY_CHECK(check_range(options.min_p, 0, 1, "min_p"));
  LAPIDARY_CHECK(check_range(options.probabilities, 0, probabilities_max, "probabilities"));
  return check_range(options.constraint, LAPIDARY_CONSTRAINT_NONE, LAPIDARY_CONSTRAINT_GBNF, "constraint");
}

// Zero is what the model's file advises; without advice for it, a value that was chosen turns greedy off.
SamplerOptions sampler_of(const lapidary_generation_options& options, const ModelInfo& model) {
  SamplerOptions sampler = model.sampler;
  const bool chosen = options.temperature > 0 || options.top_k != 0 || options.top_p > 0 || options.min_p != 0;
  sampler.greedy = options.greedy == 1 || (sampler.greedy && !chosen);
  if (options.temperature > 0) sampler.temperature = options.temperature;
  if (options.top_k != 0) sampler.top_k = std::max(options.top_k, 0);
  if (options.top_p > 0) sampler.top_p = options.top_p;
  if (options.min_p != 0) sampler.min_p = std::max(options.min_p, 0.0);
  sampler.seed = options.seed;
  while (sampler.seed == 0) sampler.seed = std::random_device{}();
  return sampler;
}

Result<std::vector<std::string>> stop_strings_of(const lapidary_generation_options& options) {
  std::vector<std::string> strings;
  if (options.stop_string_count == 0) return strings;
  LAPIDARY_CHECK(expect_given(options.stop_strings, "stop_strings"));
  if (options.stop_string_count > stop_strings_max)
    return wrong_use("stop_string_count",
                     fmt::format("expected at most {}, found {}", stop_strings_max, options.stop_string_count));
  for (size_t i = 0; i < options.stop_string_count; ++i) {
    const char* text = options.stop_strings[i];
    if (text == nullptr || *text == '\0')
      return wrong_use(fmt::format("stop_strings[{}]", i), "expected a text that is not empty");
    strings.emplace_back(text);
  }
  return strings;
}

Result<ReplyForm> form_of(const lapidary_generation_options& options) {
  ReplyForm form;
  if (options.constraint == LAPIDARY_CONSTRAINT_NONE) {
    if (options.constraint_text != nullptr)
      return wrong_use("constraint", "constraint_text is given, but not its kind");
  } else {
    LAPIDARY_CHECK(expect_given(options.constraint_text, "constraint_text"));
    form.kind = options.constraint == LAPIDARY_CONSTRAINT_JSON_SCHEMA ? ReplyForm::Kind::schema
                : options.constraint == LAPIDARY_CONSTRAINT_REGEX     ? ReplyForm::Kind::regex
                                                                      : ReplyForm::Kind::gbnf;
    form.text = options.constraint_text;
    form.where = "constraint_text";
  }
  const std::string choice = options.tool_choice == nullptr ? "auto" : options.tool_choice;
  if (choice != "auto") form.tool_choice = choice == "none" ? ToolChoice::none : ToolChoice::required;
  if (form.tool_choice == ToolChoice::required && choice != "required") form.callable.push_back(choice);
  return form;
}

// The constraint that was asked for, or else that calls are as their tools declare them. Compiled here and not where
// the service reads, so that what is wrong with it is said at once.
Result<void> constrain(GenerateRequest& request, const lapidary_generation_options& options, const ModelInfo& model,
                       std::vector<std::string>& warnings) {
  TurnOptions& turn = request.options;
  LAPIDARY_TRY(ReplyForm form, form_of(options));
  const bool calls = form.kind == ReplyForm::Kind::any && model.calls_tools && !turn.raw;
  if (!calls) form.tool_choice = ToolChoice::automatic, form.callable.clear();
  LAPIDARY_TRY(ReplyGrammar made, compile_form(form, calls ? request.conversation.tools : std::vector<OrderedJson>{}));
  turn.constraint = std::move(made.grammar);
  warnings = std::move(made.warnings);
  turn.thought_first = turn.constraint != nullptr && request.conversation.think;
  return {};
}

}  // namespace

Result<GenerateRequest> prompt_request(const SessionContent& content, const lapidary_generation_options& options) {
  LAPIDARY_CHECK(check_options(options));
  GenerateRequest request;
  if (content.kind == SessionContent::Kind::empty) return wrong_use("session", "nothing was appended to it");
  request.options.raw = content.kind == SessionContent::Kind::text;
  request.prompt = content.prompt;
  request.conversation = content.conversation;
  request.conversation.think = request.conversation.think || options.think == 1;
  request.options.image_tokens = options.image_tokens;
  return request;
}

Result<GenerateRequest> generate_request(const SessionContent& content, const lapidary_generation_options& options,
                                         const ModelInfo& model, std::vector<std::string>& warnings) {
  LAPIDARY_TRY(GenerateRequest request, prompt_request(content, options));
  TurnOptions& turn = request.options;
  turn.sampler = sampler_of(options, model);
  turn.tokens_max = options.reply_tokens_max;
  if (options.thinking_tokens_max > 0) turn.thinking_tokens_max = options.thinking_tokens_max;
  LAPIDARY_TRY(turn.stop_strings, stop_strings_of(options));
  LAPIDARY_CHECK(constrain(request, options, model, warnings));
  request.request_class = options.background == 1 ? RequestClass::background : RequestClass::interactive;
  request.drop_oldest_turns = options.drop_oldest_turns == 1;
  if (options.probabilities > 0) request.top_logprobs = options.probabilities;
  request.deadline_seconds = options.deadline_seconds;
  return request;
}

}  // namespace lapidary
