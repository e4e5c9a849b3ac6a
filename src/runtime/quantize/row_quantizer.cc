#include "quantize/row_quantizer.h"

#include <cstring>

#include "base/system.h"
#include "quantize/block_variants.h"
#include "tensor/dequantize.h"

namespace lapidary {
namespace {

template <uint16_t convert(float)>
void to_words(const float* x, const float* /*weights*/, int64_t columns, std::byte* out) {
  for (int64_t i = 0; i < columns; ++i) {
    const uint16_t word = convert(x[i]);
    std::memcpy(out + 2 * i, &word, sizeof(word));
  }
}

void copy_floats(const float* x, const float* /*weights*/, int64_t columns, std::byte* out) {
  std::memcpy(out, x, static_cast<size_t>(columns) * sizeof(float));
}

template <BlockQuantizers::Quantize BlockQuantizers::* type>
void to_blocks(const float* x, const float* weights, int64_t columns, std::byte* out) {
  (block_quantizers().*type)(x, weights, columns, reinterpret_cast<uint8_t*>(out));
}

}  // namespace

const BlockQuantizers& block_quantizers() {
#if defined(__x86_64__)
  static const BlockQuantizers& best = [&]() -> const BlockQuantizers& {
    const CpuFeatures cpu = cpu_features();
    return cpu.avx512 ? search_avx512::quantizers : cpu.avx2 ? search_avx2::quantizers : search_plain::quantizers;
  }();
  return best;
#else
  return search_plain::quantizers;
#endif
}

QuantizeRow row_quantizer(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return copy_floats;
    case DType::f16:
      return to_words<float_to_half>;
    case DType::bf16:
      return to_words<float_to_bfloat>;
    case DType::q8_0:
      return to_blocks<&BlockQuantizers::q8_0>;
    case DType::q4_0:
      return to_blocks<&BlockQuantizers::q4_0>;
    case DType::q5_0:
      return to_blocks<&BlockQuantizers::q5_0>;
    case DType::q5_1:
      return to_blocks<&BlockQuantizers::q5_1>;
    case DType::q4_k:
      return to_blocks<&BlockQuantizers::q4_k>;
    case DType::q5_k:
      return to_blocks<&BlockQuantizers::q5_k>;
    case DType::q6_k:
      return to_blocks<&BlockQuantizers::q6_k>;
    default:
      return nullptr;
  }
}

LatticeCount count_on_lattice(const float* x, int64_t columns) {
  LatticeCount count;
  block_quantizers().count_lattice(x, columns, &count.blocks, &count.on_lattice);
  return count;
}

}  // namespace lapidary
