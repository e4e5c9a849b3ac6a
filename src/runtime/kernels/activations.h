// The activations of a matrix product with room for their quantised form.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace lapidary {

// Where block `block` of row `row` is in the quantised form, counted in places.
inline int64_t activation_block(const ActivationRows& x, int32_t row, int64_t block) {
  const int32_t first = row / activation_tile_rows * activation_tile_rows;
  const int32_t rows = x.rows - first < activation_tile_rows ? x.rows - first : activation_tile_rows;
  return first * (x.columns / 32) + block * rows + row - first;
}

// Keeps its room between products. Different parts may be quantised by different threads at once.
class Activations {
 public:
  using QuantizeRow = decltype(Kernels::quantize_row);

  // From now on `rows` rows of `columns` values at `values`, which must stay; nothing of them is quantised.
  void set(const float* values, int32_t rows, int64_t columns);
  // Makes room for the quantised form; the columns must be a multiple of 32.
  void make_room();
  // Quantises the columns [begin, end) of a row, multiples of 32, after make_room().
  void quantize(QuantizeRow quantize_row, int32_t row, int64_t begin, int64_t end);

  const ActivationRows& rows() const { return rows_; }
  // What is kept for a row.
  static uint64_t row_bytes(int64_t columns);

 private:
  ActivationRows rows_;
  std::vector<int8_t> quantized_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_of_32_, sums_of_16_;
};

}  // namespace lapidary
