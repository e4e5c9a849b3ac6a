#include <fmt/format.h>

#include <new>

#include "media/exif.h"
#include "media/image.h"
#include "media/image_codecs.h"
#include "media/signature.h"

namespace lapidary {
namespace {

std::string_view how_to_convert(MediaFormat format) {
  switch (format) {
    case MediaFormat::heic:
      return "`heif-convert picture.heic picture.png`";
    case MediaFormat::avif:
      return "`heif-convert picture.avif picture.png`";
    case MediaFormat::svg:
      return "`rsvg-convert -o picture.png picture.svg`";
    case MediaFormat::pdf:
      return "`pdftoppm -png -r 150 document.pdf page` (a picture for each page)";
    default:
      return "`magick PICTURE picture.png`";
  }
}

std::unexpected<Error> not_readable(MediaFormat format) {
  const auto [name, media_class] = media_format_info(format);
  std::string advice;
  switch (media_class) {
    case MediaClass::picture:
    case MediaClass::document:
      advice = fmt::format("convert it with {}", how_to_convert(format));
      break;
    case MediaClass::video:
      advice = "take a picture out of it with `ffmpeg -i FILM -frames:v 1 picture.png`";
      break;
    case MediaClass::sound:
      advice = "pass it as a sound";
      break;
    case MediaClass::unknown:
      return malformed("byte 0", "a JPEG, PNG, WebP or GIF picture", name);
  }
  return fail(ErrorKind::unsupported, "",
              fmt::format("this is {}; pictures are read from JPEG, PNG, WebP and GIF: {}", name, advice));
}

Result<Image> decode_stored(std::span<const std::byte> file, const ImageLimits& limits) {
  if (file.empty()) return malformed("", "a picture", "an empty file");
  if (file.size() > static_cast<uint64_t>(limits.file_bytes_max))
    return fail(ErrorKind::limit, "",
                fmt::format("the file has {} bytes, at most {} are read", file.size(), limits.file_bytes_max));
  const MediaFormat format = recognise_media(file);
  switch (format) {
    case MediaFormat::png:
      return decode_png(file, limits);
    case MediaFormat::jpeg:
      return decode_jpeg(file, limits);
    case MediaFormat::webp:
      return decode_webp(file, limits);
    case MediaFormat::gif:
      return decode_gif(file, limits);
    default:
      return not_readable(format);
  }
}

}  // namespace

Result<void> check_claim(const ImageClaim& claim, const ImageLimits& limits) {
  if (claim.width <= 0 || claim.height <= 0)
    return malformed("header", "a picture of at least 1 x 1 pixels", fmt::format("{} x {}", claim.width, claim.height));
  if (claim.width > limits.side_max || claim.height > limits.side_max || claim.width * claim.height > limits.pixels_max)
    return fail(ErrorKind::limit, "header",
                fmt::format("the picture has {} x {} pixels; at most {} a side and {} in all are read", claim.width,
                            claim.height, limits.side_max, limits.pixels_max));
  if (static_cast<uint64_t>(claim.width * claim.height / claim.pixels_per_byte_max) > claim.file_bytes)
    return malformed("header", fmt::format("a file that can hold {} x {} pixels", claim.width, claim.height),
                     fmt::format("only {} bytes; it is cut short", claim.file_bytes));
  return {};
}

Image new_image(const ImageClaim& claim, uint8_t value) {
  Image image;
  image.width = static_cast<int32_t>(claim.width);
  image.height = static_cast<int32_t>(claim.height);
  image.pixels.assign(static_cast<size_t>(claim.width * claim.height * claim.channels), value);
  return image;
}

void composite_on_white(Image& image) {
  // The three colours of a pixel move to the front of their four bytes or further: the write never overtakes the read.
  const size_t pixels = image.pixels.size() / 4;
  const uint8_t* in = image.pixels.data();
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < pixels; ++i, in += 4, out += 3) {
    const int32_t alpha = in[3];
    for (int32_t c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>((in[c] * alpha + 255 * (255 - alpha) + 127) / 255);
  }
  image.pixels.resize(pixels * 3);
}

Result<Image> decode_image(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits) {
  try {
    auto image = decode_stored(file, limits);
    if (!image.has_value()) return std::unexpected(std::move(image).error().in(name));
    return upright(std::move(image).value(), exif_orientation(file));
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::out_of_memory, name, "the decoded picture does not fit into memory");
  }
}

}  // namespace lapidary
