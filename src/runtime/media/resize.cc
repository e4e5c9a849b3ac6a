// torchvision's resize with bicubic interpolation and antialias on 8-bit pictures, byte for byte.
// In words: tests/golden/README.md, "Image resize".
#include <algorithm>
#include <cmath>
#include <vector>

#include "media/image.h"

namespace lapidary {
namespace {

// Keys' cubic with a = -0.5; zero beyond 2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// One output coordinate is the weighted sum of `count` inputs from `first`; its weights begin at `weights_at`.
struct Window {
  int32_t first = 0, count = 0;
  size_t weights_at = 0;
};

// A one-dimensional resampling in fixed point: sum(weight * input), shifted right by precision_bits.
struct Filter {
  std::vector<Window> windows;  // for each output
  std::vector<int16_t> weights;
  int32_t precision_bits = 0;
};

// The most bits after the point with which the largest weight still fits 16 bits with its sign.
int32_t precision_for(double weight_max) {
  int32_t bits = 0;
  while (bits < 22 && std::floor(0.5 + weight_max * static_cast<double>(1 << (bits + 1))) < 1 << 15) ++bits;
  return bits;
}

Filter make_filter(int32_t in_size, int32_t out_size) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);  // shrinking widens the kernel: this is the antialias
  const double support = 2 * stretch;
  Filter filter;
  std::vector<double> exact;
  double weight_max = 0;
  for (int32_t i = 0; i < out_size; ++i) {
    const double centre = scale * (i + 0.5);
    Window window;
    window.first = std::max(static_cast<int32_t>(centre - support + 0.5), 0);
    window.count = std::min(static_cast<int32_t>(centre + support + 0.5), in_size) - window.first;
    window.weights_at = exact.size();
    double total = 0;
    for (int32_t j = 0; j < window.count; ++j) {
      exact.push_back(cubic((j + window.first - centre + 0.5) * (1 / stretch)));
      total += exact.back();
    }
    for (size_t j = window.weights_at; j < exact.size(); ++j) {
      exact[j] /= total;
      weight_max = std::max(weight_max, exact[j]);
    }
    filter.windows.push_back(window);
  }
  filter.precision_bits = precision_for(weight_max);
  const double unit = 1 << filter.precision_bits;
  for (const double weight : exact)
    filter.weights.push_back(static_cast<int16_t>(weight * unit + (weight < 0 ? -0.5 : 0.5)));  // rounds half away
  return filter;
}

uint8_t to_byte(int32_t sum, int32_t precision_bits) {
  return static_cast<uint8_t>(std::clamp(sum >> precision_bits, 0, 255));
}

Image resize_width(const Image& image, int32_t width) {
  const Filter filter = make_filter(image.width, width);
  Image result{width, image.height, std::vector<uint8_t>(static_cast<size_t>(width) * image.height * 3)};
  uint8_t* out = result.pixels.data();
  for (int32_t y = 0; y < image.height; ++y) {
    const uint8_t* row = image.pixels.data() + static_cast<size_t>(y) * image.width * 3;
    for (const Window& window : filter.windows) {
      const uint8_t* in = row + static_cast<size_t>(window.first) * 3;
      const int16_t* weights = filter.weights.data() + window.weights_at;
      const int32_t half = 1 << filter.precision_bits >> 1;
      int32_t red = half, green = half, blue = half;
      for (int32_t j = 0; j < window.count; ++j, in += 3) {
        red += weights[j] * in[0];
        green += weights[j] * in[1];
        blue += weights[j] * in[2];
      }
      *out++ = to_byte(red, filter.precision_bits);
      *out++ = to_byte(green, filter.precision_bits);
      *out++ = to_byte(blue, filter.precision_bits);
    }
  }
  return result;
}

Image resize_height(const Image& image, int32_t height) {
  const Filter filter = make_filter(image.height, height);
  const size_t row_bytes = static_cast<size_t>(image.width) * 3;
  Image result{image.width, height, std::vector<uint8_t>(row_bytes * height)};
  std::vector<int32_t> sums(row_bytes);
  uint8_t* out = result.pixels.data();
  for (const Window& window : filter.windows) {
    std::fill(sums.begin(), sums.end(), 1 << filter.precision_bits >> 1);
    for (int32_t j = 0; j < window.count; ++j) {
      const uint8_t* in = image.pixels.data() + static_cast<size_t>(window.first + j) * row_bytes;
      const int32_t weight = filter.weights[window.weights_at + static_cast<size_t>(j)];
      for (size_t i = 0; i < row_bytes; ++i) sums[i] += weight * in[i];
    }
    for (size_t i = 0; i < row_bytes; ++i) *out++ = to_byte(sums[i], filter.precision_bits);
  }
  return result;
}

}  // namespace

Image resize_bicubic(const Image& image, int32_t width, int32_t height) {
  if (width == image.width && height == image.height) return image;
  return resize_height(resize_width(image, width), height);
}

}  // namespace lapidary
