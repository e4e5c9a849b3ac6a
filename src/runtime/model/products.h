// Matrix products, split over the threads of an engine.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/thread_pool.h"
#include "kernels/activations.h"

namespace lapidary {

// Keeps the quantised activations between calls. Not thread-safe.
class Products {
 public:
  // Both must outlive it.
  Products(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  struct Product {
    const TensorView* weights;
    float* out;  // [rows, weights->rows]
  };
  // out = weights * x for all rows, and for several weights of one input at once: x [rows, columns] is quantised once
  // for all of them.
  void multiply(const float* x, int32_t rows, int64_t columns, std::initializer_list<Product> products);

  // What multiply() keeps for a row of `columns`.
  static uint64_t row_bytes(int64_t columns) { return Activations::row_bytes(columns); }

 private:
  const Kernels& kernels_;
  ThreadPool& pool_;
  Activations activations_;
};

}  // namespace lapidary
