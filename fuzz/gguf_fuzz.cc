// GGUF header -> metadata and tensors -> config -> weights -> tokenizer: whatever the bytes, an error or a sound model.
#include <cstdint>

#include "formats/gguf.h"
#include "model/config.h"
#include "model/weights.h"
#include "tensor/dequantize.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto gguf = Gguf::parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  if (!gguf) return 0;
  // Every byte that a tensor claims must be readable.
  unsigned sum = 0;
  for (const auto& [name, tensor] : gguf->tensors().tensors)
    for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
  (void)gguf->numbers("numbers");
  (void)gguf->strings("tokenizer.ggml.tokens");
  const auto config = read_config(*gguf, nullptr);
  if (config) (void)bind_weights(*gguf, nullptr, *config);
  // As a projector of a model of its own width.
  ModelConfig model;
  model.hidden = 8;
  model.vocabulary = 16;
  (void)read_config(*gguf, &*gguf);
  (void)Tokenizer::from_gguf(*gguf);
  volatile unsigned sink = sum;
  (void)sink;
  return 0;
}
