// Products of quantised weights and quantised activations, as int8_contract.h defines them.
//
// A panel of rows is unpacked and multiplied with a tile of activation rows: lane r of every vector belongs to row r of
// the panel, so that nothing is ever summed across lanes. All integers are exact; the floats of an element follow the
// contract's sequence; so neither panels nor tiles nor chunks show in the result.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

inline constexpr int tile_rows_max = activation_tile_rows;
// Blocks that are worked on at a time: a tile's part of them stays in the first-level cache.
inline constexpr int chunk_blocks = 32;
// Panels and tiles that are worked on together where there are more rows than one tile has. Their sums and the unpacked
// chunk of the panels stay in the second-level cache.
inline constexpr int panels_max = 4, tiles_max = 8;

template <typename Format>
inline constexpr int effective_offset = Format::bits == 8 && wants_signed_bytes ? 0 : Format::offset;

// Panels that are multiplied at once with two rows or more. Where a block has factors of its own, a second panel costs
// more registers than it saves loads.
template <typename Format>
inline constexpr int panels_together = Format::has_sub_scales || Format::has_minimum ? 1 : panels_at_once;

// How many activation rows there are: one, or up to a tile.
enum class Amount { one, few };

// The rows of a tile in one chunk of blocks, and what is derived from them.
struct Tile {
  int32_t rows;
  const int8_t* quantized;                               // [blocks, rows, 32]
  const float* scales;                                   // [blocks, rows]
  int32_t corrections[2][chunk_blocks * tile_rows_max];  // [blocks, rows], -offset * sum; [1] only with sub-scales
  float scaled_sums[chunk_blocks * tile_rows_max];       // [blocks, rows], only with minimums
};

