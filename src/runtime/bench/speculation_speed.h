// How much faster speculation writes, where it is known how often its guesses are right: the tokens are prescribed, and
// the model computes everything else as it always does. Weights of the right shape will do.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/speculation.h"

namespace lapidary {

struct SpeculationSpeed {
  int64_t tokens = 0;
  double tokens_per_s = 0;
  double plain_tokens_per_s = 0;  // of a few tokens before and a few after, as the machine is then
  Speculation::Counts guesses;
  int64_t calls = 0;
  double speedup() const { return plain_tokens_per_s > 0 ? tokens_per_s / plain_tokens_per_s : 0; }
};

// Return false to stop (the call fails with ErrorKind::cancelled).
using GoOn = std::function<bool()>;

// An edit: the prompt is a text of `tokens` arbitrary tokens; what is written is that text again, with one token
// replaced, one left out or one put in, in turn, every 40 tokens.
Result<SpeculationSpeed> measure_edit(Engine& engine, int64_t tokens, const GoOn& go_on);

// The engine's drafter, each of whose guesses is right with the chance `right`, whatever the others were.
Result<SpeculationSpeed> measure_drafter(Engine& engine, int64_t tokens, double right, const GoOn& go_on);

}  // namespace lapidary
