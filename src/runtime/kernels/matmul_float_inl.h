// Products with weights that are not quantised: fp32 all the way.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

template <int weight_rows, int activation_rows, typename Element>
LAPIDARY_INLINE void float_tile(const TensorView& weights, int64_t row, const ActivationRows& x, int32_t m, float* y,
                                int64_t y_stride) {
  float sums[weight_rows][activation_rows];
  dot_tile<weight_rows, activation_rows, Element>(
      reinterpret_cast<const uint8_t*>(weights.data) + row * weights.row_bytes, weights.row_bytes,
      x.values + m * x.columns, x.columns, x.columns, sums);
  for (int i = 0; i < weight_rows; ++i)
    for (int j = 0; j < activation_rows; ++j) y[(m + j) * y_stride + row + i] = sums[i][j];
}

template <int weight_rows, typename Element>
LAPIDARY_INLINE void float_rows(const TensorView& weights, int64_t row, const ActivationRows& x, float* y,
                                int64_t y_stride) {
  int32_t m = 0;
  for (; m + tile_activations <= x.rows; m += tile_activations)
    float_tile<weight_rows, tile_activations, Element>(weights, row, x, m, y, y_stride);
  for (; m < x.rows; ++m) float_tile<weight_rows, 1, Element>(weights, row, x, m, y, y_stride);
}

template <typename Element>
void matmul_float(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
                  int64_t y_stride) {
  int64_t row = row_begin;
  for (; row + tile_rows <= row_end; row += tile_rows) float_rows<tile_rows, Element>(weights, row, x, y, y_stride);
  for (; row < row_end; ++row) float_rows<1, Element>(weights, row, x, y, y_stride);
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
