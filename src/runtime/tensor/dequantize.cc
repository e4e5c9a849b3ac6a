#include "tensor/dequantize.h"

#include <cstring>

#include "tensor/code_block_inl.h"

namespace lapidary {
namespace {

template <typename Block>
void dequantize_blocks(const std::byte* row, float* out, int64_t count) {
  CodeBlock block;
  for (int64_t index = 0; index < count / code_block_values; ++index) {
    Block::unpack(row, index, &block);
    // scale * sub_scale is exact in every type: at most 11 + 8 bits.
    const float factors[2] = {block.scale * static_cast<float>(block.sub_scales[0]),
                              block.scale * static_cast<float>(block.sub_scales[1])};
    float* values = out + index * code_block_values;
    for (int i = 0; i < code_block_values; ++i)
      values[i] = factors[i / 16] * static_cast<float>(block.codes[i] - Block::traits.offset);
    if constexpr (Block::traits.has_minimum)
      for (int i = 0; i < code_block_values; ++i) values[i] -= block.minimum;
  }
}

template <float convert(uint16_t)>
void convert_words(const std::byte* row, float* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, row + i * 2, sizeof(bits));
    out[i] = convert(bits);
  }
}

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  // A half's exponent and mantissa, moved into a float's places, are 2^112 too small, subnormals included.
  const uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  // The largest exponent has to stay the largest. A NaN comes out quiet, as from the CPU's own conversion. No branches:
  // that lets loops over halves be vectorised.
  const uint32_t not_finite = (magnitude >= 0x7c00u) * 0x7f800000u;
  const uint32_t quiet = (magnitude > 0x7c00u) * 0x400000u;
  return std::bit_cast<float>(sign | scaled | not_finite | quiet);
}

uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520 and more round to infinity
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves steps of 2^-24, those of a subnormal half
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  } else {
    half = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(bits >> 16 & 0x8000u) | static_cast<uint16_t>(half);
}

uint16_t float_to_bfloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

void dequantize_row(DType dtype, const std::byte* row, float* out, int64_t count) {
  if (count <= 0) return;
  if (blocks::visit_quantized(dtype, [&]<typename Block>() { dequantize_blocks<Block>(row, out, count); })) return;
  if (dtype == DType::f32) {
    std::memcpy(out, row, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  if (dtype == DType::f16)
    convert_words<half_to_float>(row, out, count);
  else
    convert_words<bfloat_to_float>(row, out, count);
}

void dequantize_row(const TensorView& tensor, int64_t index, float* out) {
  dequantize_row(tensor.dtype, tensor.row(index), out, tensor.columns);
}

}  // namespace lapidary
