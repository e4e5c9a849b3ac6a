#include "model/products.h"

#include <algorithm>

#include "tensor/dtype.h"

namespace lapidary {
namespace {

constexpr int64_t panel_rows = 16;  // rows of a weight matrix that are multiplied side by side
constexpr int64_t panel_grain = 4;  // panels that a thread takes at a time, at least: kernels work on so many together
constexpr int64_t column_grain = 1024;  // columns of the activations that a thread quantises at a time

bool is_quantized(DType dtype) { return dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16; }

}  // namespace

void Products::multiply(const float* x, int32_t rows, int64_t columns, std::initializer_list<Product> products) {
  activations_.set(x, rows, columns);
  bool quantize = false;
  for (const Product& product : products) quantize = quantize || is_quantized(product.weights->dtype);
  if (quantize && kernels_.quantize_row != nullptr) {
    activations_.make_room();
    const int64_t parts = columns % column_grain == 0 ? columns / column_grain : 1, part = columns / parts;
    pool_.run(rows * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first = item % parts * part;
        activations_.quantize(kernels_.quantize_row, static_cast<int32_t>(item / parts), first, first + part);
      }
    });
  }
  int64_t panels = 0;
  for (const Product& product : products) panels += (product.weights->rows + panel_rows - 1) / panel_rows;
  pool_.run(panels, panel_grain, [&](int64_t begin, int64_t end) {
    for (const Product& product : products) {
      const int64_t count = (product.weights->rows + panel_rows - 1) / panel_rows;
      const int64_t first = std::max<int64_t>(0, begin), last = std::min(count, end);
      if (first < last)
        kernels_.matmul(*product.weights, first * panel_rows, std::min(last * panel_rows, product.weights->rows),
                        activations_.rows(), product.out, product.weights->rows);
      begin -= count;
      end -= count;
    }
  });
}

}  // namespace lapidary
