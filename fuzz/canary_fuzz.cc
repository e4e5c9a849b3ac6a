// A target that must fail: it proves that the harness notices a read past the end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  auto* copy = static_cast<uint8_t*>(std::malloc(size));
  std::memcpy(copy, data, size);
  volatile const uint8_t* bytes = copy;
  const uint8_t beyond = bytes[size];  // on purpose: one past the end
  std::free(copy);
  return beyond == 0 && size == 0 ? 1 : 0;
}
