#include "media/exif.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "media/signature.h"

namespace lapidary {
namespace {

using Bytes = std::span<const std::byte>;

enum class ByteOrder : uint8_t { little, big };

// Every read below goes through these two: nothing outside `bytes` can be touched.
std::optional<uint32_t> read_number(Bytes bytes, uint64_t offset, uint32_t width_bytes, ByteOrder order) {
  if (offset > bytes.size() || bytes.size() - offset < width_bytes) return std::nullopt;
  uint32_t value = 0;
  for (uint32_t i = 0; i < width_bytes; ++i) {
    const uint32_t place = order == ByteOrder::big ? i : width_bytes - 1 - i;
    value = value << 8 | std::to_integer<uint32_t>(bytes[offset + place]);
  }
  return value;
}

Bytes slice(Bytes bytes, uint64_t offset, uint64_t size) {
  if (offset >= bytes.size()) return {};
  return bytes.subspan(offset, std::min<uint64_t>(size, bytes.size() - offset));
}

bool begins_with(Bytes bytes, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).starts_with(text);
}

constexpr std::string_view exif_prefix("Exif\0\0", 6);

// JPEG: marker segments FF xx, length, data, up to the start of the scan.
Bytes find_in_jpeg(Bytes file) {
  for (uint64_t offset = 2;;) {
    const auto lead = read_number(file, offset, 1, ByteOrder::big),
               marker = read_number(file, offset + 1, 1, ByteOrder::big);
    if (!lead || !marker || *lead != 0xff || *marker == 0xda || *marker == 0xd9) return {};
    if (*marker == 0xff) {  // a fill byte
      ++offset;
      continue;
    }
    offset += 2;
    if (*marker == 0x01 || (*marker >= 0xd0 && *marker <= 0xd7)) continue;  // markers without a length
    const auto length = read_number(file, offset, 2, ByteOrder::big);
    if (!length || *length < 2) return {};
    const Bytes segment = slice(file, offset + 2, *length - 2);
    if (*marker == 0xe1 && begins_with(segment, exif_prefix)) return segment;
    offset += *length;
  }
}

// PNG: length, type, data, checksum. WebP: type, length, data, padded to an even length.
Bytes find_in_png(Bytes file) {
  for (uint64_t offset = 8;;) {
    const auto length = read_number(file, offset, 4, ByteOrder::big);
    if (!length) return {};
    if (begins_with(slice(file, offset + 4, 4), "eXIf")) return slice(file, offset + 8, *length);
    offset += 12 + static_cast<uint64_t>(*length);
  }
}

Bytes find_in_webp(Bytes file) {
  for (uint64_t offset = 12;;) {
    const auto length = read_number(file, offset + 4, 4, ByteOrder::little);
    if (!length) return {};
    if (begins_with(slice(file, offset, 4), "EXIF")) return slice(file, offset + 8, *length);
    offset += 8 + static_cast<uint64_t>(*length) + (*length & 1);
  }
}

}  // namespace

int32_t tiff_orientation(Bytes block) {
  if (begins_with(block, exif_prefix)) block = block.subspan(exif_prefix.size());
  const ByteOrder order = begins_with(block, "MM") ? ByteOrder::big : ByteOrder::little;
  if (order == ByteOrder::little && !begins_with(block, "II")) return 1;
  const auto directory = read_number(block, 4, 4, order);
  if (!directory || read_number(block, 2, 2, order) != 42) return 1;
  const auto entries = read_number(block, *directory, 2, order);
  for (uint32_t i = 0; i < entries.value_or(0); ++i) {
    const uint64_t entry = *directory + 2 + uint64_t{12} * i;
    const auto tag = read_number(block, entry, 2, order), type = read_number(block, entry + 2, 2, order);
    if (!tag || !type) return 1;
    if (*tag != 0x0112) continue;
    const auto value = read_number(block, entry + 8, *type == 4 ? 4 : 2, order);  // a SHORT; some writers use a LONG
    return value && *value >= 1 && *value <= 8 ? static_cast<int32_t>(*value) : 1;
  }
  return 1;
}

int32_t exif_orientation(Bytes file) {
  switch (recognise_media(file)) {
    case MediaFormat::jpeg:
      return tiff_orientation(find_in_jpeg(file));
    case MediaFormat::png:
      return tiff_orientation(find_in_png(file));
    case MediaFormat::webp:
      return tiff_orientation(find_in_webp(file));
    default:
      return 1;
  }
}

Image upright(Image image, int32_t orientation) {
  if (orientation <= 1) return image;
  // The stored picture is the upright one, mirrored and turned. For each stored orientation: does the upright picture
  // run along the stored columns (5..8), and is the stored row or column counted from its far end?
  const bool transposed = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result;
  result.width = transposed ? image.height : image.width;
  result.height = transposed ? image.width : image.height;
  result.pixels.resize(image.pixels.size());
  uint8_t* out = result.pixels.data();
  for (int32_t y = 0; y < result.height; ++y)
    for (int32_t x = 0; x < result.width; ++x, out += 3) {
      const int32_t column = transposed ? y : x, row = transposed ? x : y;
      const int64_t source_x = from_right ? image.width - 1 - column : column;
      const int64_t source_y = from_bottom ? image.height - 1 - row : row;
      const uint8_t* in = image.pixels.data() + (source_y * image.width + source_x) * 3;
      std::copy_n(in, 3, out);
    }
  return result;
}

}  // namespace lapidary
