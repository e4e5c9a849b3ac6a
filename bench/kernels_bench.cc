// Speed of the products, alone: GB/s of weights for one activation row (decoding), GOPS for many (prompts).
//   kernels_bench [seconds per measurement] [rows of the weights]
// Weights are arbitrary bytes, by default more than any cache holds. Fails if the results, of which a hash is printed,
// are not the same for all variants and numbers of threads.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <vector>

#include "base/system.h"
#include "base/thread_pool.h"
#include "kernels/activations.h"

namespace lapidary {
namespace {

struct Case {
  DType dtype;
  std::vector<std::byte> bytes;
  TensorView weights;
};

Case make_case(DType dtype, int64_t rows, int64_t columns) {
  Case result = {dtype, {}, {}};
  const DTypeInfo& info = dtype_info(dtype);
  const int64_t row_bytes = columns / info.block_values * info.block_bytes;
  result.bytes.resize(static_cast<size_t>(rows * row_bytes));
  uint32_t state = 1;
  for (std::byte& byte : result.bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<std::byte>(state >> 24 & 0x3f);  // no exponent of a half is all ones
  }
  result.weights = {dtype, result.bytes.data(), rows, columns, row_bytes};
  return result;
}

// Rows of made-up values, quantised.
struct Rows {
  std::vector<float> values;
  Activations activations;
};

Rows make_rows(const Kernels& kernels, int32_t count, int64_t columns) {
  Rows rows;
  rows.values.resize(static_cast<size_t>(count * columns));
  for (size_t i = 0; i < rows.values.size(); ++i)
    rows.values[i] = static_cast<float>(static_cast<int>(i * 2654435761u % 1000) - 500) / 500;
  rows.activations.set(rows.values.data(), count, columns);
  rows.activations.make_room();
  for (int32_t m = 0; m < count; ++m) rows.activations.quantize(kernels.quantize_row, m, 0, columns);
  return rows;
}

struct Measured {
  double seconds;  // of the fastest pass over all weights
  uint64_t hash;
};

Measured measure(const Kernels& kernels, const Case& c, const ActivationRows& x, ThreadPool& pool, double seconds_max) {
  std::vector<float> y(static_cast<size_t>(x.rows * c.weights.rows));
  Measured measured = {1e30, 0xcbf29ce484222325};
  for (const double begin = monotonic_seconds(); monotonic_seconds() - begin < seconds_max;) {
    const double start = monotonic_seconds();
    pool.run(c.weights.rows, 16,
             [&](int64_t first, int64_t last) { kernels.matmul(c.weights, first, last, x, y.data(), c.weights.rows); });
    measured.seconds = std::min(measured.seconds, monotonic_seconds() - start);
  }
  for (const float value : y) measured.hash = (measured.hash ^ std::bit_cast<uint32_t>(value)) * 0x100000001b3;
  return measured;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  using namespace lapidary;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
  const int64_t rows = argc > 2 ? std::atoi(argv[2]) : 61440;  // hundreds of megabytes: memory, not caches
  constexpr int64_t columns = 3840;
  fmt::print("{}, weights [{}, {}]\n", cpu_name(), rows, columns);
  fmt::print("{:<11} {:<7} {:>7} {:>11} {:>13} {:>13}  {}\n", "kernels", "type", "threads", "M=1 GB/s", "M=8 GOPS",
             "M=256 GOPS", "hash of M=8");
  bool same = true;
  for (const DType dtype :
       {DType::q4_0, DType::q8_0, DType::q4_k, DType::q5_k, DType::q6_k, DType::q5_0, DType::bf16}) {
    const Case c = make_case(dtype, rows, columns);
    Case small = c;
    small.weights.rows = std::min<int64_t>(rows, 1024);  // enough for M = 256
    uint64_t hash = 0;
    for (const Kernels* kernels : available_kernels())
      for (const int threads : {1, 2}) {
        if (kernels->quantize_row == nullptr) continue;
        ThreadPool pool(threads);
        const Measured one = measure(*kernels, c, make_rows(*kernels, 1, columns).activations.rows(), pool, seconds);
        const Measured eight = measure(*kernels, c, make_rows(*kernels, 8, columns).activations.rows(), pool, seconds);
        const Measured many =
            measure(*kernels, small, make_rows(*kernels, 256, columns).activations.rows(), pool, seconds);
        fmt::print("{:<11} {:<7} {:>7} {:>11.1f} {:>13.0f} {:>13.0f}  {:016x}\n", kernels->name, dtype_info(dtype).name,
                   threads, static_cast<double>(c.weights.bytes()) / one.seconds * 1e-9,
                   2e-9 * static_cast<double>(rows * columns) * 8 / eight.seconds,
                   2e-9 * static_cast<double>(small.weights.rows * columns) * 256 / many.seconds, eight.hash);
        if (hash == 0) hash = eight.hash;
        same = same && hash == eight.hash;
      }
  }
  return same ? 0 : 1;
}
