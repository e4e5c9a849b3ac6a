#include "media/exif.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>

#include "media/media_files_for_test.h"

namespace lapidary {
namespace {

// A bare block with one entry, the orientation.
std::string block(int32_t orientation, bool big_endian) {
  const char value = static_cast<char>(orientation);
  using namespace std::string_literals;
  return big_endian ? "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"s + value + "\0\0\0\0\0\0"s
                    : "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"s + value + "\0\0\0\0\0\0\0"s;
}

FileBytes jpeg_with(int32_t orientation) {
  using namespace std::string_literals;
  const std::string data = "Exif\0\0"s + block(orientation, orientation % 2 == 0);
  FileBytes segment = bytes_of("\xff\xe1\0"s + static_cast<char>(data.size() + 2) + data);
  FileBytes file = corpus_file("image/rgb.jpg");
  file.insert(file.begin() + 2, segment.begin(), segment.end());
  return file;
}

// 3 x 2 pixels, each named by a letter.
Image letters(int32_t width, int32_t height, const std::string& names) {
  Image image{width, height, {}};
  for (const char name : names) image.pixels.insert(image.pixels.end(), 3, static_cast<uint8_t>(name));
  return image;
}

}  // namespace

TEST_CASE("each of the eight orientations is turned upright") {
  // The stored picture is abc / def. What it means, from the Exif standard: for 6, for instance, the stored top row is
  // the right-hand column of the picture.
  struct Expected {
    int32_t width, height;
    const char* names;
  };
  constexpr std::array<Expected, 8> expected = {{{3, 2, "abcdef"},
                                                 {3, 2, "cbafed"},
                                                 {3, 2, "fedcba"},
                                                 {3, 2, "defabc"},
                                                 {2, 3, "adbecf"},
                                                 {2, 3, "daebfc"},
                                                 {2, 3, "fcebda"},
                                                 {2, 3, "cfbead"}}};
  for (int32_t orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const auto& [width, height, names] = expected[static_cast<size_t>(orientation - 1)];
    const Image image = upright(letters(3, 2, "abcdef"), orientation);
    CHECK(image.width == width);
    CHECK(image.height == height);
    CHECK(image.pixels == letters(width, height, names).pixels);
  }
}

TEST_CASE("the orientation is found in JPEG, PNG and WebP, in either byte order, and applied") {
  const Image plain = decode_image(corpus_file("image/rgb.jpg"), "rgb.jpg").value();
  for (int32_t orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const FileBytes file = jpeg_with(orientation);
    CHECK(exif_orientation(file) == orientation);
    const Image expected = upright(plain, orientation), image = decode_image(file, "it").value();
    CHECK(image.width == expected.width);
    CHECK(image.pixels == expected.pixels);
    for (const bool big_endian : {false, true})
      CHECK(tiff_orientation(bytes_of(block(orientation, big_endian))) == orientation);
  }
  CHECK(exif_orientation(corpus_file("image/turned.png")) == 6);
  CHECK(exif_orientation(corpus_file("image/turned.webp")) == 3);
  CHECK(exif_orientation(corpus_file("image/turned.jpg")) == 8);
  const Image png = decode_image(corpus_file("image/turned.png"), "turned.png").value();
  CHECK(png.pixels == upright(decode_image(corpus_file("image/rgb8.png"), "rgb8.png").value(), 6).pixels);
  CHECK(tiff_orientation(corpus_file("exif/big_long.exif")) == 5);
}

TEST_CASE("a damaged EXIF block means upright") {
  for (const char* name : {"damaged_value", "damaged_cut", "damaged_offset", "damaged_count", "damaged_magic"}) {
    CAPTURE(name);
    CHECK(tiff_orientation(corpus_file(std::string("exif/") + name + ".exif")) == 1);
  }
  const FileBytes whole = bytes_of(block(6, true));
  for (size_t size = 0; size < 20; ++size) CHECK(tiff_orientation(std::span(whole).first(size)) == 1);
  for (const char* name : {"image/rgb.jpg", "image/rgb8.png", "image/lossless.webp", "image/plain.gif",
                           "exif/fill_bytes.jpg", "exif/damaged_length.jpg"})
    CHECK(exif_orientation(corpus_file(name)) == 1);
}

}  // namespace lapidary
