// Writing several tokens a pass, without loss: guesses are computed together with the token that is certain, and kept
// as far as they are what the model itself says.
//
// Every token is picked from the logits that the model gives after the tokens before it, by the same picker in the same
// order as in plain writing; a guess is kept if it equals the token that was picked. The logits have the same bits as
// in plain writing (kernels/ops.h). So greedy text is the same, and sampled text too: a seed gives the same tokens, and
// their distribution is the model's own. Guesses change only the time. A constraint needs no care either: it sees the
// picked tokens alone.
//
// Guesses come from what the text has said before: the longest end of it that stood in it already is continued as it
// was there (suffix_automaton.h). How many are worth a try, and whether any is, says draft_policy.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/draft_policy.h"
#include "engine/engine.h"
#include "engine/suffix_automaton.h"

namespace lapidary {

// Picks what comes next, given the logits after all that was taken so far: one token, and any that follow it without
// choice. Nothing: the end. `room`: as many more tokens fit the session.
using NextTokens = std::function<Result<std::vector<int32_t>>(std::span<const float> logits, int64_t room)>;

// What is known of a sequence and of this machine, for guessing. May serve one turn after the other: what it has learnt
// of costs and chances stays. Belongs to one engine, and to its thread.
class Speculation {
 public:
  explicit Speculation(const Engine& engine);

  // A sequence begins, or one turn more of it: all tokens it has now. `read`: how many of them were computed just now,
  // in `read_seconds`.
  void begin(std::span<const int32_t> tokens, int64_t read = 0, double read_seconds = 0);

  struct Counts {
    int64_t drafted = 0;   // guesses that were computed
    int64_t accepted = 0;  // of those, kept
  };
  const Counts& counts() const { return counts_; }  // since begin()
  const DraftPolicy& policy() const { return policy_; }

  // For tests: guesses of this many tokens wherever there is a match, whatever they cost.
  void always_draft(size_t tokens) { always_ = tokens; }

 private:
  friend Result<void> write_tokens(Session&, Speculation*, const NextTokens&);
  void push(int32_t token);
  // Guesses for what follows, to be computed with `certain` tokens; at most `most`.
  std::vector<int32_t> draft(size_t certain, int64_t most);
  void checked(size_t certain, size_t guesses, size_t right, double seconds);

  std::vector<int32_t> stop_tokens_;
  SuffixAutomaton seen_;
  Acceptance copies_;
  DraftPolicy policy_;
  Counts counts_;
  size_t always_ = 0;
};

// Writes: asks `next`, appends what it says, and so on to its end. Afterwards the session holds the tokens it said, but
// perhaps for those of the last call or two; what it holds is right. Without `speculation`: plainly.
Result<void> write_tokens(Session& session, Speculation* speculation, const NextTokens& next);

}  // namespace lapidary
