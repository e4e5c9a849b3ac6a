// Pictures: from a file's bytes to the patches that the model takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace lapidary {

// RGB, 8 bits, row-major [height, width, 3].
struct Image {
  int32_t width = 0, height = 0;
  std::vector<uint8_t> pixels;
};

struct ImageLimits {
  int64_t pixels_max = 100'000'000;  // refused from the header alone, before anything is decoded
  int32_t side_max = 32'768;
  int64_t file_bytes_max = 256LL << 20;
};

// JPEG, PNG, WebP, GIF (first frame). EXIF orientation is applied; alpha is composited onto white; grey is repeated;
// 16-bit samples are reduced to 8. Other formats (HEIC, AVIF, TIFF, SVG …) give ErrorKind::unsupported and say how to
// convert.
Result<Image> decode_image(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits = {});

// gemma4.md 3.1: the size to which a picture is scaled so that it fills at most `budget` soft tokens of `patch` pixels.
struct PatchGrid {
  int32_t columns = 0, rows = 0;  // soft tokens = columns * rows
};
Result<PatchGrid> patch_grid(int32_t width, int32_t height, int32_t budget, int32_t patch);

// torchvision's bicubic with antialias on uint8: horizontal pass, then vertical; fixed-point weights; rounded and
// clamped to 8 bits after each pass. A picture that already has this size is returned as it is.
Image resize_bicubic(const Image& image, int32_t width, int32_t height);

// A picture ready for the embedder: patches in reading order, each [patch, patch, 3] bytes.
struct ImagePatches {
  PatchGrid grid;
  int32_t patch = 0;
  std::vector<uint8_t> values;  // [rows*columns, patch*patch*3]
};
Result<ImagePatches> make_patches(const Image& image, int32_t budget, int32_t patch);

}  // namespace lapidary
