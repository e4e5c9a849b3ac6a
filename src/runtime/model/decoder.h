// The forward pass: tokens and soft tokens in, logits out.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/ops.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/products.h"
#include "model/weights.h"

namespace lapidary {

// One position of a sequence in a batch.
struct BatchRow {
  int32_t token = 0;
  const float* soft = nullptr;  // [hidden], inserted unscaled instead of the token's embedding
  // Sliding layers: the query sees keys below this position, besides those up to its own. Equal to its own position + 1
  // but in an image block, where it is the block's end. The whole block must be in one segment.
  int64_t visible_end = 0;
};

// Consecutive positions of one sequence, from cache->length() on.
struct BatchSegment {
  KvCache* cache = nullptr;
  std::span<const BatchRow> rows;
};

// Called with the state after the embedding (index 0), each layer (1 …) and the final norm (layers + 1): [rows,
// hidden].
using HiddenObserver = std::function<void(int32_t index, const float* hidden, int32_t rows)>;

// Called before a product with what the weights, one of the model's own matrices, are multiplied with: [rows,
// weights.columns].
using ProductObserver = std::function<void(const TensorView& weights, const float* x, int32_t rows)>;

// A pass that may be left between two layers and taken up again later, with the same segments and rows. Other passes
// may run in between, but not on these caches; forks of them may be taken.
struct PassState {
  int32_t next_layer = 0;     // 0: not begun
  std::vector<float> hidden;  // [rows, hidden]: of a pass that was left
  bool left() const { return next_layer > 0; }
};

struct ForwardRequest {
  std::span<const BatchSegment> segments;
  std::span<const int32_t> logit_rows;  // indices into all rows of the batch, ascending
  float* logits = nullptr;              // [logit_rows.size(), vocabulary]
  const HiddenObserver* observer = nullptr;
  const std::atomic<bool>* cancelled =
      nullptr;  // looked at between layers; a cancelled pass leaves the caches as they were
  // With both: asked between two layers whether to leave the pass; forward() then fails with ErrorKind::cancelled, and
  // the next call with this state goes on where it stopped. At least one layer is computed in each call.
  PassState* state = nullptr;
  const std::function<bool()>* leave = nullptr;
  float* states =
      nullptr;  // [logit_rows.size(), hidden]: after the final norm, what the head multiplies. null: not wanted
};

// Not thread-safe: one thread owns it. Keeps its working memory between calls.
class Decoder {
 public:
  // All references must outlive the decoder.
  Decoder(const ModelConfig& config, const ModelWeights& weights, const Kernels& kernels, ThreadPool& pool);

  // Runs one batch through all layers and commits it to the caches. A row's result depends on its own sequence only,
  // and not on how it was cut into calls: see ops.h.
  Result<void> forward(const ForwardRequest& request);

  const ModelConfig& config() const { return config_; }

  // For a drafter. out [hidden]: a token's embedding, as the first layer gets it.
  void embed_token(int32_t token, float* out) const;
  // Attention of one position's query [query_heads, head_dim], normed and rotated, over what `cache` holds of a layer
  // from position `first` on.
  void attend_cached(const KvCache& cache, int32_t layer, int32_t query_heads, int64_t first, const float* query,
                     float* out);

  // Every product of the passes to come is shown to `observer`; an empty one ends that.
  void observe_products(ProductObserver observer) { product_observer_ = std::move(observer); }

  // What forward() keeps allocated for `rows` rows of which `logit_rows` get logits (which the caller holds).
  static uint64_t working_bytes(const ModelConfig& config, int64_t rows);

 private:
  using Product = Products::Product;
  struct Place {  // where a row of the batch stands
    int32_t segment;
    int64_t position, visible_end;
  };
  struct Rows {  // of the batch, of one segment
    int32_t first, count;
  };
  struct Heads {  // of one KV head
    int32_t kv_head, first, count;
  };
  struct KeyRange {  // of positions
    int64_t first, end;
  };
  struct Rotation {  // [rows, half]
    int64_t half = 0;
    std::vector<float> cos, sin;
  };
  void embed(const ForwardRequest& request);
  void rotations();
  void key_rotations(int64_t last);
  void attention(const ForwardRequest& request, int32_t layer);
  void attend(const ForwardRequest& request, int32_t layer);
  KeyRange keys_seen(const LayerConfig& shape, const Place& place) const;
  void attend_block(const ForwardRequest& request, int32_t layer, const Rows& block, const Heads& heads);
  void attend_keys(AttentionCall& call, const KvCache& cache, int32_t layer) const;
  void feed_forward(int32_t layer);
  void write_logits(const ForwardRequest& request);
  void norm_rows(const std::vector<float>& weight);
  void add_normed(const std::vector<float>& weight, float factor);
  void multiply(const float* x, int64_t columns, std::initializer_list<Product> products);
  void multiply_rows(const float* x, int32_t rows, int64_t columns, std::initializer_list<Product> products);
  void observe(const ForwardRequest& request, int32_t index, const float* values) const;
  void grow(int32_t rows);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  Products products_;
  ProductObserver product_observer_;

  std::vector<Place> places_;
  std::vector<Rows> blocks_;  // rows that attend together
  int32_t rows_ = 0;
  std::vector<float> hidden_, normed_, projected_;     // [rows, hidden]
  std::vector<float> query_, key_, value_, attended_;  // [rows, heads * head_dim]
  std::vector<float> gate_, up_;                       // [rows, feed_forward]
  Rotation rotation_sliding_, rotation_full_;
  // Angles of the keys that full layers compute from values: see KeysFromValues.
  int64_t key_pairs_ = 0;
  std::vector<float> key_pages_, key_places_;
};

}  // namespace lapidary
