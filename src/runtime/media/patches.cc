// gemma4.md 3.1 (size) and 3.2 (order of the values in a patch).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "media/image.h"

namespace lapidary {

Result<PatchGrid> patch_grid(int32_t width, int32_t height, int32_t budget, int32_t patch) {
  constexpr int64_t side_max = 1 << 20;  // of the resized picture: keeps every size below in range
  if (width <= 0 || height <= 0 || budget <= 0 || patch <= 0 || static_cast<int64_t>(budget) * patch > side_max)
    return fail(ErrorKind::wrong_use, "",
                fmt::format("a picture of {} x {} pixels has no grid of {} patches of {} pixels", width, height, budget,
                            patch));
  // In doubles and in this order of operations, as the official processor: the result is cut down to whole patches.
  const double target_pixels = static_cast<double>(budget) * patch * patch;
  const double factor = std::sqrt(target_pixels / (static_cast<double>(width) * height));
  PatchGrid grid;
  grid.columns = static_cast<int32_t>(std::floor(factor * width / patch));
  grid.rows = static_cast<int32_t>(std::floor(factor * height / patch));
  if (grid.columns == 0 && grid.rows == 0) return PatchGrid{1, 1};
  // So long and thin that its short side is less than a patch: the short side becomes one patch.
  if (grid.rows == 0) return PatchGrid{std::min(width / height, budget), 1};
  if (grid.columns == 0) return PatchGrid{1, std::min(height / width, budget)};
  return grid;  // columns * rows <= budget: both were cut down from numbers whose product is the budget
}

Result<ImagePatches> make_patches(const Image& image, int32_t budget, int32_t patch) try {
  LAPIDARY_TRY(const PatchGrid grid, patch_grid(image.width, image.height, budget, patch));
  const Image resized = resize_bicubic(image, grid.columns * patch, grid.rows * patch);
  ImagePatches result{grid, patch, {}};
  result.values.reserve(resized.pixels.size());
  const int64_t row_bytes = static_cast<int64_t>(resized.width) * 3, patch_row_bytes = static_cast<int64_t>(patch) * 3;
  for (int32_t patch_y = 0; patch_y < grid.rows; ++patch_y)
    for (int32_t patch_x = 0; patch_x < grid.columns; ++patch_x)
      for (int32_t y = 0; y < patch; ++y) {
        const auto row = resized.pixels.begin() + (static_cast<int64_t>(patch_y) * patch + y) * row_bytes;
        result.values.insert(result.values.end(), row + patch_x * patch_row_bytes,
                             row + (patch_x + 1) * patch_row_bytes);
      }
  return result;
} catch (const std::bad_alloc&) {
  return fail(ErrorKind::out_of_memory, "", "the resized picture does not fit into memory");
}

}  // namespace lapidary
