// Logits -> a token. Filters in the order of the reference: suppress, temperature, top-k, top-p, min-p.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/penalties.h"

namespace lapidary {

struct SamplerOptions {
  bool greedy = false;
  double temperature = 1.0;  // 0: greedy
  int32_t top_k = 0;         // 0: off. All that tie with the k-th stay
  double top_p = 1.0;
  double min_p = 0.0;
  uint64_t seed = 0;
  std::vector<int32_t> suppress;
  PenaltyOptions penalties;  // for who knows what was said (ReplyGeneration); the sampler itself does not
};

struct Candidate {
  int32_t token = 0;
  double probability = 0;
};

// What is left after the filters, most probable first (ties: lower id first), with probabilities that sum to 1. Logits
// are those after the softcap. `allowed`: one bit a token, 64 a word; only these count; empty: all do.
std::vector<Candidate> filter(std::span<const float> logits, const SamplerOptions& options,
                              std::span<const uint64_t> allowed = {});

// The same options, seed and logits always give the same tokens.
class Sampler {
 public:
  explicit Sampler(SamplerOptions options);
  // -1: nothing is left, because no logit is a number or because nothing is allowed.
  int32_t next(std::span<const float> logits, std::span<const uint64_t> allowed = {});

 private:
  double uniform();  // in [0, 1)
  SamplerOptions options_;
  uint64_t state_;
};

}  // namespace lapidary
