// The definition of what quantised weights mean: plain, exact, one value at a time. Kernels are tested against it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "tensor/tensor.h"

namespace lapidary {

// IEEE half to float, exact, subnormals, infinities and NaN included.
float half_to_float(uint16_t half);
// Round to nearest even; overflow gives infinity.
uint16_t float_to_half(float value);

inline float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
uint16_t float_to_bfloat(float value);  // round to nearest even

// Writes `count` floats: the values of the row that starts at `row`. count is a multiple of the type's block_values.
void dequantize_row(DType dtype, const std::byte* row, float* out, int64_t count);

// The same for row `index` of a tensor: tensor.columns floats.
void dequantize_row(const TensorView& tensor, int64_t index, float* out);

}  // namespace lapidary
