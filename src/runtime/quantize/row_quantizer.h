// Rows of floats -> rows of quantised blocks.
//
// Every type's blocks are searched, not computed: of many scales (and minimums) the one is taken whose rounded weights
// are nearest to the given ones. dequantize.h says what the result means. One row always gives the same bytes, on every
// CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lapidary {

// `weights`: null, or `columns` positive floats: how much an error in each column counts. `columns` is a multiple of
// the type's block_values; `x` is finite. `out`: columns / block_values * block_bytes bytes.
using QuantizeRow = void (*)(const float* x, const float* weights, int64_t columns, std::byte* out);

// Of the types that are written: F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K; null for others.
QuantizeRow row_quantizer(DType dtype);

// How far a row is from a lattice of Q4_0, that is, from blocks of 32 weights which are a scale times -8 … 7: of the
// blocks that are not all zero, how many are, and how many of those are on it but for the rounding of a 16-bit float.
struct LatticeCount {
  int64_t blocks = 0, on_lattice = 0;
};
LatticeCount count_on_lattice(const float* x, int64_t columns);

}  // namespace lapidary
