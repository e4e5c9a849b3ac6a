// The picture formats, one file each: png.cc, jpeg.cc, webp.cc, gif.cc. Private to this folder; decode_image() is the
// door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "base/result.h"
#include "media/image.h"

namespace lapidary {

// Each takes a file of its own format and gives the picture as it is stored: EXIF orientation is not applied yet. Sizes
// are checked from the header, by check_claim(), before the decoder proper is started. Errors have no file name yet.
Result<Image> decode_png(std::span<const std::byte> file, const ImageLimits& limits);
Result<Image> decode_jpeg(std::span<const std::byte> file, const ImageLimits& limits);
Result<Image> decode_webp(std::span<const std::byte> file, const ImageLimits& limits);
Result<Image> decode_gif(std::span<const std::byte> file, const ImageLimits& limits);

// What a header claims, and the most pixels that one byte of its format can hold.
struct ImageClaim {
  int64_t width = 0, height = 0;
  uint64_t file_bytes = 0;
  int64_t pixels_per_byte_max = std::numeric_limits<int32_t>::max();
  int32_t channels = 3;  // of the buffer to decode into
};

// The reason why a picture must not be decoded: larger than allowed, or than its file could possibly hold.
Result<void> check_claim(const ImageClaim& claim, const ImageLimits& limits);

// A checked claim's image, its buffer [height, width, channels] filled with `value`.
Image new_image(const ImageClaim& claim, uint8_t value = 0);

// [height, width, 4] RGBA becomes [height, width, 3], on white.
void composite_on_white(Image& image);

}  // namespace lapidary
