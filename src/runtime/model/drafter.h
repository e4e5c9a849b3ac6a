// The drafter of the unified model (gemma4_unified_assistant, "multi-token prediction"): a few thin layers that have
// queries alone and look at the keys and values of the model itself. It guesses what comes next from the last token and
// the model's state before it. docs/gemma4.md has the parts; the numbers come from its files.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/products.h"
#include "model/weights.h"

namespace lapidary {

// Not thread-safe: belongs to the thread of the decoder it is for.
class Drafter {
 public:
  // All must outlive it; check_drafter_fits() has been passed.
  Drafter(const DrafterConfig& config, const DrafterWeights& weights, Decoder& model, const Kernels& kernels,
          ThreadPool& pool);

  // The token at position cache.length(), which has no keys yet, and the model's state [model_hidden] after its final
  // norm, at the position before it.
  void begin(const KvCache& cache, int32_t token, std::span<const float> state);

  // The likeliest token to come next; call again for the one after it. The position of the query stays that of the
  // first token, as in the official code. `gap`: how far its logit is above the second's.
  struct Guess {
    int32_t token = 0;
    float gap = 0;
  };
  Guess next();

  // Of the last guess, for tests: [vocabulary], [model_hidden], and its input [2 * model_hidden].
  std::span<const float> logits() const { return logits_; }
  std::span<const float> state() const { return std::span(input_).subspan(input_.size() / 2); }

 private:
  void layer(size_t index);
  void norm(const float* x, const std::vector<float>& weight, float* out) const;
  Guess likeliest();

  const DrafterConfig& config_;
  const DrafterWeights& weights_;
  Decoder& model_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  Products products_;
  const KvCache* cache_ = nullptr;
  int32_t token_ = 0;
  std::vector<float> input_;  // [2, model_hidden]: the token's embedding, the state
  std::vector<float> hidden_, normed_, projected_, query_, attended_, gate_, up_, logits_;
  struct Rotation {
    std::vector<float> cos, sin;
  };
  Rotation sliding_, full_;  // at the position of the round
};

}  // namespace lapidary
