// Products of quantised weights and quantised activations, as int8_contract.h defines them.
//
// A panel of rows is unpacked once per block and multiplied with a tile of activation rows: lane r of every vector
// belongs to row r of the panel, so that nothing is ever summed across lanes. All integers are exact; the floats of an
// element follow the contract's sequence; so neither panels nor tiles nor chunks show in the result.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

inline constexpr int tile_rows_max = 32;
// Blocks that are worked on at a time: a tile's part of them stays in the first-level cache.
inline constexpr int chunk_blocks = 32;
// Panels that are worked on together with many activations.
inline constexpr int panels_max = 8;

template <typename Format>
inline constexpr int effective_offset = Format::bits == 8 && wants_signed_bytes ? 0 : Format::offset;

// Panels that are multiplied at once with two rows or more. Where a block has factors of its own, a second panel costs
// more registers than it saves loads.
template <typename Format>
inline constexpr int panels_together = Format::has_sub_scales || Format::has_minimum ? 1 : panels_at_once;

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

// One block of each panel of a group.
template <int panels>
struct GroupBlock {
  Ints codes[panels][8];
  BlockFactors factors[panels];
};

// Where the sums of whole numbers begin: for blocks with sub-scales one for each half, else only [0] is used.
template <typename Format, int panels>
LAPIDARY_INLINE void begin_products(const RowBlock& x, Ints (*products)[panels]) {
  constexpr bool corrected = Format::has_sub_scales || effective_offset<Format> != 0;
  for (int p = 0; p < panels; ++p) {
    products[0][p] = every(corrected ? *x.corrections[0] : 0);
    if constexpr (Format::has_sub_scales) products[1][p] = every(*x.corrections[1]);
  }
}

// The contract's step for one block, from its whole numbers on. sums[p * tile_rows_max] is panel p's.
template <typename Format, int panels>
LAPIDARY_INLINE void add_products_to_sums(const Ints (*products)[panels], const GroupBlock<panels>& block,
                                          const RowBlock& x, Floats* sums) {
  for (int p = 0; p < panels; ++p) {
    const BlockFactors& factors = block.factors[p];
    Floats product = to_floats(products[0][p]);
    // Whole numbers below 2^24: exact also as floats, and cheaper to multiply.
    if constexpr (Format::has_sub_scales)
      product = fused_floats(to_floats(products[1][p]), factors.sub_scales[1], times(product, factors.sub_scales[0]));
    Floats sum = fused_floats(product, times(factors.scale, every_float(*x.scale)), sums[p * tile_rows_max]);
    if constexpr (Format::has_minimum) sum = fused_minus(factors.minimum, every_float(*x.scaled_sum), sum);
    sums[p * tile_rows_max] = sum;
  }
}

// One block of the panels with one row of activations.
template <typename Format, int panels>
LAPIDARY_INLINE void add_block(Floats* sums, const GroupBlock<panels>& block, const RowBlock& x) {
  Ints products[2][panels];
  begin_products<Format>(x, products);
  if constexpr (Format::has_sub_scales) {
    add_products<Format::bits, 4, panels>(products[0], block.codes, 0, x.quantized);
    add_products<Format::bits, 4, panels>(products[1], block.codes, 4, x.quantized + 16);
  } else {
    add_products<Format::bits, 8, panels>(products[0], block.codes, 0, x.quantized);
  }
  add_products_to_sums<Format>(products, block, x, sums);
}

#if defined(LAPIDARY_MATRIX_PRODUCTS)
// The same with two rows of activations, whose sums are side by side.
template <typename Format, int panels>
LAPIDARY_INLINE void add_block_to_two(Floats* sums, const GroupBlock<panels>& block, const RowBlock& x,
                                      const RowBlock& y) {
  Ints of_x[2][panels], of_y[2][panels];
  begin_products<Format>(x, of_x);
  begin_products<Format>(y, of_y);
  if constexpr (Format::has_sub_scales) {
    add_products_of_two<4, panels>(of_x[0], of_y[0], block.codes, 0, x.quantized, y.quantized);
    add_products_of_two<4, panels>(of_x[1], of_y[1], block.codes, 4, x.quantized + 16, y.quantized + 16);
  } else {
    add_products_of_two<8, panels>(of_x[0], of_y[0], block.codes, 0, x.quantized, y.quantized);
  }
  add_products_to_sums<Format>(of_x, block, x, sums);
  add_products_to_sums<Format>(of_y, block, y, sums + 1);
}
#endif

