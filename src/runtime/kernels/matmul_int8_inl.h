// Products of quantised weights and quantised activations, as int8_contract.h defines them.
//
// A panel of rows is unpacked once per block and multiplied with a tile of activation rows: lane r of every vector
// belongs to row r of the panel, so that nothing is ever summed across lanes. All integers are exact; the floats of an
// element follow the contract's sequence; so neither panels nor tiles nor chunks show in the result.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

inline constexpr int tile_rows_max = 16;
// Blocks that are worked on at a time: a tile's part of them stays in the first-level cache.
inline constexpr int chunk_blocks = 64;
// Panels that are worked on together with many activations.
inline constexpr int panels_max = 8;

template <typename Format>
inline constexpr int effective_offset = Format::bits == 8 && wants_signed_bytes ? 0 : Format::offset;

// How many activation rows there are: one, a tile at most, or more.
enum class Amount { one, few, many };

// Some activation rows in one chunk of blocks, and what is derived from them.
struct Tile {
  int32_t rows;
  int64_t row_stride, block_stride;  // of `quantized`, bytes
  int64_t scale_stride;              // of `scales`, from row to row
  const int8_t* quantized;
  const float* scales;
  int32_t corrections[2][tile_rows_max][chunk_blocks];  // -offset * sum; [1] only with sub-scales
  float scaled_sums[tile_rows_max][chunk_blocks];       // only with minimums
};

// A tile of the `rows` activations from `m` on, for `count` blocks from `first` on, in place.
template <typename Format>
LAPIDARY_INLINE void prepare_tile(const ActivationRows& x, int32_t m, int32_t rows, int64_t first, int64_t count,
                                  Tile* tile) {
  const int64_t blocks = x.columns / 32;
  tile->rows = rows;
  tile->row_stride = x.columns;
  tile->block_stride = 32;
  tile->scale_stride = blocks;
  tile->quantized = x.quantized + m * x.columns + first * 32;
  tile->scales = x.scales + m * blocks + first;
  for (int32_t i = 0; i < rows; ++i) {
    const int64_t at = (m + i) * blocks + first;
    if constexpr (Format::has_sub_scales) {
      const int32_t* sums = x.sums_of_16 + 2 * at;
      for (int64_t b = 0; b < count; ++b) tile->corrections[0][i][b] = -Format::offset * sums[2 * b];
      for (int64_t b = 0; b < count; ++b) tile->corrections[1][i][b] = -Format::offset * sums[2 * b + 1];
    } else if constexpr (effective_offset<Format> != 0) {
      for (int64_t b = 0; b < count; ++b) tile->corrections[0][i][b] = -Format::offset * x.sums_of_32[at + b];
    }
    if constexpr (Format::has_minimum)
      for (int64_t b = 0; b < count; ++b)
        tile->scaled_sums[i][b] = x.scales[at + b] * static_cast<float>(x.sums_of_32[at + b]);
  }
}

// Room for a tile's activations side by side, block after block. Where they lie in memory, rows are often a multiple of
// 4096 bytes apart, and a first-level cache cannot hold many such rows at once.
struct Packed {
  alignas(64) int8_t quantized[chunk_blocks][tile_rows_max][32];
  float scales[tile_rows_max][chunk_blocks];
};

LAPIDARY_INLINE void pack(int64_t count, Packed* packed, Tile* tile) {
  for (int32_t i = 0; i < tile->rows; ++i) {
    const int8_t* row = tile->quantized + i * tile->row_stride;
    for (int64_t b = 0; b < count; ++b) __builtin_memcpy(packed->quantized[b][i], row + b * 32, 32);
    const float* scales = tile->scales + i * tile->scale_stride;
    for (int64_t b = 0; b < count; ++b) packed->scales[i][b] = scales[b];
  }
  tile->row_stride = 32;
  tile->block_stride = sizeof(packed->quantized[0]);
  tile->scale_stride = chunk_blocks;
  tile->quantized = packed->quantized[0][0];
  tile->scales = packed->scales[0];
}

// What is known of one block of a panel.
struct BlockFactors {
  Floats scale, minimum, sub_scales[2];
};

// One block of one activation row.
struct RowBlock {
  const int8_t* quantized;
  const float* scale;
  const int32_t* corrections[2];
  const float* scaled_sum;
};

