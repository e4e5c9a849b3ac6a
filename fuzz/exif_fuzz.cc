// EXIF: a bare block, and the search for one in a picture's file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "media/exif.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  for (const int32_t orientation : {lapidary::tiff_orientation(bytes), lapidary::exif_orientation(bytes)})
    if (orientation < 1 || orientation > 8) std::abort();
  return 0;
}
