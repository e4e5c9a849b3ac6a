// A view of a matrix of weights, as it lies in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/dtype.h"

namespace lapidary {

// Row-major [rows, columns]; a row is row_bytes long and contiguous. Does not own: valid while the mapped file is.
// A vector is one row. No alignment is promised beyond one byte.
struct TensorView {
  DType dtype = DType::f32;
  const std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_bytes = 0;

  bool empty() const { return data == nullptr; }
  const std::byte* row(int64_t i) const { return data + i * row_bytes; }
  int64_t bytes() const { return rows * row_bytes; }
};

}  // namespace lapidary