// The contract's step for one block: a panel's codes with one row of activations.
template <typename Format>
LAPIDARY_INLINE Floats add_block(Floats sum, const Ints* codes, const BlockFactors& factors, const RowBlock& x) {
  Floats product;
  if constexpr (Format::has_sub_scales) {
    // Whole numbers below 2^24: exact also as floats, and cheaper to multiply.
    const Ints first = add_products<Format::bits, 4>(every(*x.corrections[0]), codes, x.quantized);
    const Ints second = add_products<Format::bits, 4>(every(*x.corrections[1]), codes + 4, x.quantized + 16);
    product = fused_floats(to_floats(second), factors.sub_scales[1], times(to_floats(first), factors.sub_scales[0]));
  } else {
    const Ints start = every(effective_offset<Format> != 0 ? *x.corrections[0] : 0);
    product = to_floats(add_products<Format::bits, 8>(start, codes, x.quantized));
  }
  sum = fused_floats(product, times(factors.scale, every_float(*x.scale)), sum);
  if constexpr (Format::has_minimum) sum = fused_minus(factors.minimum, every_float(*x.scaled_sum), sum);
  return sum;
}

// The same with all rows of a tile, or only its first.
template <typename Format, Amount amount>
LAPIDARY_INLINE void add_block_to_all(Floats* sums, const Ints* codes, const BlockFactors& factors, const Tile& tile,
                                      int64_t block) {
  // Copies: the compiler cannot know that the sums do not overwrite the tile.
  const int32_t rows = amount == Amount::one ? 1 : tile.rows;
  const int64_t row_stride = tile.row_stride, scale_stride = tile.scale_stride;
  RowBlock x = {.quantized = tile.quantized + block * tile.block_stride,
                .scale = tile.scales + block,
                .corrections = {tile.corrections[0][0] + block, tile.corrections[1][0] + block},
                .scaled_sum = tile.scaled_sums[0] + block};
  for (int32_t m = 0; m < rows; ++m) {
    sums[m] = add_block<Format>(sums[m], codes, factors, x);
    x.quantized += row_stride;
    x.scale += scale_stride;
    x.corrections[0] += chunk_blocks;
    x.corrections[1] += chunk_blocks;
    x.scaled_sum += chunk_blocks;
  }
}

