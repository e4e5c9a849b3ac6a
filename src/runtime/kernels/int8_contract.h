// What a product of quantised weights and 8-bit activations is, to the last bit. Every int8 kernel gives exactly this.
//
// Activations, per block b of 32 values x:
//   amax = max |x|;  scale = amax / 127;  inverse = amax < 2^-100 ? 0 : 127 / amax   (fp32 divisions; below, 127 / amax
//   could overflow, and nothing that small matters)
//   q_i = round_to_nearest_even(x_i * inverse), an int8 in [-127, 127];  a block with a NaN or infinity is quantised
//   like 0s with scale NaN, so that damage shows in the output.
//
// Weights, per block b of 32 values of a row: integer codes u_i, an integer offset (both constant per type), up to two
// integer sub-scales t_g for groups g of 16 (else 1), an fp32 scale s, and for some types an fp32 minimum n:
//   w_i = s * t_g(i) * (u_i - offset) - n
//
// The dot product of a row, one accumulator, blocks in order, starting from 0:
//   I   = sum_g t_g * (sum_{i in g} u_i q_i - offset * sum_{i in g} q_i)        exact: |I| < 2^24
//   acc = fma(float(I), s * scale, acc)
//   acc = fma(-n, scale * float(sum_i q_i), acc)                                 only for types with a minimum
//
//   type    s                          t           n             u, offset
//   Q4_0    d                          1           -             4 bits, 8
//   Q5_0    d                          1           -             5 bits, 16
//   Q8_0    d                          1           -             q + 128, 128
//   Q4_1    d                          1           -m            4 bits, 0
//   Q5_1    d                          1           -m            5 bits, 0
//   Q4_K    d * sc   (exact)           1           dmin * mn     4 bits, 0
//   Q5_K    d * sc                     1           dmin * mn     5 bits, 0
//   Q6_K    d                          int8 sc     -             6 bits, 32
//   Q3_K    d                          sc - 32     -             3 bits, 4
//   IQ4_NL  d                          1           -             table + 128, 128
//   IQ4_XS  d * (ls - 32)              1           -             table + 128, 128
#pragma once

#include "kernels/ops.h"

namespace lapidary {

inline constexpr float int8_smallest_maximum = 0x1p-100f;

// Plain C++ of the above, slow: the tests compare every int8 kernel with it, bit by bit.
void int8_reference_quantize_row(const float* x, int64_t columns, int64_t stride, int8_t* quantized, float* scales,
                                 int32_t* sums_of_32, int32_t* sums_of_16);
float int8_reference_dot(const TensorView& weights, int64_t row, const ActivationRows& x, int32_t m);

}  // namespace lapidary
