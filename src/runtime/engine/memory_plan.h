// What a run will need, worked out before anything large is touched.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/system.h"
#include "model/config.h"
#include "model/kv_cache.h"

namespace lapidary {

struct MemoryPlan {
  int64_t context = 0;
  uint64_t weights_bytes = 0;  // the mapped files: page cache, but needed to run at speed
  uint64_t kv_bytes = 0;
  uint64_t working_bytes = 0;  // activations, logits, tables
  uint64_t total_bytes() const { return weights_bytes + kv_bytes + working_bytes; }
};

MemoryPlan plan_memory(const ModelConfig& config, uint64_t file_bytes, KvType kv, int64_t context);

// The largest context (a multiple of 256, at most the model's) whose plan fits into `available_bytes`; 0 if none does.
int64_t largest_context(const ModelConfig& config, uint64_t file_bytes, KvType kv, uint64_t available_bytes);

// An ErrorKind::out_of_memory that says what is needed, what is there, and which context would fit (or that none
// would).
Result<MemoryPlan> check_memory(const ModelConfig& config, uint64_t file_bytes, KvType kv, int64_t context,
                                const MemoryState& memory);

}  // namespace lapidary
