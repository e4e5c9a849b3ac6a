// Every operation of the forward pass, behind one table of function pointers per instruction set.
//
// The promise all kernels keep: an output element depends on its inputs alone. Not on how many rows are computed
// together, not on which part of a range a call covers, not on threads. Each element is accumulated in one fixed order.
// Speculation, the prefix cache and batching rest on this; tests/invariance checks it bit by bit.
//
// Two families of arithmetic:
//   ref    fp32 activations on dequantised weights, in plain C++. The definition of right.
//   int8   (avx2, avxvnni, avx512vnni): activations of a matrix product are quantised to 8 bits in blocks of 32 where
//   the
//          weights are quantised; everything else is fp32. The whole family follows one contract (int8_contract.h) and
//          gives the same bits on every CPU.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/tensor.h"

namespace lapidary {

// Rows whose quantised form lies together: the values of a block in all rows of a tile side by side.
inline constexpr int32_t activation_tile_rows = 32;

// Activations of `rows` tokens, [rows, columns], in the forms a matrix product may want. See kernels/activations.h.
struct ActivationRows {
  int32_t rows = 0;
  int64_t columns = 0;
  const float* values = nullptr;  // row m at values + m * columns
  // Quantised in blocks of 32 columns, where the table has a quantize_row and columns is a multiple of 32; else null.
  // Tiles of activation_tile_rows rows (the last may have fewer); in a tile block after block, in a block row after
  // row: see activation_block().
  const int8_t* quantized = nullptr;    // [tiles, blocks, rows of the tile, 32], in [-127, 127]
  const float* scales = nullptr;        // [tiles, blocks, rows of the tile]
  const int32_t* sums_of_32 = nullptr;  // [tiles, blocks, rows of the tile], sums of the quantised values
  const int32_t* sums_of_16 = nullptr;  // [tiles, blocks, rows of the tile, 2]
};

// How keys and values are stored. f16: keys not at all where they follow from the values; f16_keys: those too.
enum class KvType : uint8_t { f16, f16_keys, f32 };

// Positions that share a base angle where keys are computed from values: the pages of the KV cache.
inline constexpr int64_t kv_page_positions = 64;

// Keys and values of consecutive positions for one KV head: row i at key + i * head_dim elements (of KvType).
// A null key: see KeysFromValues. Such a span lies within one page.
struct KvSpan {
  const void* key = nullptr;
  const void* value = nullptr;
  int32_t count = 0;
  int64_t position = 0;  // of row 0
};

// Layers whose values are the normed key projection need no keys (gemma4.md 1.4): key = rotate(weight * value), of
// which only the first `pairs` pairs (i, i + head_dim / 2) turn. The angle of a position is that of its page plus that
// of its place in the page, so two small tables do for any context: the query is turned back by the page's angle, a key
// forward by the rest.
struct KeysFromValues {
  const float* weight = nullptr;  // [head_dim]
  int64_t pairs = 0;
  const float* pages = nullptr;   // [pages, 2, pairs]: cos and sin of page * kv_page_positions
  const float* places = nullptr;  // [kv_page_positions, 2, pairs]
};

// Attention of `heads` query heads that share one KV head, over the keys in `spans`: heads of one position, or of
// several that each see a range of the keys. A head's result depends on nothing but itself and the keys it sees, if all
// values are finite.
struct AttentionCall {
  const float* query = nullptr;  // [heads, head_dim], contiguous
  float* out = nullptr;          // [heads, head_dim], contiguous
  int32_t heads = 0;
  int32_t head_dim = 0;
  float scale = 1;  // multiplies the scores
  KvType type = KvType::f16;
  const KvSpan* spans = nullptr;  // in order of position; where they are cut must not change the result
  int32_t span_count = 0;
  int32_t keys = 0;         // sum of the spans' counts, > 0
  float* scores = nullptr;  // scratch, [heads, keys]
  // [heads]: head h sees the keys [begins[h], ends[h]), at least one. Null: every head sees all.
  const int32_t* begins = nullptr;
  const int32_t* ends = nullptr;
  const KeysFromValues* keys_from_values = nullptr;  // where the spans have no keys
  float* rows = nullptr;                             // scratch then, [heads + key_rows_together, head_dim]
};
// How many computed keys an attention kernel holds at a time.
inline constexpr int32_t key_rows_together = 8;

struct Kernels {
  std::string_view name;

  // y[m * y_stride + r] = dot(weights row r, activations row m) for r in [row_begin, row_end) and every m.
  // weights.columns == x.columns. Any row range, any number of rows (0 rows: nothing happens).
  void (*matmul)(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                 int64_t y_stride);
  // One row, or some blocks of one, in the quantised form: block b goes to place b * stride of each array (places of
  // 32, 1, 1 and 2 elements). Null in `ref`.
  void (*quantize_row)(const float* x, int64_t columns, int64_t stride, int8_t* quantized, float* scales,
                       int32_t* sums_of_32, int32_t* sums_of_16);

  // out = x / rms(x) * weight; weight null: 1. out may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* out);
  // out = (x - mean) / sqrt(variance + eps) * weight + bias. out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out);
  // out = gelu_tanh(gate) * up. out may be gate or up.
  void (*gelu_multiply)(const float* gate, const float* up, int64_t n, float* out);
  // Half-split rotation of one head in place: pairs (i, i + half) for i < half = head_dim / 2, by cos[i], sin[i].
  void (*rotate)(float* head, const float* cos, const float* sin, int64_t half);
  // x += y
  void (*add)(float* x, const float* y, int64_t n);
  // x *= factor
  void (*scale)(float* x, float factor, int64_t n);
  // x = cap * tanh(x / cap)
  void (*softcap)(float* x, float cap, int64_t n);
  void (*attend)(const AttentionCall& call);
  // For the KV cache.
  void (*to_half)(const float* x, int64_t n, uint16_t* out);
};

// The tables this build has and this CPU can run, best first; `ref` is last and always there.
std::vector<const Kernels*> available_kernels();

// The table to use: the one named by `forced` (normally LAPIDARY_KERNELS) or the best. A name that does not exist or
// that the CPU lacks is an error that lists those it has.
Result<const Kernels*> select_kernels(const std::optional<std::string>& forced);

}  // namespace lapidary
