#include "kernels/activations.h"

namespace lapidary {

void Activations::set(const float* values, int32_t rows, int64_t columns) {
  rows_ = {.rows = rows, .columns = columns, .values = values};
}

void Activations::make_room() {
  const size_t blocks = static_cast<size_t>(rows_.rows) * static_cast<size_t>(rows_.columns / 32);
  const auto fit = [](auto& buffer, size_t size) {
    if (buffer.size() < size) buffer.resize(size);
    return buffer.data();
  };
  rows_.quantized = fit(quantized_, blocks * 32);
  rows_.scales = fit(scales_, blocks);
  rows_.sums_of_32 = fit(sums_of_32_, blocks);
  rows_.sums_of_16 = fit(sums_of_16_, blocks * 2);
}

void Activations::quantize(QuantizeRow quantize_row, int32_t row, int64_t begin, int64_t end) {
  const auto at = static_cast<size_t>(activation_block(rows_, row, begin / 32));
  const int64_t stride = activation_block(rows_, row, 1) - activation_block(rows_, row, 0);
  quantize_row(rows_.values + row * rows_.columns + begin, end - begin, stride, quantized_.data() + at * 32,
               scales_.data() + at, sums_of_32_.data() + at, sums_of_16_.data() + at * 2);
}

uint64_t Activations::row_bytes(int64_t columns) {
  // Per 32 values: the values, a scale, three sums.
  return static_cast<uint64_t>((columns + 31) / 32) * (32 + 4 + 3 * 4);
}

}  // namespace lapidary
