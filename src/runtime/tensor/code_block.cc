#include "tensor/code_block.h"

#include "tensor/code_block_inl.h"

namespace lapidary {

const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

bool is_quantized(DType dtype) { return dtype_info(dtype).block_values > 1; }

CodeTraits code_traits(DType dtype) {
  CodeTraits traits = {};
  blocks::visit_quantized(dtype, [&]<typename Block>() { traits = Block::traits; });
  return traits;
}

UnpackCodeBlock code_block_unpacker(DType dtype) {
  UnpackCodeBlock unpack = nullptr;
  blocks::visit_quantized(dtype, [&]<typename Block>() { unpack = Block::unpack; });
  return unpack;
}

}  // namespace lapidary
