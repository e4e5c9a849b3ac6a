// The search of block_search_inl.h as built for each instruction set. Only row_quantizer.cc and tests look at this: a
// table may need instructions that the CPU lacks.
#pragma once

#include <cstdint>

namespace lapidary {

struct BlockQuantizers {
  using Quantize = void (*)(const float* x, const float* weights, int64_t columns, uint8_t* out);
  Quantize q8_0, q4_0, q5_0, q5_1, q4_k, q5_k, q6_k;
  void (*count_lattice)(const float* x, int64_t columns, int64_t* blocks, int64_t* found);
};

namespace search_plain {
extern const BlockQuantizers quantizers;
}
namespace search_avx2 {
extern const BlockQuantizers quantizers;
}
namespace search_avx512 {
extern const BlockQuantizers quantizers;
}

// The best that this CPU runs.
const BlockQuantizers& block_quantizers();

}  // namespace lapidary
