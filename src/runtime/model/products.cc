#include "model/products.h"

#include <algorithm>

#include "tensor/dtype.h"

namespace lapidary {
namespace {

constexpr int64_t panel_rows = 16;      // rows of a weight matrix that a thread takes at a time
constexpr int64_t column_grain = 1024;  // columns of the activations that a thread quantises at a time

bool is_quantized(DType dtype) { return dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16; }

}  // namespace

uint64_t Products::row_bytes(int64_t columns) {
  // Per 32 values: the values, a scale, three sums.
  return static_cast<uint64_t>((columns + 31) / 32) * (32 + 4 + 3 * 4);
}

void Products::multiply(const float* x, int32_t rows, int64_t columns, std::initializer_list<Product> products) {
  ActivationRows activations{rows, columns, x};
  bool quantize = false;
  for (const Product& product : products) quantize = quantize || is_quantized(product.weights->dtype);
  if (quantize && kernels_.quantize_row != nullptr) {
    const auto fit = [&](auto& buffer, int64_t count) {
      const auto size = static_cast<size_t>(rows) * static_cast<size_t>(count);
      if (buffer.size() < size) buffer.resize(size);
    };
    fit(quantized_, columns);
    fit(scales_, columns / 32);
    fit(sums_of_32_, columns / 32);
    fit(sums_of_16_, columns / 16);
    const int64_t parts = columns % column_grain == 0 ? columns / column_grain : 1, part = columns / parts;
    pool_.run(rows * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t at = item / parts * columns + item % parts * part;
        kernels_.quantize_row(x + at, part, quantized_.data() + at, scales_.data() + at / 32,
                              sums_of_32_.data() + at / 32, sums_of_16_.data() + at / 16);
      }
    });
    activations.quantized = quantized_.data();
    activations.scales = scales_.data();
    activations.sums_of_32 = sums_of_32_.data();
    activations.sums_of_16 = sums_of_16_.data();
  }
  int64_t panels = 0;
  for (const Product& product : products) panels += (product.weights->rows + panel_rows - 1) / panel_rows;
  pool_.run(panels, 1, [&](int64_t begin, int64_t end) {
    for (const Product& product : products) {
      const int64_t count = (product.weights->rows + panel_rows - 1) / panel_rows;
      const int64_t first = std::max<int64_t>(0, begin), last = std::min(count, end);
      if (first < last)
        kernels_.matmul(*product.weights, first * panel_rows, std::min(last * panel_rows, product.weights->rows),
                        activations, product.out, product.weights->rows);
      begin -= count;
      end -= count;
    }
  });
}

}  // namespace lapidary
