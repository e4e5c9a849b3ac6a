// One variant of the int8 family: a source file defines LAPIDARY_VARIANT, the name of its namespace and table, includes
// the lanes for its instruction set, then this.
//
// Such a file is compiled for instructions that the CPU may lack. Whatever the linker could merge with another file's
// copy (inline functions and templates of the standard library, members of shared types) must not be used in it:
// everything here is in unnamed namespaces.
#pragma once

#include "kernels/int8_contract.h"
#include "kernels/variants.h"
#include "tensor/code_block.h"

// Each builds on those before.
// clang-format off
#include "kernels/math_inl.h"
#include "kernels/elementwise_inl.h"
#include "kernels/rows_inl.h"
#include "kernels/attend_inl.h"
#include "kernels/matmul_float_inl.h"
#include "kernels/formats_inl.h"
#include "kernels/matmul_int8_inl.h"
// clang-format on

#define LAPIDARY_TEXT_INNER(x) #x
#define LAPIDARY_TEXT(x) LAPIDARY_TEXT_INNER(x)
#if !defined(LAPIDARY_VARIANT_NAME)
#define LAPIDARY_VARIANT_NAME LAPIDARY_TEXT(LAPIDARY_VARIANT)
#endif

namespace lapidary::LAPIDARY_VARIANT {
namespace {

void matmul(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
            int64_t y_stride) {
  if (x.rows == 0) return;
  using Multiply = void (*)(const TensorView&, int64_t, int64_t, const ActivationRows&, float*, int64_t);
  Multiply multiply = nullptr;
  switch (weights.dtype) {
    case DType::f32:
      multiply = matmul_float<Floats32>;
      break;
    case DType::f16:
      multiply = matmul_float<Halves>;
      break;
    case DType::bf16:
      multiply = matmul_float<Bfloats>;
      break;
    case DType::q8_0:
      multiply = matmul_int8<Q8_0>;
      break;
    case DType::q4_0:
      multiply = matmul_int8<Q4_0>;
      break;
    case DType::q4_1:
      multiply = matmul_int8<Q4_1>;
      break;
    case DType::q5_0:
      multiply = matmul_int8<Q5_0>;
      break;
    case DType::q5_1:
      multiply = matmul_int8<Q5_1>;
      break;
    case DType::q3_k:
      multiply = matmul_int8<Q3_K>;
      break;
    case DType::q4_k:
      multiply = matmul_int8<Q4_K>;
      break;
    case DType::q5_k:
      multiply = matmul_int8<Q5_K>;
      break;
    case DType::q6_k:
      multiply = matmul_int8<Q6_K>;
      break;
    case DType::iq4_nl:
      multiply = matmul_int8<IQ4_NL>;
      break;
    case DType::iq4_xs:
      multiply = matmul_int8<IQ4_XS>;
      break;
  }
  multiply(weights, row_begin, row_end, x, y, y_stride);
}

}  // namespace

const Kernels kernels = {
    .name = LAPIDARY_VARIANT_NAME,
    .matmul = matmul,
    .quantize_row = quantize_row,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .gelu_multiply = gelu_multiply,
    .rotate = rotate,
    .add = add,
    .scale = scale,
    .softcap = softcap,
    .attend = attend,
    .to_half = to_half,
};

}  // namespace lapidary::LAPIDARY_VARIANT
