// From the file to the patches, against the official processor's pictures.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "golden_case.h"
#include "media/image.h"
#include "media/media_files_for_test.h"

namespace lapidary {
namespace {

Image read_image(const std::string& path) {
  const auto file = MappedFile::open(path).value();
  return decode_image(file->bytes(), path).value();
}

// The pictures of a case: its images, or its film's frames (whose budget is 70).
struct CasePictures {
  std::vector<std::string> files;
  std::string prefix;
  int32_t budget = 280;
};
CasePictures pictures_of(const Json& meta) {
  CasePictures pictures;
  pictures.prefix = meta.value("images", Json::array()).empty() ? "video" : "image";
  pictures.files = meta.value(pictures.prefix == "video" ? "video_frames" : "images", std::vector<std::string>{});
  if (pictures.prefix == "video") pictures.budget = 70;
  if (meta.contains("budget") && meta["budget"].is_number()) pictures.budget = meta["budget"];
  return pictures;
}

// The first difference, in words; empty if there is none.
std::string difference(const Image& image, const Image& expected) {
  if (image.width != expected.width || image.height != expected.height)
    return std::to_string(image.width) + " x " + std::to_string(image.height) + ", not " +
           std::to_string(expected.width) + " x " + std::to_string(expected.height);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    if (image.pixels[i] != expected.pixels[i])
      return "value " + std::to_string(i) + " is " + std::to_string(image.pixels[i]) + ", not " +
             std::to_string(expected.pixels[i]);
  return "";
}

}  // namespace

TEST_CASE("every picture of the goldens is resized to the official bytes") {
  int pictures_seen = 0;
  for (const std::string model : {"unified", "dense"})
    for (const std::string& name : golden::case_names(model)) {
      const std::string base = golden::root() + model + "/cases/" + name;
      const CasePictures pictures = pictures_of(parse_json(read_file(base + ".json", 1 << 20).value(), base).value());
      for (size_t i = 0; i < pictures.files.size(); ++i, ++pictures_seen) {
        const Image image = read_image(golden::root() + model + "/media/" + pictures.files[i]);
        const Image expected = read_image(base + "." + pictures.prefix + std::to_string(i) + ".resized.png");
        const PatchGrid grid = patch_grid(image.width, image.height, pictures.budget, 48).value();
        const std::string found = difference(resize_bicubic(image, grid.columns * 48, grid.rows * 48), expected);
        CHECK_MESSAGE(found.empty(), model << "/" << name << " picture " << i << ": " << found);
      }
    }
  CHECK(pictures_seen >= 15);
}

TEST_CASE("pitfall 32: patches of 6912 values, rows then columns then colours, are the official ones") {
  for (const char* name : {"image_70", "image_280", "image_560", "two_images", "image_after_window", "mixed"}) {
    CAPTURE(name);
    const golden::Case expected = golden::load("unified", name);
    const CasePictures pictures = pictures_of(expected.meta);
    std::vector<uint8_t> values;
    for (const std::string& file : pictures.files) {
      const ImagePatches patches =
          make_patches(read_image(golden::root() + "unified/media/" + file), pictures.budget, 48).value();
      CHECK(patches.values.size() == static_cast<size_t>(patches.grid.columns * patches.grid.rows) * 6912);
      values.insert(values.end(), patches.values.begin(), patches.values.end());
    }
    const golden::Array& rows = expected.at("image_patches_u8");
    const std::vector<int32_t> index = expected.at("image_patch_index").ids();
    REQUIRE(rows.columns() == 6912);
    for (size_t i = 0; i < index.size(); ++i) {
      const uint8_t* patch = values.data() + static_cast<size_t>(index[i]) * 6912;
      CHECK(std::equal(patch, patch + 6912, rows.row(static_cast<int64_t>(i))));
    }
    CHECK(values.size() == expected.at("image_position_ids").shape[0] * size_t{6912});
  }
}

TEST_CASE("pitfall 1: a picture of 512 x 512 is scaled up to 256 tokens") {
  const ImagePatches patches =
      make_patches(Image{512, 512, std::vector<uint8_t>(size_t{512} * 512 * 3, 77)}, 280, 48).value();
  CHECK(patches.grid.columns * patches.grid.rows == 256);
  CHECK(std::all_of(patches.values.begin(), patches.values.end(), [](uint8_t v) { return v == 77; }));
}

TEST_CASE("the grid of known sizes") {
  struct Known {
    int32_t height, width, budget, rows, columns;
  };
  for (const auto& [height, width, budget, rows, columns] : std::initializer_list<Known>{
           {512, 512, 280, 16, 16},     // 768 x 768, 256 tokens
           {1080, 1920, 280, 12, 22},   // 576 x 1056, 264
           {480, 640, 280, 14, 19},     // 672 x 912, 266
           {100, 75, 280, 19, 14},      // 912 x 672, 266
           {512, 512, 70, 8, 8},        // 384 x 384, 64
           {1080, 1920, 1120, 25, 44},  // 1200 x 2112, 1100
           {512, 512, 1120, 33, 33},    // 1584 x 1584, 1089
           {10, 3000, 280, 1, 280},     // the short side would vanish: one row, as long as the budget
           {10, 2500, 280, 1, 264},     // a little less long: the formula itself
           {3000, 10, 280, 280, 1},
           {2500, 10, 70, 70, 1},
           {1, 1, 280, 16, 16},
           {1, 32'768, 1120, 1, 1120},
           {7, 7, 1, 1, 1},
       }) {
    CAPTURE(height);
    CAPTURE(width);
    CAPTURE(budget);
    const PatchGrid grid = patch_grid(width, height, budget, 48).value();
    CHECK(grid.rows == rows);
    CHECK(grid.columns == columns);
  }
}

TEST_CASE("no picture has an empty grid or one above its budget") {
  for (const int32_t budget : {1, 2, 7, 70, 140, 280, 560, 1120})
    for (int32_t width = 1; width <= 32'768; width = width * 3 / 2 + 1)
      for (int32_t height = 1; height <= 32'768; height = height * 4 / 3 + 1) {
        const PatchGrid grid = patch_grid(width, height, budget, 48).value();
        CHECK(grid.columns >= 1);
        CHECK(grid.rows >= 1);
        CHECK(grid.columns * grid.rows <= budget);
      }
  for (const auto& [width, height] : {std::pair{0, 5}, std::pair{5, 0}, std::pair{-1, 5}})
    CHECK(patch_grid(width, height, 280, 48).error().kind == ErrorKind::wrong_use);
  CHECK(patch_grid(5, 5, 0, 48).error().kind == ErrorKind::wrong_use);
  CHECK(patch_grid(5, 5, 280, 0).error().kind == ErrorKind::wrong_use);
  CHECK(patch_grid(5, 5, 1 << 30, 48).error().kind == ErrorKind::wrong_use);
  CHECK(make_patches({}, 280, 48).error().kind == ErrorKind::wrong_use);
}

TEST_CASE("pitfall 7: shrinking is antialiased, and the budget keeps small text apart") {
  // Stripes of one pixel become an even grey, not a pattern; a bilinear sample every few pixels would keep some of
  // them.
  Image stripes{960, 960, {}};
  for (int32_t i = 0; i < 960 * 960; ++i) stripes.pixels.insert(stripes.pixels.end(), 3, i % 2 == 0 ? 255 : 0);
  const Image small = resize_bicubic(stripes, 240, 240);
  const auto [darkest, brightest] = std::minmax_element(small.pixels.begin(), small.pixels.end());
  CHECK(*darkest >= 112);
  CHECK(*brightest <= 143);
  // Strokes of 2 pixels, 4 apart, on a page of 1600 x 1200: gone at 70 tokens, there at 1120.
  Image page{1600, 1200, {}};
  for (int32_t i = 0; i < 1600 * 1200; ++i) page.pixels.insert(page.pixels.end(), 3, i % 4 < 2 ? 255 : 0);
  const auto contrast = [&](int32_t budget) {
    const ImagePatches patches = make_patches(page, budget, 48).value();
    const auto middle = patches.values.begin() + static_cast<ptrdiff_t>(patches.values.size() / 6912 / 2 * 6912);
    const auto [low, high] = std::minmax_element(middle, middle + 6912);
    return *high - *low;
  };
  CHECK(contrast(70) < 60);
  CHECK(contrast(1120) > 240);
}

TEST_CASE("pitfall 45: a small picture is scaled up to the budget, never below what can be seen") {
  for (const int32_t side : {1, 5, 16, 47, 48, 100}) {
    Image image{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3), 9)};
    const ImagePatches patches = make_patches(image, 280, 48).value();
    CHECK(patches.grid.columns * patches.grid.rows == 256);
    CHECK(std::all_of(patches.values.begin(), patches.values.end(), [](uint8_t v) { return v == 9; }));
  }
}

TEST_CASE("a picture of the right size is not touched") {
  const Image image = read_image(golden::root() + "unified/cases/image_70.image0.resized.png");
  CHECK(resize_bicubic(image, image.width, image.height).pixels == image.pixels);
}

}  // namespace lapidary
