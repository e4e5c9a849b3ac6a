#include <fmt/format.h>
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "media/image_codecs.h"

namespace lapidary {
namespace {

struct GifSource {
  std::span<const std::byte> file;
  size_t offset = 0;
};

int read_source(GifFileType* gif, GifByteType* out, int size) {
  auto* source = static_cast<GifSource*>(gif->UserData);
  const size_t count = std::min(static_cast<size_t>(std::max(size, 0)), source->file.size() - source->offset);
  std::memcpy(out, source->file.data() + source->offset, count);
  source->offset += count;
  return static_cast<int>(count);
}

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};

Error damaged(const GifSource& source, int error) {
  const char* text = GifErrorString(error);
  return malformed(fmt::format("byte {}", source.offset), "sound GIF data", text != nullptr ? text : "damaged data")
      .error();
}

// Goes on to the first picture; the graphics control block before it may name a transparent colour (-1: none).
Result<int32_t> find_first_picture(GifFileType& gif, const GifSource& source) {
  int32_t transparent = -1;
  for (;;) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(&gif, &record) == GIF_ERROR) return std::unexpected(damaged(source, gif.Error));
    if (record == IMAGE_DESC_RECORD_TYPE) return transparent;
    if (record == TERMINATE_RECORD_TYPE)
      return malformed(fmt::format("byte {}", source.offset), "a picture", "the end of the GIF");
    int code = 0;
    GifByteType* block = nullptr;  // a length, then as many bytes
    if (DGifGetExtension(&gif, &code, &block) == GIF_ERROR) return std::unexpected(damaged(source, gif.Error));
    GraphicsControlBlock control{};
    if (code == GRAPHICS_EXT_FUNC_CODE && block != nullptr &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
      transparent = control.TransparentColor;
    while (block != nullptr)
      if (DGifGetExtensionNext(&gif, &block) == GIF_ERROR) return std::unexpected(damaged(source, gif.Error));
  }
}

struct Placement {
  int64_t left = 0, top = 0, width = 0, height = 0;
  bool interlaced = false;
};

// Row n of the file is this row of the picture. GIF89a, appendix E: every 8th from 0, every 8th from 4, every 4th from
// 2, every 2nd from 1.
std::vector<int64_t> row_order(const Placement& place) {
  struct Pass {
    int64_t first, step;
  };
  std::vector<int64_t> rows;
  const std::vector<Pass> passes =
      place.interlaced ? std::vector<Pass>{{0, 8}, {4, 8}, {2, 4}, {1, 2}} : std::vector<Pass>{{0, 1}};
  for (const auto [first, step] : passes)
    for (int64_t row = first; row < place.height; row += step) rows.push_back(row);
  return rows;
}

Result<void> read_pixels(GifFileType& gif, const GifSource& source, const Placement& place, int32_t transparent,
                         Image& image) {
  const ColorMapObject* colours = gif.Image.ColorMap != nullptr ? gif.Image.ColorMap : gif.SColorMap;
  if (colours == nullptr) return malformed("header", "a table of colours", "none");
  std::vector<GifPixelType> line(static_cast<size_t>(place.width));
  for (const int64_t row : row_order(place)) {
    if (DGifGetLine(&gif, line.data(), static_cast<int>(place.width)) == GIF_ERROR)
      return std::unexpected(damaged(source, gif.Error).in(fmt::format("row {} of {}", row, place.height)));
    uint8_t* out = image.pixels.data() + ((place.top + row) * image.width + place.left) * 3;
    for (const GifPixelType index : line) {
      if (index != transparent && index < colours->ColorCount) {
        const GifColorType colour = colours->Colors[index];
        out[0] = colour.Red;
        out[1] = colour.Green;
        out[2] = colour.Blue;
      }
      out += 3;
    }
  }
  return {};
}

}  // namespace

Result<Image> decode_gif(std::span<const std::byte> file, const ImageLimits& limits) {
  GifSource source{file};
  int error = 0;
  const std::unique_ptr<GifFileType, CloseGif> gif(DGifOpen(&source, read_source, &error));
  if (gif == nullptr) return std::unexpected(damaged(source, error));
  LAPIDARY_TRY(const int32_t transparent, find_first_picture(*gif, source));
  if (DGifGetImageDesc(gif.get()) == GIF_ERROR) return std::unexpected(damaged(source, gif->Error));
  const Placement place{gif->Image.Left, gif->Image.Top, gif->Image.Width, gif->Image.Height, gif->Image.Interlace};
  if (place.left < 0 || place.top < 0 || place.width <= 0 || place.height <= 0)
    return malformed("header", "a first picture of at least 1 x 1 pixels",
                     fmt::format("{} x {}", place.width, place.height));

  // The screen, or more where the first picture reaches beyond it. What the picture leaves uncovered is white, like
  // everything transparent.
  LAPIDARY_CHECK(check_claim({place.width, place.height, file.size(), 4096}, limits));  // a code is at most 4096 pixels
  const ImageClaim canvas{std::max<int64_t>(gif->SWidth, place.left + place.width),
                          std::max<int64_t>(gif->SHeight, place.top + place.height), file.size()};
  LAPIDARY_CHECK(check_claim(canvas, limits));
  Image image = new_image(canvas, 255);
  LAPIDARY_CHECK(read_pixels(*gif, source, place, transparent, image));
  return image;
}

}  // namespace lapidary
