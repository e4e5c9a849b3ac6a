#include "c_library/event_view.h"

#include <utility>

#include "c_library/calls.h"

namespace lapidary {
namespace {

constexpr lapidary_stop_reason stop_reason(StopReason reason) {
  switch (reason) {
    case StopReason::stop_token:
      return LAPIDARY_STOP_TOKEN;
    case StopReason::stop_string:
      return LAPIDARY_STOP_STRING;
    case StopReason::length:
      return LAPIDARY_STOP_LENGTH;
    case StopReason::context:
      return LAPIDARY_STOP_CONTEXT;
    case StopReason::tool_call:
      return LAPIDARY_STOP_TOOL_CALL;
    case StopReason::interrupted:
      return LAPIDARY_STOP_CANCELLED;
  }
  return LAPIDARY_STOP_TOKEN;
}

lapidary_probability probability(const TokenProbability& token) {
  return {token.token, 0, token.log_probability, token.bytes.c_str(), token.bytes.size()};
}

}  // namespace

lapidary_event_type type_of(const GenerateEvent& event) {
  struct Types {
    lapidary_event_type operator()(const ProgressEvent&) const { return LAPIDARY_EVENT_PROGRESS; }
    lapidary_event_type operator()(const MediaEvent&) const { return LAPIDARY_EVENT_MEDIA; }
    lapidary_event_type operator()(const TruncatedEvent&) const { return LAPIDARY_EVENT_TRUNCATED; }
    lapidary_event_type operator()(const WarningEvent&) const { return LAPIDARY_EVENT_WARNING; }
    lapidary_event_type operator()(const PromptEvent&) const { return LAPIDARY_EVENT_PROMPT; }
    lapidary_event_type operator()(const TokenEvent&) const { return LAPIDARY_EVENT_TOKEN; }
    lapidary_event_type operator()(const ThinkingDelta&) const { return LAPIDARY_EVENT_THINKING; }
    lapidary_event_type operator()(const TextDelta&) const { return LAPIDARY_EVENT_TEXT; }
    lapidary_event_type operator()(const ToolCallEvent&) const { return LAPIDARY_EVENT_TOOL_CALL; }
    lapidary_event_type operator()(const BadToolCall&) const { return LAPIDARY_EVENT_BAD_TOOL_CALL; }
    lapidary_event_type operator()(const UsageEvent&) const { return LAPIDARY_EVENT_END; }
    lapidary_event_type operator()(const Error&) const { return LAPIDARY_EVENT_ERROR; }
  };
  return std::visit(Types{}, event);
}

void EventView::show(GenerateEvent event, uint64_t seed) {
  clear();
  held_ = std::move(event);
  event_.type = type_of(held_);
  std::visit([this](const auto& held) { fill(held); }, held_);
  if (event_.type == LAPIDARY_EVENT_END) event_.seed = seed;
}

void EventView::show_out_of_memory() noexcept {
  clear();
  event_.type = LAPIDARY_EVENT_ERROR;
  event_.status = LAPIDARY_OUT_OF_MEMORY;
  event_.text = "there is no memory for the generation's events";
  event_.text_bytes = std::char_traits<char>::length(event_.text);
}

void EventView::clear() noexcept {
  event_ = {};
  event_.struct_size = sizeof event_;
  event_.text = event_.name = event_.id = "";
}

void EventView::set_text(const std::string& text) {
  event_.text = text.c_str();
  event_.text_bytes = text.size();
}

void EventView::fill(const ProgressEvent& progress) {
  event_.tokens = progress.done;
  event_.tokens_total = progress.total;
}

void EventView::fill(const MediaEvent& media) {
  event_.media_kind = media.kind == MediaKind::image ? LAPIDARY_MEDIA_IMAGE : LAPIDARY_MEDIA_AUDIO;
  event_.name = media.path.c_str();
  event_.tokens = media.soft_tokens;
  event_.width = media.width;
  event_.height = media.height;
  event_.seconds = media.seconds;
  set_text(media.warning);
}

void EventView::fill(const TruncatedEvent& truncated) { event_.tokens = truncated.messages; }
void EventView::fill(const WarningEvent& warning) { set_text(warning.text); }

void EventView::fill(const PromptEvent& prompt) {
  event_.tokens = prompt.tokens;
  event_.reused_tokens = prompt.reused;
  event_.seconds = prompt.seconds;
}

void EventView::fill(const TokenEvent& token) {
  probabilities_.assign(1, probability(token.chosen));
  for (const TokenProbability& other : token.best) probabilities_.push_back(probability(other));
  event_.probabilities = probabilities_.data();
  event_.probability_count = probabilities_.size();
}

void EventView::fill(const ThinkingDelta& thinking) { set_text(thinking.text); }
void EventView::fill(const TextDelta& text) { set_text(text.text); }

void EventView::fill(const ToolCallEvent& call) {
  event_.id = call.call.id.c_str();
  event_.name = call.call.name.c_str();
  text_ = call.call.arguments.is_null() ? "{}" : dump(call.call.arguments);
  set_text(text_);
}

void EventView::fill(const BadToolCall& call) {
  set_text(call.raw);
  event_.name = call.reason.c_str();
}

void EventView::fill(const UsageEvent& usage) {
  event_.stop_reason = stop_reason(usage.reason);
  event_.tokens = usage.reply_tokens;
  event_.thinking_tokens = usage.thinking_tokens;
  event_.prompt_tokens = usage.prompt_tokens;
  event_.reused_tokens = usage.reused_tokens;
  event_.prompt_seconds = usage.prompt_seconds;
  event_.seconds = usage.reply_seconds;
}

void EventView::fill(const Error& error) {
  event_.status = status_of(error.kind);
  text_ = error.text();
  set_text(text_);
}

}  // namespace lapidary
