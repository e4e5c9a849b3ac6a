// A target that must fail: it proves that the harness notices a read past the end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  auto* copy = static_cast<uint8_t*>(std::malloc(size));
  std::memcpy(copy, data, size);
  const volatile uint8_t* bytes = copy;  // volatile: the read below must happen
  [[maybe_unused]] const uint8_t beyond = bytes[size];
  std::free(copy);
  return 0;
}
