// Keys and values of one sequence, in reference-counted pages.
//
// This is the one interface through which the forward pass reaches K and V. What a page holds (K and V, or V alone
// where K follows from it), who shares it, and when it may be dropped is decided in kv_cache.cc alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace lapidary {

// Pages hold kv_page_positions positions and begin at multiples of that, whatever the chunks were, so results cannot
// depend on chunking.

// Hands out pages and takes them back for reuse. Must outlive the caches. Used by the engine's thread only.
class KvPool {
 public:
  KvPool() = default;
  ~KvPool();
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;
  uint64_t bytes_in_use() const { return bytes_in_use_; }
  uint64_t bytes_peak() const { return bytes_peak_; }

 private:
  friend class KvCache;
  friend struct KvPage;
  struct KvPage* take(uint64_t bytes);
  void give_back(KvPage* page);
  std::vector<KvPage*> free_;
  uint64_t bytes_in_use_ = 0, bytes_peak_ = 0;
};

// What the KV cache of one sequence takes, for planning.
struct KvDemand {
  uint64_t full_page_bytes = 0;     // one page of every full layer: grows with the context
  uint64_t sliding_page_bytes = 0;  // one page of every sliding layer
  int64_t ring_pages = 0;           // pages a sliding layer holds at most: window + the longest chunk
  int64_t window_pages = 0;         // of those, what a fork needs to go on from
  uint64_t at(int64_t context) const;
  // What a fork keeps alive at most once the sequence has gone on: its rings and the page it ended in.
  uint64_t checkpoint_bytes(int64_t context) const;
};
KvDemand kv_demand(const ModelConfig& config, KvType type, int64_t chunk_max);

class KvCache {
 public:
  KvCache(const ModelConfig& config, KvPool& pool, KvType type);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  KvType type() const { return type_; }
  // Positions stored so far: the next token goes to this position.
  int64_t length() const { return length_; }

  // Makes room for positions [length, length + count), owned by this cache alone, and drops what no later query can
  // see. Call once before a chunk is written; commit(count) after the chunk's forward pass.
  Result<void> reserve(int64_t count);
  void commit(int64_t count) { length_ += count; }

  // Whether this layer's keys are not stored: they follow from the values (ops.h, KeysFromValues).
  bool values_alone(int32_t layer) const { return layers_[static_cast<size_t>(layer)].values_alone; }

  // Stores one head's key and value, float [head_dim]; the key is not looked at where values are stored alone. The
  // position must be reserved. Different heads and positions may be written at the same time.
  void write(int32_t layer, int32_t kv_head, int64_t position, const float* key, const float* value,
             const Kernels& kernels);

  // The rows of positions [first, end), cut at page borders. end <= length + what is reserved.
  void spans(int32_t layer, int32_t kv_head, int64_t first, int64_t end, std::vector<KvSpan>& out) const;

  // Forgets positions from `length` on. False, and nothing changes, if a sliding layer has already dropped positions
  // that the window before `length` needs.
  bool truncate(int64_t length);

  // A second sequence that begins like this one. Pages are shared until one of the two writes into them.
  KvCache fork() const;
  void clear();

 private:
  struct Layer {
    int32_t kv_heads, head_dim;
    bool values_alone;
    int64_t window;  // 0: all positions
    uint64_t element_bytes, page_bytes;
    uint64_t head_bytes;     // K (or V) rows of one head in one page
    int64_t first_page = 0;  // of the pages held
    std::vector<KvPage*> pages;
  };
  KvCache(KvPool& pool, KvType type, const std::vector<Layer>& layers, int64_t length);  // shares the pages
  std::byte* row(const Layer& layer, int32_t kv_head, int64_t position, bool value) const;
  void release_all();

  KvPool* pool_;
  KvType type_;
  int64_t length_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace lapidary
