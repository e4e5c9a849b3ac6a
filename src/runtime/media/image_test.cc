#include "media/image.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/system.h"
#include "media/media_files_for_test.h"

namespace lapidary {
namespace {

// The picture that fuzz/make_media_corpus.py writes in every format.
constexpr int32_t test_width = 20, test_height = 12;
int32_t test_colour(int32_t x, int32_t y, int32_t channel) {
  return channel == 0 ? 10 + 12 * x : channel == 1 ? 10 + 20 * y : 200 - 5 * x - 8 * y;
}
int32_t test_alpha(int32_t x, int32_t y) { return 12 * x + 2 * y; }

// What PIL's alpha_composite gives: the exact quotient, rounded.
int32_t on_white(int32_t colour, int32_t alpha) { return (2 * (colour * alpha + 255 * (255 - alpha)) + 255) / 510; }

Image decoded(const std::string& name) {
  auto image = decode_image(corpus_file("image/" + name), name);
  if (!image) FAIL(image.error().text());
  return std::move(image).value();
}

Error refusal(const FileBytes& file, const ImageLimits& limits = {}) {
  const auto image = decode_image(file, "it", limits);
  REQUIRE_FALSE(image.has_value());
  return image.error();
}

// The largest difference from expected(x, y, channel).
template <typename Expected>
int32_t distance(const Image& image, Expected expected) {
  REQUIRE(image.width == test_width);
  REQUIRE(image.height == test_height);
  REQUIRE(image.pixels.size() == size_t{3} * test_width * test_height);
  int32_t largest = 0;
  for (int32_t y = 0; y < test_height; ++y)
    for (int32_t x = 0; x < test_width; ++x)
      for (int32_t c = 0; c < 3; ++c)
        largest = std::max(
            largest, std::abs(image.pixels[static_cast<size_t>((y * test_width + x) * 3 + c)] - expected(x, y, c)));
  return largest;
}

int32_t test_grey(int32_t x, int32_t y, int32_t) { return test_colour(x, y, 0); }
int32_t test_on_white(int32_t x, int32_t y, int32_t c) { return on_white(test_colour(x, y, c), test_alpha(x, y)); }

void append_big_endian(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

// A PNG whose header claims a size and whose data is as good as absent.
FileBytes png_that_claims(uint32_t width, uint32_t height, char depth, char colour) {
  FileBytes file = corpus_file("image/rgb8.png");
  std::string header;
  append_big_endian(header, width);
  append_big_endian(header, height);
  header += {depth, colour, 0, 0, 0};
  std::string with_type = "IHDR" + header, checksum;
  append_big_endian(checksum, static_cast<uint32_t>([&] {
                      uint32_t crc = ~0U;
                      for (const char c : with_type) {
                        crc ^= static_cast<unsigned char>(c);
                        for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
                      }
                      return ~crc;
                    }()));
  const FileBytes patch = bytes_of(header + checksum);
  std::copy(patch.begin(), patch.end(), file.begin() + 16);
  return file;
}

}  // namespace

TEST_CASE("every kind of PNG becomes the same 8-bit RGB") {
  for (const char* name : {"rgb8.png", "rgb8_interlaced.png", "rgb16.png", "palette8.png"}) {
    CAPTURE(name);
    CHECK(distance(decoded(name), test_colour) == 0);
  }
  for (const char* name : {"grey8.png", "grey16.png"}) {
    CAPTURE(name);
    CHECK(distance(decoded(name), test_grey) == 0);
  }
  for (const int32_t depth : {1, 2, 4}) {
    CAPTURE(depth);
    CHECK(distance(decoded(fmt::format("grey{}.png", depth)), [&](int32_t x, int32_t y, int32_t) {
            return (test_colour(x, y, 0) >> (8 - depth)) * 255 / ((1 << depth) - 1);
          }) == 0);
  }
  const Image two_bits = decoded("palette2.png");
  for (size_t i = 0; i < two_bits.pixels.size(); i += 3) {
    CHECK(two_bits.pixels[i] % 3 == 0);
    CHECK(two_bits.pixels[i] <= 9);
    CHECK(two_bits.pixels[i + 2] == two_bits.pixels[i] + 2);
  }
}

TEST_CASE("transparent pictures are put on white, rounded like the official processor's loader") {
  for (const char* name : {"rgba8.png", "rgba16_interlaced.png", "lossless_alpha.webp"}) {
    CAPTURE(name);
    CHECK(distance(decoded(name), test_on_white) == 0);
  }
  CHECK(distance(decoded("grey_alpha8.png"),
                 [](int32_t x, int32_t y, int32_t) { return on_white(test_colour(x, y, 0), test_alpha(x, y)); }) == 0);
  CHECK(distance(decoded("rgb8_key.png"),
                 [](int32_t x, int32_t y, int32_t c) { return x == 0 && y == 0 ? 255 : test_colour(x, y, c); }) == 0);
  CHECK(distance(decoded("lossy_alpha.webp"), test_on_white) <= 16);
  // Entries 100 and up of the palette are clear: the palette is sorted by red, then green, so these are columns.
  CHECK(distance(decoded("palette8_clear.png"), [](int32_t x, int32_t y, int32_t c) {
          return x * test_height + y >= 100 ? 255 : test_colour(x, y, c);
        }) == 0);
}

TEST_CASE("JPEG: baseline, subsampled, progressive, grey, four inks") {
  CHECK(distance(decoded("rgb.jpg"), test_colour) <= 6);
  CHECK(distance(decoded("progressive.jpg"), test_colour) <= 6);
  CHECK(distance(decoded("subsampled.jpg"), test_colour) <= 24);
  CHECK(distance(decoded("inks.jpg"), test_colour) <= 8);
  CHECK(distance(decoded("grey.jpg"), [](int32_t x, int32_t y, int32_t) {
          return (299 * test_colour(x, y, 0) + 587 * test_colour(x, y, 1) + 114 * test_colour(x, y, 2) + 500) / 1000;
        }) <= 3);
  CHECK(decoded("rgb.jpg").pixels == decoded("progressive.jpg").pixels);
}

TEST_CASE("WebP: lossless, lossy, and the first frame of a film, where it lies") {
  CHECK(distance(decoded("lossless.webp"), test_colour) == 0);
  CHECK(distance(decoded("lossy.webp"), test_colour) <= 16);
  CHECK(distance(decoded("film.webp"), test_colour) == 0);

  // A canvas 4 pixels wider and 2 higher, the frame 4 to the right and 2 down.
  FileBytes file = corpus_file("image/film.webp");
  const std::string text(reinterpret_cast<const char*>(file.data()), file.size());
  file[24] = std::byte{test_width + 4 - 1};
  file[27] = std::byte{test_height + 2 - 1};
  const size_t frame = text.find("ANMF") + 8;
  file[frame] = std::byte{2};
  file[frame + 3] = std::byte{1};
  const auto image = decode_image(file, "film.webp");
  REQUIRE(image.has_value());
  REQUIRE(image->width == test_width + 4);
  REQUIRE(image->height == test_height + 2);
  CHECK(image->pixels[0] == 255);
  CHECK(image->pixels[static_cast<size_t>((2 * image->width + 4) * 3 + 2)] == test_colour(0, 0, 2));
  CHECK(image->pixels.back() == test_colour(test_width - 1, test_height - 1, 2));
}

TEST_CASE("GIF: interlaced, with a clear colour, and the first frame of a film, where it lies") {
  CHECK(distance(decoded("plain.gif"), test_colour) == 0);
  CHECK(distance(decoded("interlaced.gif"), test_colour) == 0);
  CHECK(distance(decoded("film.gif"), test_colour) == 0);
  CHECK(distance(decoded("clear.gif"),
                 [](int32_t x, int32_t y, int32_t c) { return x == 0 && y == 0 ? 255 : test_colour(x, y, c); }) == 0);

  // The frame 3 to the right and 2 down: it reaches beyond the screen, which grows.
  FileBytes file = corpus_file("image/plain.gif");
  const size_t descriptor = 13 + 3 * 256;
  REQUIRE(file[descriptor] == std::byte{','});
  file[descriptor + 1] = std::byte{3};
  file[descriptor + 3] = std::byte{2};
  const auto image = decode_image(file, "plain.gif");
  REQUIRE(image.has_value());
  REQUIRE(image->width == test_width + 3);
  REQUIRE(image->height == test_height + 2);
  CHECK(image->pixels[0] == 255);
  CHECK(image->pixels[static_cast<size_t>((2 * image->width + 3) * 3)] == test_colour(0, 0, 0));
}

TEST_CASE("a file cut short is refused, with the place") {
  for (const char* name :
       {"rgb8.png", "rgb8_interlaced.png", "rgb.jpg", "progressive.jpg", "lossless.webp", "lossy.webp", "plain.gif"}) {
    const FileBytes whole = corpus_file(std::string("image/") + name);
    // A PNG's checksum and end chunk, a JPEG's end marker and a GIF's end byte may be missing.
    const std::string extension = std::string(name).substr(std::string(name).rfind('.'));
    const size_t tail = extension == ".png" ? 12 + 4 + 4 : extension == ".webp" ? 2 : extension == ".gif" ? 6 : 4;
    for (int i = 0; i < 64; ++i) {
      CAPTURE(name);
      CAPTURE(i);
      const size_t size = std::min(whole.size() * static_cast<size_t>(i) / 64, whole.size() - tail);
      const Error error = refusal(FileBytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
      CHECK(error.kind == ErrorKind::refused);
      CHECK(error.where.starts_with("it"));
      CHECK_FALSE(error.message.empty());
    }
  }
  const Error jpeg = refusal(corpus_file("image/damaged_cut.jpg"));
  CHECK(jpeg.text() == "it: row 8 of 12, byte 783: expected sound JPEG data, found the end of the file");
  const Error png = refusal(corpus_file("image/damaged_cut.png"));
  CHECK(png.where.starts_with("it: row "));
  CHECK(png.message == "expected sound PNG data, found the end of the file");
  CHECK(refusal(corpus_file("image/damaged_marker.jpg")).message.find("a marker where the picture goes on") !=
        std::string::npos);
  CHECK(refusal(corpus_file("image/damaged_checksum.png")).message == "expected sound PNG data, found IHDR: CRC error");
  CHECK(refusal(corpus_file("image/damaged_cut.gif")).where.starts_with("it: row "));
  CHECK(distance(decoded("damaged_no_end.jpg"), test_colour) <= 6);  // nothing of the picture is missing
}

TEST_CASE("other formats are recognised by content, and the error says how to convert them") {
  struct Other {
    std::string_view bytes, name, advice;
  };
  using namespace std::string_view_literals;
  for (const auto& [bytes, name, advice] : std::initializer_list<Other>{
           {"\0\0\0\x18"
            "ftypheic\0\0\0\0"sv,
            "HEIC", "heif-convert"},
           {"\0\0\0\x18"
            "ftypmif1\0\0\0\0"sv,
            "HEIC", "heif-convert"},
           {"\0\0\0\x18"
            "ftypavif\0\0\0\0"sv,
            "AVIF", "heif-convert"},
           {"II*\0\x08\0\0\0"sv, "TIFF", "magick"},
           {"MM\0*\0\0\0\x08"sv, "TIFF", "magick"},
           {"BM\x36\0\0\0"sv, "BMP", "magick"},
           {"\xff\x0a\0\0"sv, "JPEG XL", "magick"},
           {"8BPS\0\1"sv, "Photoshop", "magick"},
           {"%PDF-1.7"sv, "PDF", "pdftoppm"},
           {"<?xml version='1.0'?><svg/>"sv, "SVG", "rsvg-convert"},
           {"\xef\xbb\xbf  <svg xmlns=''/>"sv, "SVG", "rsvg-convert"},
           {"\0\0\0\x18"
            "ftypisom\0\0\0\0"sv,
            "MP4", "ffmpeg"},
           {"\x1a\x45\xdf\xa3"sv, "Matroska", "ffmpeg"},
           {"RIFF\0\0\0\0AVI "sv, "AVI", "ffmpeg"},
           {"RIFF\0\0\0\0WAVE"sv, "WAV", "as a sound"},
       }) {
    const Error error = refusal(bytes_of(bytes));
    CAPTURE(error.message);
    CHECK(error.kind == ErrorKind::unsupported);
    CHECK(error.message.find(name) != std::string::npos);
    CHECK(error.message.find(advice) != std::string::npos);
  }
  CHECK(refusal(bytes_of("hello, world")).kind == ErrorKind::refused);
  CHECK(refusal({}).kind == ErrorKind::refused);
}

TEST_CASE("advisory 22: a picture that claims too much is refused from its header, without taking memory") {
  const uint64_t before = resident_bytes_peak();
  std::vector<FileBytes> bombs = {corpus_file("image/damaged_huge.png"), corpus_file("image/damaged_huge.jpg")};
  FileBytes gif = corpus_file("image/plain.gif");
  const size_t descriptor = 13 + 3 * 256;
  for (const size_t at : {descriptor + 5, descriptor + 7}) {
    gif[at] = std::byte{0x50};  // 50,000, little-endian
    gif[at + 1] = std::byte{0xc3};
  }
  bombs.push_back(gif);
  FileBytes webp = corpus_file("image/film.webp");
  for (const size_t at : {24, 27}) {
    webp[at] = std::byte{0x4f};  // 50,000 - 1 in three bytes
    webp[at + 1] = std::byte{0xc3};
  }
  bombs.push_back(webp);
  bombs.push_back(png_that_claims(50'000, 50'000, 1, 0));
  bombs.push_back(png_that_claims(0x7fff'ffff, 1, 8, 2));
  for (const FileBytes& bomb : bombs) {
    const Error error = refusal(bomb);
    CHECK_MESSAGE(error.kind == ErrorKind::limit, error.text());
    CHECK(error.where == "it: header");
  }
  // Within the limits, but more than so few bytes can hold.
  for (const FileBytes& file : {corpus_file("image/damaged_short.png"), png_that_claims(10'000, 10'000, 8, 6)}) {
    const Error error = refusal(file);
    CHECK(error.kind == ErrorKind::refused);
    CHECK_MESSAGE(error.message.find("cut short") != std::string::npos, error.text());
  }
  CHECK(refusal(png_that_claims(0, 5, 8, 2)).kind == ErrorKind::refused);
  CHECK(refusal(corpus_file("image/rgb8.png"), {.file_bytes_max = 100}).kind == ErrorKind::limit);
  CHECK(refusal(corpus_file("image/rgb8.png"), {.pixels_max = 239}).kind == ErrorKind::limit);
  CHECK(decode_image(corpus_file("image/rgb8.png"), "it", {.pixels_max = 240, .side_max = 20}).has_value());
  CHECK(refusal(corpus_file("image/film.gif"), {.side_max = 19}).kind == ErrorKind::limit);
  CHECK(resident_bytes_peak() - before < 32 << 20);
}

TEST_CASE("a flipped bit anywhere never crashes") {
  for (const char* name : {"rgb8_interlaced.png", "palette8_clear.png", "progressive.jpg", "inks.jpg",
                           "lossy_alpha.webp", "film.webp", "interlaced.gif", "turned.jpg"}) {
    const FileBytes whole = corpus_file(std::string("image/") + name);
    for (size_t i = 0; i < whole.size(); ++i) {
      FileBytes file = whole;
      file[i] ^= std::byte{static_cast<uint8_t>(1 << i % 8)};
      const auto image = decode_image(file, name, {.pixels_max = 1 << 20});
      if (image.has_value())
        CHECK(image->pixels.size() == static_cast<size_t>(image->width) * static_cast<size_t>(image->height) * 3);
    }
  }
}

}  // namespace lapidary
