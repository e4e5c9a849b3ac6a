// Pictures: any file, to patches.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "media/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  const auto image = lapidary::decode_image(file, "it", {.pixels_max = 1 << 18, .side_max = 4096});
  if (!image.has_value()) {
    if (image.error().message.empty()) std::abort();
    return 0;
  }
  if (image->pixels.size() != static_cast<size_t>(image->width) * static_cast<size_t>(image->height) * 3) std::abort();
  const auto patches = lapidary::make_patches(*image, 4, 48);
  if (!patches.has_value() || patches->values.size() > size_t{4} * 48 * 48 * 3) std::abort();
  return 0;
}
