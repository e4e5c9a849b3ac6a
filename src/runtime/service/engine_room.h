// A loaded model at work: reads prompts and writes tokens for several sequences. What runs next is not decided here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "service/disk_cache.h"
#include "service/prefix_cache.h"
#include "service/sequence.h"

namespace lapidary {

// Seconds that a step of so many rows takes, as measured: a running mean for each number of rows.
class StepCosts {
 public:
  void measured(size_t rows, double seconds);
  // 0: not known yet.
  double of(size_t rows) const { return rows < seconds_.size() ? seconds_[rows] : 0; }

 private:
  std::vector<double> seconds_;
};

// The engine's thread only.
class EngineRoom {
 public:
  static Result<std::unique_ptr<EngineRoom>> create(std::shared_ptr<const LoadedModel> model,
                                                    const EngineOptions& options, int64_t context,
                                                    uint64_t prefix_cache_bytes);
  // From now on lasting states are saved while there is nothing else to do, and found again.
  Result<void> use_disk(const std::string& folder, uint64_t bytes_max);

  Engine& engine() { return *engine_; }
  const Tokenizer& tokenizer() const { return engine_->model().tokenizer(); }
  PrefixCache& prefixes() { return prefixes_; }
  const StepCosts& costs() const { return costs_; }
  int64_t context() const { return context_; }

  // The sequence of a job whose prompt was read. Nothing is computed.
  std::unique_ptr<Sequence> sequence(std::shared_ptr<Job> job);

  // Before the first read(): finds the beginning that is known already; `running`: where else it may be found.
  void begin(Sequence& sequence, std::span<const PrefixCache::Running> running);

  // Reads on in the prompt: one chunk, or as much of it as `leave` allows (asked between layers; a chunk that was left
  // goes on in the next call). True: the whole prompt has been read, and logits(0) are those of its last token.
  Result<bool> read(Sequence& sequence, const std::function<bool()>& leave);

  // Reads the next tokens of each; logits(i) are those behind the last of sequences[i]. On an error no sequence has
  // changed.
  Result<void> step(std::span<Sequence* const> sequences);

  std::span<const float> logits(size_t row) const {
    const auto vocabulary = static_cast<size_t>(engine_->config().vocabulary);
    return {logits_.data() + row * vocabulary, vocabulary};
  }

  // Keeps what the sequence has computed, and leaves it empty.
  void keep(Sequence& sequence);

  // While there is nothing to compute: saves the next state. False: all are saved.
  bool save_next();
  const DiskCache* disk() const { return disk_.get(); }

 private:
  EngineRoom(int64_t context, uint64_t prefix_cache_bytes) : context_(context), prefixes_(prefix_cache_bytes) {}
  Result<void> next_chunk(Sequence& sequence);
  // Once more with a smaller prefix cache if there was no memory for pages.
  Result<void> forward(const ForwardRequest& request);

  std::unique_ptr<Engine> engine_;  // outlives the caches
  int64_t context_;
  PrefixCache prefixes_;
  std::unique_ptr<DiskCache> disk_;
  StepCosts costs_;
  std::vector<float> logits_;
};

}  // namespace lapidary