// The same with all rows of a tile, or only its first.
template <typename Format, Amount amount, int panels>
LAPIDARY_INLINE void add_block_to_all(Floats* sums, const GroupBlock<panels>& group, const Tile& tile, int64_t block) {
  // Copies: the compiler cannot know that the sums do not overwrite the tile.
  const int32_t rows = amount == Amount::one ? 1 : tile.rows;
  const int64_t row_stride = tile.row_stride, scale_stride = tile.scale_stride;
  RowBlock x = {.quantized = tile.quantized + block * tile.block_stride,
                .scale = tile.scales + block,
                .corrections = {tile.corrections[0][0] + block, tile.corrections[1][0] + block},
                .scaled_sum = tile.scaled_sums[0] + block};
  const auto advance_row = [row_stride, scale_stride](RowBlock& row) {
    row.quantized += row_stride;
    row.scale += scale_stride;
    row.corrections[0] += chunk_blocks;
    row.corrections[1] += chunk_blocks;
    row.scaled_sum += chunk_blocks;
  };
  int32_t m = 0;
#if defined(LAPIDARY_MATRIX_PRODUCTS)
  for (; amount != Amount::one && m + 2 <= rows; m += 2) {
    RowBlock y = x;
    advance_row(y);
    add_block_to_two<Format>(sums + m, group, x, y);
    x = y;
    advance_row(x);
  }
#endif
  for (; m < rows; ++m) {
    add_block<Format>(sums + m, group, x);
    advance_row(x);
  }
}

// Into the second-level cache: memory takes longer than a whole panel, and the first level is too small for one.
LAPIDARY_INLINE void prefetch(const uint8_t* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
}

// Where the blocks of a group are.
struct Place {
  int number;           // of the group in its header
  int64_t block;        // its first block in the chunk
  const uint8_t* next;  // bytes to fetch meanwhile: those for block 0 of the header
};

template <typename Format, int part, Amount amount, int panels>
LAPIDARY_INLINE void multiply_parts(const typename Format::Header* headers, const typename Format::Group* groups,
                                    const Place& place, const Tile& tile, Floats* sums) {
  if constexpr (part < Format::group_blocks) {
    const int index = place.number * Format::group_blocks + part;
    // A little with every block: memory is kept busy, but never so much that what is needed now would have to wait.
    constexpr int64_t bytes = Format::block_bytes * panel_rows * panels / Format::header_blocks;
    if constexpr (amount != Amount::many) prefetch(place.next + index * bytes, bytes);
    GroupBlock<panels> block;
    for (int p = 0; p < panels; ++p) {
      const typename Format::Header& header = headers[p];
      Format::template codes<part>(header, groups[p], index, block.codes[p]);
      BlockFactors& factors = block.factors[p];
      factors.scale = Format::scale(header, index);
      if constexpr (Format::has_minimum) factors.minimum = Format::minimum(header, index);
      if constexpr (Format::has_sub_scales)
        for (int half = 0; half < 2; ++half) factors.sub_scales[half] = Format::sub_scale(header, index, half);
    }
    add_block_to_all<Format, amount>(sums, block, tile, place.block + part);
    multiply_parts<Format, part + 1, amount, panels>(headers, groups, place, tile, sums);
  }
}