// The tile of `rows` activations that begins with row `m`, for `count` blocks from `first` on.
template <typename Format>
LAPIDARY_INLINE void prepare_tile(const ActivationRows& x, int32_t m, int32_t rows, int64_t first, int64_t count,
                                  Tile* tile) {
  const int64_t begin = m * (x.columns / 32) + first * rows, all = count * rows;
  tile->rows = rows;
  tile->quantized = x.quantized + begin * 32;
  tile->scales = x.scales + begin;
  if constexpr (Format::has_sub_scales) {
    const int32_t* sums = x.sums_of_16 + 2 * begin;
    for (int64_t i = 0; i < all; ++i) tile->corrections[0][i] = -Format::offset * sums[2 * i];
    for (int64_t i = 0; i < all; ++i) tile->corrections[1][i] = -Format::offset * sums[2 * i + 1];
  } else if constexpr (effective_offset<Format> != 0) {
    for (int64_t i = 0; i < all; ++i) tile->corrections[0][i] = -Format::offset * x.sums_of_32[begin + i];
  }
  if constexpr (Format::has_minimum)
    for (int64_t i = 0; i < all; ++i)
      tile->scaled_sums[i] = x.scales[begin + i] * static_cast<float>(x.sums_of_32[begin + i]);
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

// The same with all rows of a tile, or its only one.
template <typename Format, Amount amount, int panels>
LAPIDARY_INLINE void add_block_to_all(Floats* sums, const GroupBlock<panels>& group, const Tile& tile, int64_t block) {
  const int32_t rows =
      amount == Amount::one ? 1 : tile.rows;  // a copy: the sums could overwrite the tile, for all that is known
  const int64_t at = block * rows;
  RowBlock x = {.quantized = tile.quantized + at * 32,
                .scale = tile.scales + at,
                .corrections = {tile.corrections[0] + at, tile.corrections[1] + at},
                .scaled_sum = tile.scaled_sums + at};
  const auto advance_row = [](RowBlock& row) {
    row.quantized += 32;
    ++row.scale;
    ++row.corrections[0];
    ++row.corrections[1];
    ++row.scaled_sum;
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

template <typename Format, int part, int panels, typename Use>
LAPIDARY_INLINE void unpack_parts(const typename Format::Header* headers, const typename Format::Group* groups,
                                  int number, int64_t first, const Use& use) {
  if constexpr (part < Format::group_blocks) {
    const int index = number * Format::group_blocks + part;
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
    use(first + index, block);
    unpack_parts<Format, part + 1, panels>(headers, groups, number, first, use);
  }
}

// Calls use(block, GroupBlock) for each of `count` blocks. `rows_of` are those of the panels where the chunk begins.
template <typename Format, int panels, typename Use>
LAPIDARY_INLINE void for_each_block(const Rows* rows_of, int64_t count, const Use& use) {
  Rows rows[panels];
  for (int p = 0; p < panels; ++p) rows[p] = rows_of[p];
  for (int64_t first = 0; first < count; first += Format::header_blocks) {
    typename Format::Header headers[panels];
    for (int p = 0; p < panels; ++p) Format::read_header(rows[p], &headers[p]);
    for (int number = 0; number < Format::header_blocks / Format::group_blocks; ++number) {
      typename Format::Group groups[panels];
      for (int p = 0; p < panels; ++p) Format::read_group(rows[p], number, &groups[p]);
      unpack_parts<Format, 0, panels>(headers, groups, number, first, use);
    }
    for (int p = 0; p < panels; ++p) advance(rows[p], Format::block_bytes);
  }
}

// Adds to sums[p * tile_rows_max + m] the products of panel p with row m of the tile over `count` blocks. `next` is as
// many bytes as the panels have here, to be fetched meanwhile.
template <typename Format, Amount amount, int panels>
[[gnu::noinline]] void multiply_chunk(const Rows* rows_of, int64_t count, const uint8_t* next, const Tile& tile,
                                      Floats* sums) {
  // A little with every block: memory is kept busy, but never so much that what is needed now would have to wait.
  constexpr int64_t bytes = Format::block_bytes * panel_rows * panels / Format::header_blocks;
  // The sums of one row stay in registers.
  Floats of_one[panels * tile_rows_max];
  if constexpr (amount == Amount::one)
    for (int p = 0; p < panels; ++p) of_one[p * tile_rows_max] = sums[p * tile_rows_max];
  for_each_block<Format, panels>(
      rows_of, count, [&](int64_t block, const GroupBlock<panels>& group) __attribute__((always_inline)) {
        prefetch(next + block * bytes, bytes);
        add_block_to_all<Format, amount>(amount == Amount::one ? of_one : sums, group, tile, block);
      });
  if constexpr (amount == Amount::one)
    for (int p = 0; p < panels; ++p) sums[p * tile_rows_max] = of_one[p * tile_rows_max];
}

template <typename Format, int panels>
[[gnu::noinline]] void unpack_chunk(const Rows* rows_of, int64_t count, GroupBlock<panels>* out) {
  for_each_block<Format, panels>(rows_of, count,
                                 [&](int64_t block, const GroupBlock<panels>& group)
                                     __attribute__((always_inline)) { out[block] = group; });
}

// As multiply_chunk, of panels that are unpacked.
template <typename Format, int panels>
[[gnu::noinline]] void multiply_unpacked(const GroupBlock<panels>* groups, int64_t count, const Tile& tile,
                                         Floats* sums) {
  for (int64_t block = 0; block < count; ++block) {
    const GroupBlock<panels> group = groups[block];  // in registers: the sums could overwrite what is in memory
    add_block_to_all<Format, Amount::few>(sums, group, tile, block);
  }
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

// Many activations: arithmetic is what takes time. A chunk of some panels is unpacked once for many tiles.
template <typename Format>
void multiply_many(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                   int64_t y_stride) {
  constexpr int together = panels_together<Format>, groups_max = panels_max / together;
  constexpr int32_t rows_max = tiles_max * tile_rows_max;
  const int64_t blocks = x.columns / 32;
  for (int64_t row = row_begin; row < row_end; row += panels_max * panel_rows) {
    Panel panels[groups_max][together];
    int group_count = 0;
    for (int64_t r = row; r < row_end && group_count < groups_max; r += together * panel_rows)
      panels_at<together>(weights, r, row_end, panels[group_count++]);
    for (int32_t m = 0; m < x.rows; m += rows_max) {
      const int32_t rows_here = x.rows - m < rows_max ? x.rows - m : rows_max;
      const int tiles = (rows_here + tile_rows_max - 1) / tile_rows_max;
      Floats sums[tiles_max][groups_max][together * tile_rows_max];
      for (int t = 0; t < tiles; ++t)
        for (int g = 0; g < group_count; ++g)
          for (Floats& sum : sums[t][g]) sum = every_float(0);
      for (int64_t first = 0; first < blocks; first += chunk_blocks) {
        const int64_t count = blocks - first < chunk_blocks ? blocks - first : chunk_blocks;
        const int64_t offset = first / Format::header_blocks * Format::block_bytes;
        GroupBlock<together> unpacked[groups_max][chunk_blocks];
        for (int g = 0; g < group_count; ++g) {
          Rows rows[together];
          for (int p = 0; p < together; ++p) rows[p] = rows_at(panels[g][p].data + offset, weights.row_bytes);
          unpack_chunk<Format, together>(rows, count, unpacked[g]);
        }
        for (int t = 0; t < tiles; ++t) {
          const int32_t here = rows_here - t * tile_rows_max;
          Tile tile;
          prepare_tile<Format>(x, m + t * tile_rows_max, here < tile_rows_max ? here : tile_rows_max, first, count,
                               &tile);
          for (int g = 0; g < group_count; ++g)
            multiply_unpacked<Format, together>(unpacked[g], count, tile, sums[t][g]);
        }
      }
      for (int t = 0; t < tiles; ++t) {
        const int32_t here = rows_here - t * tile_rows_max;
        for (int g = 0; g < group_count; ++g)
          for (int p = 0; p < together; ++p)
            store_sums(panels[g][p], sums[t][g] + p * tile_rows_max, m + t * tile_rows_max,
                       here < tile_rows_max ? here : tile_rows_max, y, y_stride);
      }
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
    multiply_few<Format, Amount::one, panels_together<Format>>(weights, row_begin, row_end, x, y, y_stride);
  } else if (x.rows <= tile_rows_max) {
    multiply_few<Format, Amount::few, panels_together<Format>>(weights, row_begin, row_end, x, y, y_stride);
  } else {
    multiply_many<Format>(weights, row_begin, row_end, x, y, y_stride);
  }
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
