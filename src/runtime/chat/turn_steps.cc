#include "chat/turn_steps.h"

#include <algorithm>

#include "base/system.h"

namespace lapidary {

Result<ChatFormat> turn_format(const TurnOptions& options, const Tokenizer& tokenizer, const std::string& where) {
  const ChatFormat format = options.raw ? ChatFormat::none : chat_format(tokenizer);
  if (!options.raw && format == ChatFormat::none)
    return fail(ErrorKind::unsupported, where, "this model has no chat format: continue a text instead (--raw)");
  return format;
}

Result<Prompt> turn_prompt(const Conversation& conversation, const std::string& text, ChatFormat format,
                           const Tokenizer& tokenizer) {
  if (format != ChatFormat::none) return render(conversation, format);
  Prompt prompt;
  if (tokenizer.find("<bos>") >= 0) prompt.push_back({PromptItem::Kind::special, "<bos>"});
  prompt.push_back({PromptItem::Kind::text, text});
  return prompt;
}

bool ends_in_thought(const Prompt& prompt) {
  const auto open = std::find_if(prompt.rbegin(), prompt.rend(),
                                 [](const PromptItem& item) { return item.kind == PromptItem::Kind::special; });
  return open != prompt.rend() && open->text == "<|channel>";
}

int64_t stable_length(std::span<const int32_t> ids, const Tokenizer& tokenizer) {
  for (const char* name : {"<|turn>", "<start_of_turn>"}) {
    const int32_t turn = tokenizer.find(name);
    if (turn < 0) continue;
    const auto last = std::find(ids.rbegin(), ids.rend(), turn);
    if (last != ids.rend()) return ids.rend() - last - 1;
  }
  return -1;
}

ReplyGeneration::ReplyGeneration(const Tokenizer& tokenizer, const ModelConfig& config, const TurnOptions& options,
                                 ChatFormat format, bool inside_thought, Sink sink)
    : tokenizer_(tokenizer),
      config_(config),
      options_(options),
      sink_(std::move(sink)),
      sampler_(options.sampler),
      penalties_(options.sampler.penalties),
      parser_(tokenizer, format, inside_thought),
      stop_strings_(options.stop_strings),
      begin_seconds_(monotonic_seconds()) {
  message_.role = "assistant";
  usage_.reason = StopReason::length;
  if (!options_.constraint) return;
  if (!options_.constraint_tokens) options_.constraint_tokens = TokenTable::create(tokenizer);
  matcher_.emplace(options_.constraint, options_.constraint_tokens, config.generation.stop_tokens);
  allowed_.resize(options_.constraint_tokens->words());
  thought_open_ = tokenizer.find("<|channel>");
  thought_close_ = tokenizer.find("<channel|>");
  in_thought_ = inside_thought;
}

bool ReplyGeneration::is_markup(int32_t token) const {
  const auto& stops = config_.generation.stop_tokens;
  return tokenizer_.is_special(token) || std::find(stops.begin(), stops.end(), token) != stops.end();
}

void ReplyGeneration::look_at_prompt(std::span<const int32_t> ids) {
  if (!options_.sampler.penalties.active() || !options_.sampler.penalties.prompt) return;
  for (const int32_t id : ids)
    if (!is_markup(id)) penalties_.add(id);
}

Result<int32_t> ReplyGeneration::next(std::span<const float> logits) {
  const int32_t token = pick(logits);
  if (token < 0 && constrained() && std::ranges::all_of(allowed_, [](uint64_t word) { return word == 0; }))
    return fail(ErrorKind::unsupported, "constraint", "no token can follow what was written");
  if (token < 0) return fail(ErrorKind::refused, "logits", "no finite value is left: the model file is damaged");
  take(token);
  return token;
}

void ReplyGeneration::take(int32_t token) {
  usage_.reply_ids.push_back(token);
  ++usage_.reply_tokens;
  if (!is_markup(token)) penalties_.add(token);
  if (matcher_) {
    if (in_thought_) {
      in_thought_ = token != thought_close_;
    } else if (token == thought_open_ && thought_open_ >= 0) {
      in_thought_ = true;
    } else {
      matcher_->accept(token);
    }
  }
  const auto& stops = config_.generation.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    stop(StopReason::stop_token);
    return;
  }
  emit(parser_.push(token));
  if (stop_strings_.stopped()) stop(StopReason::stop_string);
}

std::vector<int32_t> ReplyGeneration::take_forced(int64_t tokens_max) {
  std::vector<int32_t> taken;
  if (!constrained() || stopped_ || tokens_max <= 0 || (options_.thought_first && matcher_->accepted() == 0))
    return taken;
  for (const int32_t token : matcher_->forced_tokens(static_cast<size_t>(std::min<int64_t>(tokens_max, 64)))) {
    if (!wants_token()) break;
    take(token);
    taken.push_back(token);
  }
  return taken;
}

// A thought without end is closed for the model: pitfalls 37 and 40.
int32_t ReplyGeneration::pick(std::span<const float> logits) {
  if (parser_.thinking() && options_.thinking_tokens_max > 0 &&
      parser_.thinking_tokens() >= options_.thinking_tokens_max)
    if (const int32_t close = tokenizer_.find("<channel|>"); close >= 0) return close;
  logits = penalties_.apply(logits);
  if (!constrained()) return sampler_.next(logits);
  matcher_->mask(allowed_);
  if (options_.thought_first && matcher_->accepted() == 0 && thought_open_ >= 0)
    allowed_[static_cast<size_t>(thought_open_) / 64] |= uint64_t{1} << (thought_open_ % 64);
  return sampler_.next(logits, allowed_);
}

void ReplyGeneration::finish() {
  emit(parser_.finish());
  if (std::string rest = stop_strings_.finish(); !rest.empty() && !stop_strings_.stopped()) say(std::move(rest));
  if (!message_.tool_calls.empty() && usage_.reason == StopReason::stop_token) usage_.reason = StopReason::tool_call;
  usage_.thinking_tokens = parser_.thinking_tokens();
  usage_.reply_seconds = monotonic_seconds() - begin_seconds_;
  message_.content = text_;
}

void ReplyGeneration::emit(std::vector<ReplyEvent> events) {
  for (ReplyEvent& event : events) {
    if (auto* text = std::get_if<TextDelta>(&event)) {
      say(stop_strings_.push(text->text));
      continue;
    }
    if (auto* thinking = std::get_if<ThinkingDelta>(&event)) {
      message_.reasoning += thinking->text;
      sink_(std::move(*thinking));
    } else if (auto* call = std::get_if<ToolCallEvent>(&event)) {
      message_.tool_calls.push_back(call->call);
      sink_(std::move(*call));
    } else if (auto* bad = std::get_if<BadToolCall>(&event)) {
      sink_(std::move(*bad));
    }
  }
}

void ReplyGeneration::say(std::string text) {
  if (text.empty()) return;
  text_ += text;
  sink_(TextDelta{std::move(text)});
}

}  // namespace lapidary