// Adds to sums[p * tile_rows_max + m] the products of panel p with row m of the tile over `count` blocks. `rows` are
// those of the panels where the chunk begins; `next` is as many bytes as the panels have here, to be fetched meanwhile.
template <typename Format, Amount amount, int panels>
[[gnu::noinline]] void multiply_chunk(const Rows* rows_of, int64_t count, const uint8_t* next, const Tile& tile,
                                      Floats* sums) {
  static_assert(amount != Amount::one || panels == 1);
  Rows rows[panels];
  for (int p = 0; p < panels; ++p) rows[p] = rows_of[p];
  Floats single = sums[0];
  for (int64_t b = 0; b < count; b += Format::header_blocks) {
    typename Format::Header headers[panels];
    for (int p = 0; p < panels; ++p) Format::read_header(rows[p], &headers[p]);
    for (int number = 0; number < Format::header_blocks / Format::group_blocks; ++number) {
      typename Format::Group groups[panels];
      for (int p = 0; p < panels; ++p) Format::read_group(rows[p], number, &groups[p]);
      multiply_parts<Format, 0, amount, panels>(headers, groups, {number, b + number * Format::group_blocks, next},
                                                tile, amount == Amount::one ? &single : sums);
    }
    for (int p = 0; p < panels; ++p) advance(rows[p], Format::block_bytes);
    next += Format::block_bytes * panel_rows * panels;
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

// `panels` of them from `row` on. One that would begin past the end is the first once more, with no rows wanted.
template <int panels>
LAPIDARY_INLINE void panels_at(const TensorView& weights, int64_t row, int64_t row_end, Panel* out) {
  for (int p = 0; p < panels; ++p) {
    const int64_t begin = row + p * panel_rows;
    out[p] = panel_at(weights, begin < row_end ? begin : row, row_end);
    if (begin >= row_end) out[p].count = 0;
  }
}

// Few activations: the weights are what has to be moved. Panels after panels, so that memory is read in one stream.
template <typename Format, Amount amount, int panels>
void multiply_few(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                  int64_t y_stride) {
  const int64_t blocks = x.columns / 32;
  for (int64_t row = row_begin; row < row_end; row += panels * panel_rows) {
    Panel panel[panels];
    panels_at<panels>(weights, row, row_end, panel);
    // The last panels have nothing after them that this call would need.
    const bool last = row_end - row < 2 * panels * panel_rows;
    const uint8_t* after = last ? panel[0].data : panel[0].data + panels * panel_rows * weights.row_bytes;
    Floats sums[panels][tile_rows_max];
    for (int p = 0; p < panels; ++p)
      for (int32_t m = 0; m < x.rows; ++m) sums[p][m] = every_float(0);
    Tile tile;
    for (int64_t first = 0; first < blocks; first += chunk_blocks) {
      const int64_t count = blocks - first < chunk_blocks ? blocks - first : chunk_blocks;
      const int64_t offset = first / Format::header_blocks * Format::block_bytes;
      Rows rows[panels];
      for (int p = 0; p < panels; ++p) rows[p] = rows_at(panel[p].data + offset, weights.row_bytes);
      prepare_tile<Format>(x, 0, x.rows, first, count, &tile);
      multiply_chunk<Format, amount, panels>(rows, count, after + offset * panels * panel_rows, tile, sums[0]);
    }
    for (int p = 0; p < panels; ++p) store_sums(panel[p], sums[p], 0, x.rows, y, y_stride);
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
    for (int64_t r = row; r < row_end && panel_count < panels_max; r += panels_together<Format> * panel_rows) {
      panels_at<panels_together<Format>>(weights, r, row_end, panels + panel_count);
      panel_count += panels_together<Format>;
    }
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
        for (int p = 0; p < panel_count; p += panels_together<Format>) {
          Rows rows[panels_together<Format>];
          for (int i = 0; i < panels_together<Format>; ++i)
            rows[i] = rows_at(panels[p + i].data + offset, weights.row_bytes);
          multiply_chunk<Format, Amount::many, panels_together<Format>>(rows, count, panels[p].data, tile, sums[p]);
        }
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
  } else if (x.rows == 1) {
    multiply_few<Format, Amount::one, 1>(weights, row_begin, row_end, x, y, y_stride);
  } else if (x.rows <= tile_rows_max) {
    multiply_few<Format, Amount::few, panels_together<Format>>(weights, row_begin, row_end, x, y, y_stride);
  } else {
    multiply_many<Format>(weights, row_begin, row_end, x, y, y_stride);
  }
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
