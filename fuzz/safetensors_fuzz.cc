// A safetensors file -> tensors inside it.
#include <cstdint>

#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  TensorMap map;
  const auto done = add_safetensors({reinterpret_cast<const std::byte*>(data), size}, "fuzz", 0, map);
  unsigned sum = 0;
  if (done)
    for (const auto& [name, tensor] : map.tensors)
      for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
  volatile unsigned sink = sum;
  (void)sink;
  return 0;
}
