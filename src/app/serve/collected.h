// One reply, put together from its events, as every dialect needs it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "service/service.h"

namespace lapidary {

struct Collected {
  std::string text, thinking;
  std::vector<ToolCall> calls;     // with ids
  std::vector<TokenEvent> tokens;  // of the text, if log probabilities were asked for
  UsageEvent usage;
  int64_t dropped_messages = 0;

  void take(GenerateEvent& event, const std::string& call_id_prefix);

  // Tokens that have come but given no text yet; take() moves them to `tokens` when text comes, and drops those of
  // thoughts and calls.
  std::vector<TokenEvent> pending;
};

// "prefix" and 24 random characters.
std::string new_id(const std::string& prefix);

int64_t unix_seconds();

// The reply ended because there was no room for more.
bool was_cut(StopReason reason);

}  // namespace lapidary
