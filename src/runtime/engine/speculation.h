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
// was there (suffix_automaton.h). Or from a drafter, if the engine has one and it promises more (model/drafter.h). How
// many are worth a try, and whether any is, says draft_policy.h.
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
  explicit Speculation(Engine& engine);

  // A sequence begins, or one turn more of it: all tokens it has now. `read`: how many of them were computed just now,
  // in `read_seconds`.
  void begin(std::span<const int32_t> tokens, int64_t read = 0, double read_seconds = 0);

  struct Counts {
    int64_t drafted = 0;   // guesses that were computed
    int64_t accepted = 0;  // of those, kept
  };
  const Counts& counts() const { return counts_; }  // since begin()
  // The guesses that are being judged, while write_tokens() asks what comes next.
  std::span<const int32_t> guesses() const { return guesses_; }

  // For tests: guesses of this many tokens wherever there is a match or a drafter, whatever they cost.
  void always_draft(size_t tokens) { always_ = tokens; }

 private:
  friend Result<void> write_tokens(Session&, Speculation*, const NextTokens&);
  void push(int32_t token);
  // Guesses for what follows `taken`, which are not in the session yet; together they fit it.
  void draft(const Session& session, std::span<const int32_t> taken);
  std::vector<int32_t> copy(size_t most, std::vector<double>& right) const;
  std::vector<int32_t> ask_drafter(const Session& session, int32_t taken, size_t most);
  bool is_stop(int32_t token) const;
  void checked(size_t certain, size_t guesses, size_t right, double seconds);

  Engine& engine_;
  SuffixAutomaton seen_;
  Acceptance copies_;
  // Of the drafter: all its guesses, by how far the first is above the second, and the time for one.
  Acceptance drafter_, drafter_gaps_;
  double guess_seconds_ = 0;
  struct Asked {  // of the drafter, for the call to come
    std::vector<size_t> grades;
    int32_t first = -1;
    double seconds = 0;
  } asked_;
  DraftPolicy policy_;
  std::vector<int32_t> guesses_;
  Counts counts_;
  size_t always_ = 0;
};

// Writes: asks `next`, appends what it says, and so on to its end. Afterwards the session holds the tokens it said, but
// perhaps for those of the last call or two; what it holds is right. Without `speculation`: plainly.
Result<void> write_tokens(Session& session, Speculation* speculation, const NextTokens& next);

}  // namespace lapidary
