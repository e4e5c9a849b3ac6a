#include "engine/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/decoder.h"

namespace lapidary {
namespace {

constexpr int64_t chunk_rows = 256;           // EngineOptions::chunk
constexpr uint64_t program_bytes = 24 << 20;  // code, libraries, heap that does not depend on the model

std::string gigabytes(uint64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); }

}  // namespace

MemoryPlan plan_memory(const ModelConfig& config, uint64_t file_bytes, KvType kv, int64_t context) {
  MemoryPlan plan;
  plan.context = context;
  plan.weights_bytes = file_bytes;
  // The longest step is a chunk of text, or the block of a picture at its default size.
  const int64_t rows = std::max<int64_t>(chunk_rows, config.vision ? config.vision->default_soft_tokens : 0);
  // The sequence itself, and the rings of the checkpoint that a session may keep (what else it holds is shared).
  const KvDemand demand = kv_demand(config, kv, rows);
  plan.kv_bytes = demand.at(context) + demand.checkpoint_bytes(context);
  const auto vocabulary = static_cast<uint64_t>(config.vocabulary);
  plan.working_bytes = program_bytes + Decoder::working_bytes(config, rows) + vocabulary * sizeof(float) * 2 +
                       vocabulary * 300;  // tokenizer tables: pieces, merges and their index
  return plan;
}

int64_t largest_context(const ModelConfig& config, uint64_t file_bytes, KvType kv, uint64_t available_bytes) {
  constexpr int64_t step = 256;
  int64_t low = 0, high = std::max<int64_t>(1, config.context_max / step);  // in steps: `low` fits (0 by convention)
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (plan_memory(config, file_bytes, kv, middle * step).total_bytes() <= available_bytes)
      low = middle;
    else
      high = middle - 1;
  }
  return std::min(low * step, config.context_max);
}

Result<MemoryPlan> check_memory(const ModelConfig& config, uint64_t file_bytes, KvType kv, int64_t context,
                                const MemoryState& memory) {
  const MemoryPlan plan = plan_memory(config, file_bytes, kv, context);
  if (plan.total_bytes() <= memory.available_bytes) return plan;
  const int64_t fits = largest_context(config, file_bytes, kv, memory.available_bytes);
  std::string message = fmt::format(
      "a context of {} tokens needs {} ({} weights, {} KV cache, {} working memory), but {} are available ({})",
      context, gigabytes(plan.total_bytes()), gigabytes(plan.weights_bytes), gigabytes(plan.kv_bytes),
      gigabytes(plan.working_bytes), gigabytes(memory.available_bytes), memory.limited_by);
  if (fits > 0) {
    message += fmt::format("; --context {} fits", fits);
  } else {
    // How small a file would have to be for a useful context of 4K.
    const uint64_t rest = plan_memory(config, 0, kv, std::min<int64_t>(4096, config.context_max)).total_bytes();
    message += memory.available_bytes > rest ? fmt::format("; no context fits: take a model file of at most {}",
                                                           gigabytes(memory.available_bytes - rest))
                                             : std::string("; no model of this shape fits: take a smaller one");
  }
  return fail(ErrorKind::out_of_memory, "memory", message + " (--force goes on)");
}

}  // namespace lapidary