// Into the second-level cache: memory takes longer than a whole panel, and the first level is too small for one.
LAPIDARY_INLINE void prefetch(const uint8_t* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

// Where the blocks of a group are.
struct Place {
  int number;           // of the group in its header
  int64_t block;        // its first block in the chunk
  const uint8_t* next;  // bytes to fetch meanwhile: those for block 0 of the header
};

template <typename Format, int part, Amount amount>
LAPIDARY_INLINE void multiply_parts(const typename Format::Header& header, const typename Format::Group& group,
                                    const Place& place, const Tile& tile, Floats* sums) {
  if constexpr (part < Format::group_blocks) {
    const int index = place.number * Format::group_blocks + part;
    // A little with every block: memory is kept busy, but never so much that what is needed now would have to wait.
    constexpr int64_t bytes = Format::block_bytes * panel_rows / Format::header_blocks;
    if constexpr (amount != Amount::many) prefetch(place.next + index * bytes, bytes);
    Ints codes[8];
    Format::template codes<part>(header, group, index, codes);
    BlockFactors factors;
    factors.scale = Format::scale(header, index);
    if constexpr (Format::has_minimum) factors.minimum = Format::minimum(header, index);
    if constexpr (Format::has_sub_scales)
      for (int half = 0; half < 2; ++half) factors.sub_scales[half] = Format::sub_scale(header, index, half);
    add_block_to_all<Format, amount>(sums, codes, factors, tile, place.block + part);
    multiply_parts<Format, part + 1, amount>(header, group, place, tile, sums);
  }
}

// Adds to sums[m] the products of a panel with row m of the tile over `count` blocks. `rows` are those of the panel
// where the chunk begins; `next`, if not null, is as many bytes as the panel has here, to be fetched meanwhile.
template <typename Format, Amount amount>
[[gnu::noinline]] void multiply_chunk(Rows rows, int64_t count, const uint8_t* next, const Tile& tile, Floats* sums) {
  Floats single = sums[0];
  for (int64_t b = 0; b < count; b += Format::header_blocks) {
    typename Format::Header header;
    Format::read_header(rows, &header);
    for (int number = 0; number < Format::header_blocks / Format::group_blocks; ++number) {
      typename Format::Group group;
      Format::read_group(rows, number, &group);
      multiply_parts<Format, 0, amount>(header, group, {number, b + number * Format::group_blocks, next}, tile,
                                        amount == Amount::one ? &single : sums);
    }
    advance(rows, Format::block_bytes);
    next += Format::block_bytes * panel_rows;
  }
  if constexpr (amount == Amount::one) sums[0] = single;
}

// Rows of a tensor that are multiplied side by side.
struct Panel {
  const uint8_t* data;
  int64_t row;      // the first that is wanted
  int lane, count;  // those wanted are in the lanes from `lane` on
};

// The panel for rows from `row` on, before `row_end`. One that would reach past the last row of the tensor starts
// earlier.
LAPIDARY_INLINE Panel panel_at(const TensorView& weights, int64_t row, int64_t row_end) {
  const int64_t start = row < weights.rows - panel_rows ? row : weights.rows - panel_rows;
  const int64_t count = row_end - row < panel_rows ? row_end - row : panel_rows;
  return {.data = reinterpret_cast<const uint8_t*>(weights.data) + start * weights.row_bytes,
          .row = row,
          .lane = static_cast<int>(row - start),
          .count = static_cast<int>(count)};
}

LAPIDARY_INLINE void store_sums(const Panel& panel, const Floats* sums, int32_t m, int32_t rows, float* y,
                                int64_t y_stride) {
  for (int32_t i = 0; i < rows; ++i) store_lanes(y + (m + i) * y_stride + panel.row, sums[i], panel.lane, panel.count);
}

// Few activations: the weights are what has to be moved. Panel after panel, so that memory is read in one stream.
template <typename Format>
void multiply_few(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                  int64_t y_stride) {
  const int64_t blocks = x.columns / 32, panel_bytes = panel_rows * weights.row_bytes;
  for (int64_t row = row_begin; row < row_end; row += panel_rows) {
    const Panel panel = panel_at(weights, row, row_end);
    // The last panel has nothing after it that this call would need.
    const uint8_t* after = row_end - row < 2 * panel_rows ? panel.data : panel.data + panel_bytes;
    Floats sums[tile_rows_max];
    for (int32_t m = 0; m < x.rows; ++m) sums[m] = every_float(0);
    Tile tile;
    for (int64_t first = 0; first < blocks; first += chunk_blocks) {
      const int64_t count = blocks - first < chunk_blocks ? blocks - first : chunk_blocks;
      const int64_t offset = first / Format::header_blocks * Format::block_bytes;
      const Rows rows = rows_at(panel.data + offset, weights.row_bytes);
      const uint8_t* next = after + offset * panel_rows;
      prepare_tile<Format>(x, 0, x.rows, first, count, &tile);
      if (x.rows == 1)
        multiply_chunk<Format, Amount::one>(rows, count, next, tile, sums);
      else
        multiply_chunk<Format, Amount::few>(rows, count, next, tile, sums);
    }
    store_sums(panel, sums, 0, x.rows, y, y_stride);
  }
}

// Many activations: arithmetic is what takes time. A chunk of a tile is packed once for some panels, whose weights stay
// in the second-level cache for all tiles.
template <typename Format>
void multiply_many(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                   int64_t y_stride) {
  const int64_t blocks = x.columns / 32;
  for (int64_t row = row_begin; row < row_end; row += panels_max * panel_rows) {
    Panel panels[panels_max];
    int panel_count = 0;
    for (int64_t r = row; r < row_end && panel_count < panels_max; r += panel_rows)
      panels[panel_count++] = panel_at(weights, r, row_end);
    for (int32_t m = 0; m < x.rows; m += tile_rows_max) {
      const int32_t tile_rows_here = x.rows - m < tile_rows_max ? x.rows - m : tile_rows_max;
      Floats sums[panels_max][tile_rows_max];
      for (int p = 0; p < panel_count; ++p)
        for (int32_t i = 0; i < tile_rows_here; ++i) sums[p][i] = every_float(0);
      Tile tile;
      Packed packed;
      for (int64_t first = 0; first < blocks; first += chunk_blocks) {
        const int64_t count = blocks - first < chunk_blocks ? blocks - first : chunk_blocks;
        const int64_t offset = first / Format::header_blocks * Format::block_bytes;
        prepare_tile<Format>(x, m, tile_rows_here, first, count, &tile);
        pack(count, &packed, &tile);
        for (int p = 0; p < panel_count; ++p)
          multiply_chunk<Format, Amount::many>(rows_at(panels[p].data + offset, weights.row_bytes), count,
                                               panels[p].data, tile, sums[p]);
      }
      for (int p = 0; p < panel_count; ++p) store_sums(panels[p], sums[p], m, tile_rows_here, y, y_stride);
    }
  }
}

template <typename Format>
void matmul_int8(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                 int64_t y_stride) {
  if (weights.rows < panel_rows) {  // less than one panel: no model has a matrix so small, speed does not matter
    for (int32_t m = 0; m < x.rows; ++m)
      for (int64_t row = row_begin; row < row_end; ++row)
        y[m * y_stride + row] = int8_reference_dot(weights, row, x, m);
  } else if (x.rows <= tile_rows_max) {
    multiply_few<Format>(weights, row_begin, row_end, x, y, y_stride);
  } else {
    multiply_many<Format>(weights, row_begin, row_end, x, y, y_stride);
  }
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
