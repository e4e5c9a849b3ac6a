// Two nouns: an Engine computes with one loaded model; a Session is one sequence that grows.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/loaded_drafter.h"
#include "engine/loaded_model.h"
#include "engine/sampler.h"
#include "kernels/ops.h"
#include "media/audio.h"
#include "media/image.h"
#include "model/decoder.h"
#include "model/drafter.h"
#include "model/kv_cache.h"

namespace lapidary {

struct EngineOptions {
  int32_t threads = 0;                 // 0: one a physical core
  std::optional<std::string> kernels;  // LAPIDARY_KERNELS
  std::optional<KvType> kv;            // f16; f32 under `ref`
  int32_t chunk = 256;                 // rows of a prefill step; a longer image block makes its own, longer step
};

// Soft tokens in a prompt: a picture or a sound.
struct SoftBlock {
  int64_t first = 0;  // index of its first placeholder in ids
  int64_t count = 0;
  bool bidirectional = false;  // pictures, where the model says so: attend both ways on sliding layers, never split
  std::shared_ptr<const std::vector<float>> embeddings;  // [count, hidden]
  uint64_t content_hash = 0;  // two pictures with the same placeholders are still two prompts
};

// A prompt as the model gets it.
struct TokenizedPrompt {
  std::vector<int32_t> ids;       // placeholders repeated once a soft token
  std::vector<SoftBlock> blocks;  // in order, not overlapping
};

// How far a long step has come; return false to stop it (the call then fails with ErrorKind::cancelled).
using Progress = std::function<bool(int64_t done, int64_t total)>;

class Session;

// One thread owns an engine and its sessions.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const LoadedModel> model, const EngineOptions& options);

  const LoadedModel& model() const { return *model_; }
  const ModelConfig& config() const { return model_->config(); }
  const Kernels& kernels() const { return *kernels_; }
  KvType kv_type() const { return kv_type_; }
  int32_t threads() const { return pool_->threads(); }
  int32_t chunk() const { return options_.chunk; }
  KvPool& kv_pool() { return kv_pool_; }
  Decoder& decoder() { return *decoder_; }

  // Has `drafter`, which fits this engine's model, make guesses: see engine/speculation.h.
  void set_drafter(std::shared_ptr<const LoadedDrafter> drafter);
  Drafter* drafter() { return drafter_.get(); }  // null: none
  const LoadedDrafter* loaded_drafter() const { return loaded_drafter_.get(); }

  // Soft tokens. A model without the matching embedder gives ErrorKind::unsupported.
  Result<SoftBlock> embed(const ImagePatches& patches);
  Result<SoftBlock> embed(const Sound& sound);

 private:
  Engine() = default;
  std::shared_ptr<const LoadedModel> model_;
  EngineOptions options_;
  const Kernels* kernels_ = nullptr;
  KvType kv_type_ = KvType::f16;
  std::unique_ptr<ThreadPool> pool_;
  KvPool kv_pool_;
  std::unique_ptr<Decoder> decoder_;
  std::shared_ptr<const LoadedDrafter> loaded_drafter_;
  std::unique_ptr<Drafter> drafter_;
};

// Which rows of a prompt get logits.
enum class LogitRows : uint8_t { last, all };

class Session {
 public:
  // `context`: the most tokens it may hold.
  Session(Engine& engine, int64_t context);

  // Makes the session hold exactly `prompt`: keeps the longest usable common beginning, computes the rest in chunks.
  // Afterwards logits() are those of the last token.
  // Errors: ErrorKind::limit if the prompt does not fit the context; cancelled. The session stays usable.
  Result<void> set_prompt(const TokenizedPrompt& prompt, const Progress& progress = {});

  // Adds one token and computes the logits after it.
  Result<void> append(int32_t token);
  // The same for several at once, with the logits after each of the last `logit_rows` (at least 1, at most all).
  Result<void> append(std::span<const int32_t> tokens, int32_t logit_rows = 1);
  // Forgets the last `count` tokens of the last append: fewer than its logit rows. Cache and logits are then, to the
  // last bit, as if only the others had been appended.
  void take_back(int64_t count);

  // [hidden]: the state after the last token and the final norm, from which the head makes its logits.
  std::span<const float> state() const {
    const auto hidden = static_cast<size_t>(engine_->config().hidden);
    return std::span(states_).subspan(static_cast<size_t>(logit_rows_ - 1) * hidden, hidden);
  }
  const KvCache& cache() const { return cache_; }

  // After set_prompt or append: [vocabulary], softcapped, nothing suppressed: those after the last token. Valid until
  // the next call.
  std::span<const float> logits() const { return logits(logit_rows_ - 1); }
  // Those of row `row` of the last append's `logit_rows`.
  std::span<const float> logits(int32_t row) const {
    const auto vocabulary = static_cast<size_t>(engine_->config().vocabulary);
    return std::span(logits_).subspan(static_cast<size_t>(row) * vocabulary, vocabulary);
  }
  int64_t length() const { return cache_.length(); }
  int64_t context() const { return context_; }
  int64_t reused() const { return reused_; }  // tokens of the last prompt that were already there

  // Remembers the state at `length` tokens into the next set_prompt, so that a later prompt that begins with the same
  // tokens can return to it, though sliding layers forget. At most one is kept.
  void checkpoint_at(int64_t length) { checkpoint_wanted_ = length; }

  // Runs `prompt` from an empty cache and hands out the logits of every chunk's rows (`logits`, perplexity).
  // visit(first_row, rows, logits [rows, vocabulary]) is called in order.
  using Visit = std::function<Result<void>(int64_t first, int64_t rows, const float* logits)>;
  Result<void> evaluate(const TokenizedPrompt& prompt, int64_t first_logits, const Visit& visit,
                        const HiddenObserver* observer = nullptr, const Progress& progress = {});

 private:
  struct Held {  // what is in the cache: ids and, per soft token, its block's hash
    std::vector<int32_t> ids;
    std::vector<uint64_t> hashes;
  };
  Result<void> step(const TokenizedPrompt& prompt, int64_t first, int64_t count, std::span<const int32_t> logit_rows,
                    float* logits, float* states, const HiddenObserver* observer);
  int64_t next_chunk(const TokenizedPrompt& prompt, int64_t first) const;
  void reserve_logits(int32_t rows);

  Engine* engine_;
  int64_t context_;
  KvCache cache_;
  Held held_;
  std::optional<KvCache> checkpoint_;
  Held checkpoint_held_;
  int64_t checkpoint_wanted_ = -1;
  int64_t reused_ = 0;
  std::vector<float> logits_;  // [logit_rows_, vocabulary] and what longer steps needed
  std::vector<float> states_;  // [logit_rows_, hidden], likewise
  int32_t logit_rows_ = 1;
};

}  // namespace lapidary
