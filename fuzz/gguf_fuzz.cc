// GGUF header -> metadata and tensors -> config -> weights -> tokenizer: whatever the bytes, an error or a sound model.
#include <cstdint>

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "model/config.h"
#include "model/weights.h"
#include "tensor/dequantize.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto gguf = Gguf::parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  // Copying keys walks over the header by itself: it must end, and take what the reader takes.
  const auto keys = gguf_raw_keys({reinterpret_cast<const std::byte*>(data), size});
  if (!gguf) return 0;
  if (!keys) __builtin_trap();
  // Every byte that a tensor claims must be readable.
  unsigned sum = 0;
  for (const auto& [name, tensor] : gguf->tensors().tensors)
    for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
  (void)gguf->numbers("numbers");
  (void)gguf->strings("tokenizer.ggml.tokens");
  if (const auto config = read_config(*gguf, nullptr)) (void)bind_weights(*gguf, nullptr, *config);
  if (is_drafter(*gguf))
    if (const auto config = read_drafter_config(*gguf)) (void)bind_drafter(*gguf, *config);
  // The same file as its own projector.
  if (const auto config = read_config(*gguf, &*gguf)) (void)bind_weights(*gguf, &*gguf, *config);
  (void)Tokenizer::from_gguf(*gguf);
  volatile unsigned sink = sum;
  (void)sink;
  return 0;
}
