// What the blocks of all quantised types have in common: 32 consecutive weights of a row as small codes and factors.
//
//   weight_i = scale * sub_scales[i / 16] * (codes[i] - offset) - minimum
//
// Everything that reads quantised weights is defined by this one decomposition; dequantize.h and the int8 kernels
// differ only in the arithmetic they do on it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lapidary {

inline constexpr int code_block_values = 32;

struct CodeBlock {
  alignas(32) uint8_t codes[code_block_values];
  int32_t sub_scales[2];  // 1 where the type has none
  float scale;
  float minimum;  // 0 where the type has none
};

struct CodeTraits {
  int32_t offset;       // what a code has to be lowered by
  bool has_sub_scales;  // one per 16 weights
  bool has_minimum;
};

bool is_quantized(DType dtype);

// Of a quantised type.
CodeTraits code_traits(DType dtype);

// Block `index` (of 32 weights, whatever the type's own block is) of the row of a quantised type that starts at `row`.
using UnpackCodeBlock = void (*)(const std::byte* row, int64_t index, CodeBlock* out);
UnpackCodeBlock code_block_unpacker(DType dtype);

// The 16 values a code of IQ4_NL or IQ4_XS stands for.
extern const int8_t iq4_values[16];

}  // namespace lapidary
