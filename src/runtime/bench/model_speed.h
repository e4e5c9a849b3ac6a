// How fast an engine runs its model: reading a prompt, writing tokens, and checking several tokens in one call, each
// from a cache that is already filled up to some depth.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bench/spread.h"
#include "engine/engine.h"

namespace lapidary {

struct SpeedOptions {
  int64_t prefill_tokens = 512;  // 0: not measured
  int64_t decode_tokens = 64;    // 0: not measured
  std::vector<int64_t> depths = {0, 2048};
  std::vector<int32_t> verify_rows;  // empty: not measured
  int64_t verify_depth = 512;
  int32_t reps = 3;
};

// Up to here a cache is filled by computing a prompt of arbitrary tokens; above, with random keys and values, as speed
// does not depend on what they are.
inline constexpr int64_t computed_depth_max = 4096;

struct SpeedAt {
  int64_t tokens = 0, depth = 0;
  Spread tokens_per_s;
  double cpu_s_per_token = 0;  // of all threads, median
};

struct VerifySpeed {
  int32_t rows = 0;  // new tokens in one call, logits for each
  Spread ms;
};

struct ModelSpeed {
  std::vector<SpeedAt> prefill, decode;  // by depth
  std::vector<VerifySpeed> verify;
  // Of the logits after the last token at the smallest depth: equal wherever the same tokens give the same bits.
  uint64_t logits_hash = 0;
};

// Which step begins; return false to stop (the call fails with ErrorKind::cancelled).
using SpeedProgress = std::function<bool(std::string_view step)>;

// The engine's owner calls this; nothing else may use the engine meanwhile. One untimed step goes first, to touch every
// weight. Errors: what the forward pass reports; refused if two repetitions give different logits.
Result<ModelSpeed> measure_speed(Engine& engine, const SpeedOptions& options, const SpeedProgress& progress);

// The most tokens that measure_speed holds in a cache.
int64_t deepest(const SpeedOptions& options);

// What one token takes. Decode reads every matrix once (a tied embedding is the head); prefill multiplies with all but
// the head, two operations a weight; attention is not counted.
struct TokenWork {
  uint64_t decode_bytes = 0;
  double prefill_operations = 0;
};
TokenWork token_work(const ModelWeights& weights);

}  // namespace lapidary
