#include <cmath>
#include <limits>

#include "kernels/activations.h"
#include "kernels/int8_contract.h"
#include "tensor/code_block.h"

namespace lapidary {
namespace {

void quantize_block(const float* x, int8_t* quantized, float* scale) {
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < code_block_values; ++i) {
    finite = finite && std::isfinite(x[i]);
    largest = std::fmax(largest, std::fabs(x[i]));
  }
  const float inverse = finite && largest >= int8_smallest_maximum ? 127.0f / largest : 0.0f;
  *scale = finite ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
  for (int i = 0; i < code_block_values; ++i)
    quantized[i] = finite ? static_cast<int8_t>(std::nearbyint(x[i] * inverse)) : int8_t{0};
}

}  // namespace

void int8_reference_quantize_row(const float* x, int64_t columns, int64_t stride, int8_t* quantized, float* scales,
                                 int32_t* sums_of_32, int32_t* sums_of_16) {
  for (int64_t block = 0; block < columns / code_block_values; ++block) {
    const int64_t at = block * stride;
    int8_t* codes = quantized + at * code_block_values;
    quantize_block(x + block * code_block_values, codes, scales + at);
    int32_t sums[2] = {0, 0};
    for (int i = 0; i < code_block_values; ++i) sums[i / 16] += codes[i];
    sums_of_16[2 * at] = sums[0];
    sums_of_16[2 * at + 1] = sums[1];
    sums_of_32[at] = sums[0] + sums[1];
  }
}

float int8_reference_dot(const TensorView& weights, int64_t row, const ActivationRows& x, int32_t m) {
  const UnpackCodeBlock unpack = code_block_unpacker(weights.dtype);
  const CodeTraits traits = code_traits(weights.dtype);
  const int64_t blocks = weights.columns / code_block_values;
  float sum = 0;
  for (int64_t index = 0; index < blocks; ++index) {
    CodeBlock block;
    unpack(weights.row(row), index, &block);
    const int64_t at = activation_block(x, m, index);
    const int8_t* quantized = x.quantized + at * code_block_values;
    const float scale = x.scales[at];
    int32_t product = 0, quantized_sum = 0;
    for (int i = 0; i < code_block_values; ++i) {
      product += block.sub_scales[i / 16] * (block.codes[i] - traits.offset) * quantized[i];
      quantized_sum += quantized[i];
    }
    sum = std::fma(static_cast<float>(product), block.scale * scale, sum);
    if (traits.has_minimum) sum = std::fma(-block.minimum, scale * static_cast<float>(quantized_sum), sum);
  }
  return sum;
}

}  // namespace lapidary
