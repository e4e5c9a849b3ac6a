#include "serve/collected.h"

#include <chrono>

#include "base/secret.h"

namespace lapidary {

void Collected::take(GenerateEvent& event, const std::string& call_id_prefix) {
  if (auto* token = std::get_if<TokenEvent>(&event)) {
    pending.push_back(std::move(*token));
  } else if (const auto* delta = std::get_if<TextDelta>(&event)) {
    text += delta->text;
    tokens.insert(tokens.end(), std::make_move_iterator(pending.begin()), std::make_move_iterator(pending.end()));
    pending.clear();
  } else if (const auto* thought = std::get_if<ThinkingDelta>(&event)) {
    thinking += thought->text;
    pending.clear();
  } else if (auto* call = std::get_if<ToolCallEvent>(&event)) {
    if (call->call.id.empty()) call->call.id = new_id(call_id_prefix);
    calls.push_back(call->call);
    pending.clear();
  } else if (const auto* bad = std::get_if<BadToolCall>(&event)) {
    text += bad->raw;  // nothing is executed, and nothing is lost
    pending.clear();
  } else if (const auto* truncated = std::get_if<TruncatedEvent>(&event)) {
    dropped_messages += truncated->messages;
  } else if (auto* end = std::get_if<UsageEvent>(&event)) {
    usage = std::move(*end);
  }
}

std::string new_id(const std::string& prefix) { return prefix + random_hex(12); }

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool was_cut(StopReason reason) {
  return reason == StopReason::length || reason == StopReason::context || reason == StopReason::interrupted;
}

}  // namespace lapidary
