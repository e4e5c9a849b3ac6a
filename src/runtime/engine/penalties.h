// Penalties on what was said before: logits of tokens that a reply (or the end of its prompt) already holds are
// lowered, before any filter of the sampler looks at them.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

namespace lapidary {

// Of a token that occurs n > 0 times among those looked at:
//   logit > 0 ? logit / repeat : logit * repeat     (Keskar et al., arXiv:1909.05858, section 4.1)
//   logit - n * frequency - presence                (OpenAI's API)
// in this order. Negative frequency and presence, and repeat below 1, favour repetition.
struct PenaltyOptions {
  double repeat = 1;     // > 0; 1: off
  double frequency = 0;  // 0: off
  double presence = 0;   // 0: off
  int32_t last_n = -1;   // so many of the last tokens are looked at; -1: all; 0: none
  bool prompt = false;   // of prompt and reply together; otherwise of the reply alone

  bool active() const { return last_n != 0 && (repeat != 1 || frequency != 0 || presence != 0); }
};

// The tokens looked at, and what they cost. The same tokens and logits give the same bits, however they were computed:
// it only sees what was said, in order.
class Penalties {
 public:
  explicit Penalties(const PenaltyOptions& options) : options_(options) {}

  // The next token that was read or written. Markup (turns, thoughts, calls) is not to be given: a reply has to be able
  // to end.
  void add(int32_t token);
  // The logits [vocabulary] with the penalties; `logits` itself if there are none. Valid until the next call.
  std::span<const float> apply(std::span<const float> logits);

 private:
  PenaltyOptions options_;
  std::unordered_map<int32_t, int64_t> counts_;  // of the tokens looked at
  std::deque<int32_t> window_;                   // those, oldest first; empty with last_n < 0
  std::vector<float> penalised_;
};

}  // namespace lapidary
