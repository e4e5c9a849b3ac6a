// How well a model foretells a text, alone or beside another one.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "cli/console.h"
#include "engine/engine.h"

namespace lapidary {

struct TextScore {
  int64_t tokens = 0, scored = 0;   // every token but the first is scored
  double nll = 0, nll_against = 0;  // sums over the scored tokens, in nats
  double divergence = 0;            // sum of KL(the first model || the other)
  int64_t agreed = 0;               // how often the likeliest token is the same
  double seconds = 0;
};

// Shows progress on the console; stops with ErrorKind::cancelled when the user interrupts. `other`: null, or a model of
// the same vocabulary. Both need room for `context` tokens.
Result<TextScore> score_text(Engine& engine, const TokenizedPrompt& prompt, int64_t context, Engine* other,
                             Console& console);

// An error that names `b`, if its tokens are not those of `a`.
Result<void> check_same_vocabulary(const LoadedModel& a, const LoadedModel& b);

}  // namespace lapidary
