#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "base/byte_cursor.h"
#include "media/image_codecs.h"

namespace lapidary {
namespace {

// What the header chunk says, read here because libpng would first allocate for the chunks that follow it.
struct PngHeader {
  int64_t width = 0, height = 0;
  int32_t bits_per_pixel = 0;
};

int64_t read_big_endian(std::span<const std::byte> bytes) {
  int64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<int64_t>(byte);
  return value;
}

Result<PngHeader> read_header(std::span<const std::byte> file) {
  ByteCursor cursor(file);
  LAPIDARY_CHECK(cursor.seek(8, "the PNG signature"));
  LAPIDARY_TRY(const auto length, cursor.take(4, "a chunk's length"));
  LAPIDARY_TRY(const auto type, cursor.take_text(4, "a chunk's type"));
  if (type != "IHDR" || read_big_endian(length) != 13)
    return malformed("byte 8", "the chunk IHDR of 13 bytes", "another");
  LAPIDARY_TRY(const auto width, cursor.take(4, "the width"));
  LAPIDARY_TRY(const auto height, cursor.take(4, "the height"));
  LAPIDARY_TRY(const auto depth, cursor.read<uint8_t>("the bit depth"));
  LAPIDARY_TRY(const auto colour, cursor.read<uint8_t>("the colour type"));
  const int32_t samples = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
  return PngHeader{read_big_endian(width), read_big_endian(height), std::max(1, samples * depth)};
}

// Everything the guarded steps below touch. Plain data: libpng reports errors with longjmp, which runs no destructors,
// so nothing on the jumped-over stack may own anything.
struct PngReader {
  std::span<const std::byte> file;
  size_t offset = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  uint8_t* pixels = nullptr;
  size_t row_bytes = 0;
  int32_t height = 0, row = 0;
  char message[160] = "out of memory";

  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::strncpy(reader->message, message, sizeof(reader->message) - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, png_size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (size > reader->file.size() - reader->offset) png_error(png, "the end of the file");
  std::memcpy(out, reader->file.data() + reader->offset, size);
  reader->offset += size;
}

// Runs a step that may longjmp. False: it failed, reader.message says why.
bool guarded(PngReader& reader, void (*step)(PngReader&)) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  step(reader);
  return true;
}

void read_until_pixels(PngReader& reader) {
  png_read_info(reader.png, reader.info);
  png_set_expand(reader.png);    // palette, fewer than 8 bits and tRNS become 8-bit colour with alpha
  png_set_strip_16(reader.png);  // the high byte, as the official processor's loader takes it
  png_set_gray_to_rgb(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
}

void read_rows(PngReader& reader) {
  for (int32_t pass = png_get_interlace_type(reader.png, reader.info) == PNG_INTERLACE_NONE ? 1 : 7; pass > 0; --pass)
    for (reader.row = 0; reader.row < reader.height; ++reader.row)
      png_read_row(reader.png, reader.pixels + static_cast<size_t>(reader.row) * reader.row_bytes, nullptr);
}

std::unexpected<Error> damaged(const PngReader& reader, std::string_view where) {
  return malformed(fmt::format("{}, byte {}", where, reader.offset), "sound PNG data", reader.message);
}

}  // namespace

Result<Image> decode_png(std::span<const std::byte> file, const ImageLimits& limits) {
  LAPIDARY_TRY(const PngHeader header, read_header(file));
  // Deflate makes at most 1032 bytes out of one.
  ImageClaim claim{header.width, header.height, file.size(), 1032 * 8 / header.bits_per_pixel, 3};
  LAPIDARY_CHECK(check_claim(claim, limits));

  PngReader reader{.file = file};
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return fail(ErrorKind::out_of_memory, "", "no memory for the PNG reader");
  png_set_read_fn(reader.png, &reader, on_read);
  png_set_user_limits(reader.png, static_cast<png_uint_32>(limits.side_max), static_cast<png_uint_32>(limits.side_max));
  png_set_chunk_malloc_max(reader.png, 4 << 20);
  png_set_chunk_cache_max(reader.png, 1024);
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);  // nothing that is not needed is parsed

  if (!guarded(reader, read_until_pixels)) return damaged(reader, "header");
  claim.channels = png_get_channels(reader.png, reader.info);
  Image image = new_image(claim);
  reader.pixels = image.pixels.data();
  reader.row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(claim.channels);
  reader.height = image.height;
  if (png_get_rowbytes(reader.png, reader.info) != reader.row_bytes) return malformed("header", "8-bit rows", "others");
  if (!guarded(reader, read_rows)) return damaged(reader, fmt::format("row {} of {}", reader.row, reader.height));
  if (claim.channels == 4) composite_on_white(image);
  return image;
}

}  // namespace lapidary
