// stdio before jpeglib, which uses FILE without asking for it.
#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "media/image_codecs.h"

namespace lapidary {
namespace {

// A progressive file may hold any number of scans over the whole picture; real ones have about ten.
constexpr int scans_max = 100;

// Everything the guarded steps below touch. Plain data: libjpeg reports errors with longjmp, which runs no destructors,
// so nothing on the jumped-over stack may own anything.
struct JpegReader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  jmp_buf escape{};
  std::span<const std::byte> file;
  bool file_ended = false;
  uint8_t* pixels = nullptr;
  size_t row_bytes = 0;
  char message[JMSG_LENGTH_MAX] = "";

  ~JpegReader() { jpeg_destroy_decompress(&jpeg); }
};

JpegReader& reader_of(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }

[[noreturn]] void give_up(j_common_ptr jpeg) {
  jpeg->err->format_message(jpeg, reader_of(jpeg).message);
  longjmp(reader_of(jpeg).escape, 1);
}

[[noreturn]] void give_up(JpegReader& reader, const char* message) {
  std::strncpy(reader.message, message, sizeof(reader.message) - 1);
  longjmp(reader.escape, 1);
}

// Of the warnings only one means that a part of the picture is missing; libjpeg would go on in grey.
void on_message(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code == JWRN_HIT_MARKER)
    give_up(reader_of(jpeg), "a marker where the picture goes on");
}

void on_output(j_common_ptr) {}
void on_source_start(j_decompress_ptr) {}
void on_source_end(j_decompress_ptr) {}

// At the end of the file the decoder is given an end marker. Whether something was missing shows afterwards.
boolean on_source_empty(j_decompress_ptr jpeg) {
  static constexpr JOCTET end_marker[2] = {0xff, JPEG_EOI};
  JpegReader& reader = reader_of(reinterpret_cast<j_common_ptr>(jpeg));
  reader.file_ended = true;
  reader.source.next_input_byte = end_marker;
  reader.source.bytes_in_buffer = sizeof(end_marker);
  return TRUE;
}

void on_source_skip(j_decompress_ptr jpeg, long size) {
  jpeg_source_mgr& source = *jpeg->src;
  if (size <= 0) return;
  if (static_cast<unsigned long>(size) > source.bytes_in_buffer) {
    on_source_empty(jpeg);
    return;
  }
  source.next_input_byte += size;
  source.bytes_in_buffer -= static_cast<size_t>(size);
}

void on_progress(j_common_ptr jpeg) {
  JpegReader& reader = reader_of(jpeg);
  if (reader.jpeg.input_scan_number > scans_max) give_up(reader, "the picture has too many scans");
}

// Runs a step that may longjmp. False: it failed, reader.message says why.
bool guarded(JpegReader& reader, void (*step)(JpegReader&)) {
  if (setjmp(reader.escape) != 0) return false;
  step(reader);
  return true;
}

void read_header(JpegReader& reader) {
  jpeg_create_decompress(&reader.jpeg);
  reader.source.next_input_byte = reinterpret_cast<const JOCTET*>(reader.file.data());
  reader.source.bytes_in_buffer = reader.file.size();
  reader.source.init_source = on_source_start;
  reader.source.fill_input_buffer = on_source_empty;
  reader.source.skip_input_data = on_source_skip;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = on_source_end;
  reader.jpeg.src = &reader.source;
  reader.progress.progress_monitor = on_progress;
  reader.jpeg.progress = &reader.progress;
  jpeg_read_header(&reader.jpeg, TRUE);
  const bool four_inks = reader.jpeg.jpeg_color_space == JCS_CMYK || reader.jpeg.jpeg_color_space == JCS_YCCK;
  reader.jpeg.out_color_space = four_inks ? JCS_CMYK : JCS_RGB;
}

void read_rows(JpegReader& reader) {
  jpeg_start_decompress(&reader.jpeg);
  while (reader.jpeg.output_scanline < reader.jpeg.output_height) {
    JSAMPROW row = reader.pixels + static_cast<size_t>(reader.jpeg.output_scanline) * reader.row_bytes;
    jpeg_read_scanlines(&reader.jpeg, &row, 1);
  }
}

// Four inks, stored inverted as all programs do that write such files: 255 is no ink.
void inks_to_rgb(Image& image) {
  const size_t pixels = image.pixels.size() / 4;
  const uint8_t* in = image.pixels.data();
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < pixels; ++i, in += 4, out += 3) {
    const int32_t black = in[3];
    for (int32_t c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>((in[c] * black + 127) / 255);
  }
  image.pixels.resize(pixels * 3);
}

std::unexpected<Error> damaged(const JpegReader& reader, std::string_view where) {
  // Once the end marker stands in for the file, the rest of the buffer says nothing about the place.
  const uint64_t offset = reader.file_ended ? reader.file.size() : reader.file.size() - reader.source.bytes_in_buffer;
  return malformed(fmt::format("{}, byte {}", where, offset), "sound JPEG data",
                   reader.file_ended ? "the end of the file" : reader.message);
}

}  // namespace

Result<Image> decode_jpeg(std::span<const std::byte> file, const ImageLimits& limits) {
  JpegReader reader;
  reader.file = file;
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = [](j_common_ptr jpeg) { give_up(jpeg); };
  reader.errors.emit_message = on_message;
  reader.errors.output_message = on_output;
  reader.jpeg.client_data = &reader;
  if (!guarded(reader, read_header)) return damaged(reader, "header");

  ImageClaim claim{reader.jpeg.image_width, reader.jpeg.image_height, file.size()};
  claim.channels = reader.jpeg.out_color_space == JCS_CMYK ? 4 : 3;
  // Huffman codes need at least one bit for each block of 8 x 8; arithmetic ones can do with less.
  if (!reader.jpeg.arith_code) claim.pixels_per_byte_max = 8 * 64;
  LAPIDARY_CHECK(check_claim(claim, limits));

  Image image = new_image(claim);
  reader.pixels = image.pixels.data();
  reader.row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(claim.channels);
  if (!guarded(reader, read_rows))
    return damaged(reader, fmt::format("row {} of {}", reader.jpeg.output_scanline, image.height));
  // A single scan with Huffman codes has complained already if it lacked anything; the others would not.
  if (reader.file_ended && (jpeg_has_multiple_scans(&reader.jpeg) || reader.jpeg.arith_code))
    return damaged(reader, "last scan");
  if (claim.channels == 4) inks_to_rgb(image);
  return image;
}

}  // namespace lapidary
