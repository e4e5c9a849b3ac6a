#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/system.h"
#include "kernels/activations.h"
#include "kernels/int8_contract.h"
#include "kernels/variants.h"
#include "tensor/code_block.h"
#include "tensor/dequantize.h"

namespace lapidary {
namespace avxvnni_by_avx512 {
extern const Kernels kernels;
}
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// The variants of the int8 family that this CPU can run, avxvnni in its stand-in if need be.
std::vector<const Kernels*> int8_family() {
  std::vector<const Kernels*> family = available_kernels();
  std::erase(family, &ref::kernels);
#if defined(__x86_64__)
  if (!cpu_features().avx_vnni && cpu_features().avx512_vnni) family.push_back(&avxvnni_by_avx512::kernels);
#endif
  return family;
}

std::vector<DType> quantized_types() {
  std::vector<DType> types;
  for (int i = 0; i < dtype_count; ++i)
    if (is_quantized(static_cast<DType>(i))) types.push_back(static_cast<DType>(i));
  return types;
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  int below(int limit) { return static_cast<int>(uint64_t{bits()} * static_cast<uint64_t>(limit) >> 32); }
  // About normal, variance 1.
  float normal() {
    float sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<float>(bits()) * 0x1p-32f;
    return sum - 6;
  }
  std::vector<float> normals(size_t n, float factor = 1) {
    std::vector<float> values(n);
    for (float& value : values) value = factor * normal();
    return values;
  }

 private:
  uint64_t state_;
};

bool same_bits(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return same_bits(x, y); });
}

// The largest |a - b|, or infinity where one is a NaN and the other not.
double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (same_bits(a[i], b[i])) continue;
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = std::isnan(difference) ? INFINITY : std::max(largest, difference);
  }
  return largest;
}

std::vector<int> places_of_halves(DType dtype) {
  switch (dtype) {
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k:
      return {0, 2};
    case DType::q3_k:
      return {108};
    case DType::q6_k:
      return {208};
    default:
      return {0};
  }
}

void put_half(std::byte* at, float value) {
  const uint16_t half = float_to_half(value);
  std::memcpy(at, &half, sizeof(half));
}

// A tensor that ends where its memory ends (reading past it is seen by the address sanitizer) and starts at an odd
// address.
struct Weights {
  std::vector<std::byte> bytes;
  TensorView view;
};

Weights make_weights(DType dtype, int64_t rows, int64_t columns, uint64_t seed) {
  const DTypeInfo& info = dtype_info(dtype);
  const int64_t row_bytes = columns / info.block_values * info.block_bytes;
  Weights weights;
  weights.bytes.resize(static_cast<size_t>(1 + rows * row_bytes));
  Random random(seed);
  std::byte* data = weights.bytes.data() + 1;
  if (is_quantized(dtype)) {
    for (int64_t i = 0; i < rows * row_bytes; ++i) data[i] = static_cast<std::byte>(random.bits() >> 24);
    for (int64_t block = 0; block < rows * columns / info.block_values; ++block)
      for (const int place : places_of_halves(dtype))
        put_half(data + block * info.block_bytes + place, 0.01f * random.normal());
  } else {
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float value = random.normal();
      const uint16_t bits = dtype == DType::f16 ? float_to_half(value) : float_to_bfloat(value);
      std::memcpy(data + i * info.block_bytes, dtype == DType::f32 ? static_cast<const void*>(&value) : &bits,
                  static_cast<size_t>(info.block_bytes));
    }
  }
  weights.view = {dtype, data, rows, columns, row_bytes};
  return weights;
}

// Rows with values of their own, quantised if they can be.
class QuantizedRows {
 public:
  QuantizedRows(std::vector<float> values, int64_t columns, Activations::QuantizeRow quantize_row)
      : values_(std::move(values)), columns_(columns), quantize_row_(quantize_row) {
    const int32_t count = static_cast<int32_t>(std::ssize(values_) / columns);
    activations_.set(values_.data(), count, columns);
    if (columns % 32 != 0) return;
    activations_.make_room();
    for (int32_t m = 0; m < count; ++m) activations_.quantize(quantize_row, m, 0, columns);
  }

  // `count` rows from `first` on, as if there were no others.
  QuantizedRows rows(int32_t first, int32_t count) const {
    const auto begin = values_.begin() + first * columns_;
    return {{begin, begin + count * columns_}, columns_, quantize_row_};
  }
  operator const ActivationRows&() const { return activations_.rows(); }
  const ActivationRows* operator->() const { return &activations_.rows(); }

 private:
  std::vector<float> values_;
  int64_t columns_;
  Activations::QuantizeRow quantize_row_;
  Activations activations_;
};

QuantizedRows make_activations(int32_t rows, int64_t columns, uint64_t seed) {
  return {Random(seed).normals(static_cast<size_t>(rows * columns)), columns, int8_reference_quantize_row};
}

// y[m][r], r counted from row_begin.
std::vector<float> product(const Kernels& kernels, const TensorView& weights, int64_t row_begin, int64_t row_end,
                           const ActivationRows& x) {
  const int64_t stride = weights.rows + 3;
  std::vector<float> y(static_cast<size_t>(x.rows * stride), 12345.0f);
  kernels.matmul(weights, row_begin, row_end, x, y.data(), stride);
  std::vector<float> part;
  for (int32_t m = 0; m < x.rows; ++m)
    for (int64_t r = 0; r < stride; ++r) {
      const float value = y[static_cast<size_t>(m * stride + r)];
      if (r >= row_begin && r < row_end)
        part.push_back(value);
      else
        REQUIRE(value == 12345.0f);  // nothing else is written
    }
  return part;
}

std::vector<float> reference_product(const TensorView& weights, int64_t row_begin, int64_t row_end,
                                     const ActivationRows& x) {
  std::vector<float> y;
  for (int32_t m = 0; m < x.rows; ++m)
    for (int64_t r = row_begin; r < row_end; ++r) y.push_back(int8_reference_dot(weights, r, x, m));
  return y;
}

TEST_CASE("dispatch: ref is always there and last, and a name that cannot be had is an error that lists the others") {
  const auto tables = available_kernels();
  REQUIRE_FALSE(tables.empty());
  CHECK(tables.back() == &ref::kernels);
  CHECK(select_kernels(std::nullopt).value() == tables.front());
  for (const Kernels* table : tables) CHECK(select_kernels(std::string(table->name)).value() == table);
  const auto wrong = select_kernels("neon9");
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().kind == ErrorKind::wrong_use);
  CHECK(wrong.error().message.find("neon9") != std::string::npos);
  for (const Kernels* table : tables) CHECK(wrong.error().message.find(table->name) != std::string::npos);
#if defined(__x86_64__)
  if (!cpu_features().avx_vnni) CHECK_FALSE(select_kernels("avxvnni").has_value());
#endif
}

TEST_CASE("int8: activations are quantised as the contract says, damage and extremes included") {
  const int64_t columns = 32 * 12;
  std::vector<float> x = Random(1).normals(columns);
  const auto block = [&x](int i) { return x.data() + 32 * i; };
  std::fill_n(block(1), 32, 0.0f);
  block(2)[5] = nan;
  block(3)[31] = -infinity;
  for (int i = 0; i < 32; ++i) block(4)[i] *= 1e30f;
  for (int i = 0; i < 32; ++i) block(5)[i] *= 1e-42f;                        // subnormal
  for (int i = 0; i < 32; ++i) block(6)[i] = static_cast<float>(i) - 15.5f;  // many ties
  for (int i = 0; i < 32; ++i) block(7)[i] = i == 3 ? -1.0f : 0.0f;
  for (int i = 0; i < 32; ++i) block(8)[i] = static_cast<float>(4 * i - 64) / 127.0f;
  block(9)[0] = std::numeric_limits<float>::max();
  const QuantizedRows expected(x, columns, int8_reference_quantize_row);
  CHECK(expected->scales[1] == 0);
  CHECK(std::isnan(expected->scales[2]));
  CHECK(std::isnan(expected->scales[3]));
  CHECK(expected->quantized[2 * 32 + 6] == 0);
  CHECK(expected->quantized[7 * 32 + 3] == -127);
  for (const Kernels* kernels : int8_family()) {
    CAPTURE(kernels->name);
    const QuantizedRows actual(x, columns, kernels->quantize_row);
    CHECK(std::equal(actual->quantized, actual->quantized + columns, expected->quantized));
    CHECK(same_bits({actual->scales, actual->scales + 12}, {expected->scales, expected->scales + 12}));
    CHECK(std::equal(actual->sums_of_32, actual->sums_of_32 + 12, expected->sums_of_32));
    CHECK(std::equal(actual->sums_of_16, actual->sums_of_16 + 24, expected->sums_of_16));
  }
}

TEST_CASE("int8: the quantised form of many rows is that of each, tile by tile, and its parts can be made one by one") {
  const int64_t columns = 96;
  const std::vector<float> x = Random(5).normals(35 * columns);
  const QuantizedRows whole(x, columns, int8_reference_quantize_row);
  for (const Kernels* kernels : int8_family()) {
    CAPTURE(kernels->name);
    Activations parts;
    parts.set(x.data(), 35, columns);
    parts.make_room();
    for (int32_t m = 34; m >= 0; --m)
      for (const int64_t begin : {64, 0}) parts.quantize(kernels->quantize_row, m, begin, begin == 0 ? 64 : columns);
    for (const int32_t m : {0, 1, 31, 32, 34}) {
      const QuantizedRows alone = whole.rows(m, 1);
      for (int64_t block = 0; block < 3; ++block) {
        const int64_t at = activation_block(parts.rows(), m, block);
        CHECK(at == (m < 32 ? block * 32 + m : 32 * 3 + block * 3 + m - 32));
        CHECK(std::equal(parts.rows().quantized + at * 32, parts.rows().quantized + at * 32 + 32,
                         alone->quantized + block * 32));
        CHECK(parts.rows().scales[at] == alone->scales[block]);
        CHECK(parts.rows().sums_of_32[at] == alone->sums_of_32[block]);
        CHECK(parts.rows().sums_of_16[2 * at] == alone->sums_of_16[2 * block]);
        CHECK(parts.rows().sums_of_16[2 * at + 1] == alone->sums_of_16[2 * block + 1]);
      }
    }
  }
}

TEST_CASE("int8: every variant gives the contract's bits for every type, number of activations and range of rows") {
  const struct {
    int64_t rows, columns, begin, end;
  } shapes[] = {{37, 512, 0, 37},  {37, 512, 5, 30},  {40, 256, 25, 40}, {16, 2304, 0, 16},
                {50, 256, 33, 50}, {18, 256, 17, 18}, {3, 512, 0, 3},    {1, 256, 0, 1}};
  for (const DType dtype : quantized_types())
    for (const auto& shape : shapes) {
      CAPTURE(dtype_info(dtype).name);
      CAPTURE(shape.rows);
      CAPTURE(shape.begin);
      const Weights weights = make_weights(dtype, shape.rows, shape.columns, 7);
      const QuantizedRows activations = make_activations(66, shape.columns, 8);
      const auto expected = reference_product(weights.view, shape.begin, shape.end, activations);
      for (const Kernels* kernels : int8_family())
        for (const int32_t m : {1, 2, 3, 5, 8, 16, 17, 32, 33, 66}) {
          CAPTURE(kernels->name);
          CAPTURE(m);
          const auto actual = product(*kernels, weights.view, shape.begin, shape.end, activations.rows(0, m));
          CHECK(same_bits(actual, {expected.begin(), expected.begin() + static_cast<int64_t>(actual.size())}));
        }
    }
}

TEST_CASE("int8: more activations than are worked on together are no different") {
  for (const DType dtype : quantized_types()) {
    CAPTURE(dtype_info(dtype).name);
    const Weights weights = make_weights(dtype, 21, 256, 9);
    const QuantizedRows activations = make_activations(258, 256, 10);
    const auto expected = reference_product(weights.view, 1, 21, activations);
    for (const Kernels* kernels : int8_family()) {
      CAPTURE(kernels->name);
      CHECK(same_bits(product(*kernels, weights.view, 1, 21, activations), expected));
    }
  }
}

TEST_CASE("int8: the largest codes, scales and activations neither overflow nor saturate") {
  for (const DType dtype : quantized_types())
    for (const int fill : {0x00, 0x7f, 0x80, 0xff}) {
      CAPTURE(dtype_info(dtype).name);
      CAPTURE(fill);
      Weights weights = make_weights(dtype, 17, 512, 1);
      const DTypeInfo& info = dtype_info(dtype);
      std::fill(weights.bytes.begin() + 1, weights.bytes.end(), static_cast<std::byte>(fill));
      for (int64_t block = 0; block < 17 * 512 / info.block_values; ++block)
        for (const int place : places_of_halves(dtype))
          put_half(weights.bytes.data() + 1 + block * info.block_bytes + place, -1.5f);
      std::vector<float> x(2 * 512, 127.0f);
      for (size_t i = 0; i < 512; ++i) x[512 + i] = i % 3 == 0 ? 127.0f : -127.0f;
      const QuantizedRows activations(x, 512, int8_reference_quantize_row);
      const auto expected = reference_product(weights.view, 0, 17, activations.rows(0, 2));
      for (const Kernels* kernels : int8_family())
        CHECK(same_bits(product(*kernels, weights.view, 0, 17, activations.rows(0, 2)), expected));
    }
}

TEST_CASE("int8: damage in weights or activations comes out as NaN in what it touches, and nowhere else") {
  for (const DType dtype : quantized_types()) {
    CAPTURE(dtype_info(dtype).name);
    Weights weights = make_weights(dtype, 20, 512, 3);
    put_half(weights.bytes.data() + 1 + 4 * weights.view.row_bytes + places_of_halves(dtype)[0], nan);
    std::vector<float> x = Random(4).normals(3 * 512);
    x[512 + 100] = infinity;
    const QuantizedRows activations(x, 512, int8_reference_quantize_row);
    for (const Kernels* kernels : int8_family()) {
      const auto y = product(*kernels, weights.view, 0, 20, activations.rows(0, 3));
      for (size_t m = 0; m < 3; ++m)
        for (size_t r = 0; r < 20; ++r) CHECK(std::isnan(y[m * 20 + r]) == (m == 1 || r == 4));
    }
  }
}

TEST_CASE("int8: a product is that of the dequantised weights, up to the rounding of the activations") {
  const int64_t columns = 1024, rows = 24;
  for (const DType dtype : quantized_types()) {
    CAPTURE(dtype_info(dtype).name);
    const Weights weights = make_weights(dtype, rows, columns, 11);
    const QuantizedRows activations = make_activations(2, columns, 12);
    const auto exact = product(ref::kernels, weights.view, 0, rows, activations.rows(0, 2));
    std::vector<float> row(columns);
    for (const Kernels* kernels : int8_family()) {
      const auto actual = product(*kernels, weights.view, 0, rows, activations.rows(0, 2));
      for (int32_t m = 0; m < 2; ++m)
        for (int64_t r = 0; r < rows; ++r) {
          dequantize_row(weights.view, r, row.data());
          // Each activation is off by at most half a step; float sums add a little.
          double bound = 0;
          for (int64_t i = 0; i < columns; ++i)
            bound +=
                std::fabs(static_cast<double>(row[static_cast<size_t>(i)])) *
                (0.5001 * static_cast<double>(activations->scales[activation_block(activations, m, i / 32)]) + 1e-5);
          const size_t at = static_cast<size_t>(m * rows + r);
          REQUIRE(std::fabs(static_cast<double>(actual[at] - exact[at])) <= bound);
          // Errors of either sign mostly cancel: a wrong sign or scale would not stay within a tenth of the bound.
          CHECK(std::fabs(static_cast<double>(actual[at] - exact[at])) <= 0.2 * bound);
        }
    }
  }
}

TEST_CASE("invariance: a product does not depend on how rows are divided or which activations it is computed with") {
  const int64_t rows = 70, columns = 512;
  for (const Kernels* kernels : available_kernels())
    for (int type = 0; type < dtype_count; ++type) {
      const DType dtype = static_cast<DType>(type);
      CAPTURE(kernels->name);
      CAPTURE(dtype_info(dtype).name);
      const Weights weights = make_weights(dtype, rows, columns, 21);
      const QuantizedRows activations = make_activations(19, columns, 22);
      const auto whole = product(*kernels, weights.view, 0, rows, activations.rows(0, 19));
      for (const int32_t m : {0, 7, 18}) {
        const auto alone = product(*kernels, weights.view, 0, rows, activations.rows(m, 1));
        CHECK(same_bits(alone, {whole.begin() + m * rows, whole.begin() + (m + 1) * rows}));
      }
      Random random(23);
      for (int64_t begin = 0; begin < rows;) {
        const int64_t end = std::min<int64_t>(rows, begin + 1 + random.below(40));
        const auto part = product(*kernels, weights.view, begin, end, activations.rows(3, 4));
        for (int64_t m = 0; m < 4; ++m)
          for (int64_t r = begin; r < end; ++r)
            REQUIRE(same_bits(part[static_cast<size_t>(m * (end - begin) + r - begin)],
                              whole[static_cast<size_t>((m + 3) * rows + r)]));
        begin = end;
      }
    }
}

TEST_CASE("matmul: weights that are not quantised give the same bits in the whole int8 family and agree with ref") {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    for (const int64_t columns : {1, 15, 16, 17, 40, 512, 3841}) {
      CAPTURE(dtype_info(dtype).name);
      CAPTURE(columns);
      const int64_t rows = 11;
      const Weights weights = make_weights(dtype, rows, columns, 31);
      const QuantizedRows activations = make_activations(7, columns, 32);
      const auto expected = product(ref::kernels, weights.view, 0, rows, activations.rows(0, 7));
      std::vector<float> first;
      for (const Kernels* kernels : int8_family()) {
        CAPTURE(kernels->name);
        const auto actual = product(*kernels, weights.view, 0, rows, activations.rows(0, 7));
        // The terms are about 1: a sum of n in 16 or 8 parts is off by at most a few roundings of its size.
        CHECK(largest_difference(actual, expected) <= 4e-6 * std::sqrt(static_cast<double>(columns)));
        if (first.empty()) first = actual;
        CHECK(same_bits(actual, first));
      }
    }
}

TEST_CASE("matmul: no activations and no rows are fine") {
  const Weights weights = make_weights(DType::q4_0, 20, 256, 1);
  const QuantizedRows activations = make_activations(1, 256, 1);
  for (const Kernels* kernels : available_kernels()) {
    CHECK(product(*kernels, weights.view, 0, 20, activations.rows(0, 0)).empty());
    CHECK(product(*kernels, weights.view, 7, 7, activations.rows(0, 1)).empty());
  }
}

// Runs an operation with every table; checks that the int8 family agrees to the bit and that all are within `tolerance`
// of ref.
template <typename Operation>
void check_operation(const std::string& what, double tolerance, Operation operation) {
  CAPTURE(what);
  const std::vector<float> expected = operation(ref::kernels);
  std::vector<float> first;
  for (const Kernels* kernels : int8_family()) {
    CAPTURE(kernels->name);
    const std::vector<float> actual = operation(*kernels);
    CHECK(largest_difference(actual, expected) <= tolerance);
    if (first.empty()) first = actual;
    CHECK(same_bits(actual, first));
  }
}

TEST_CASE("float operations: the int8 family agrees to the bit, and with ref within the stated errors") {
  for (const int64_t n : {1, 2, 7, 16, 31, 64, 255, 3840}) {
    CAPTURE(n);
    const size_t size = static_cast<size_t>(n);
    const auto x = Random(41).normals(size, 3), y = Random(42).normals(size), z = Random(43).normals(size);
    check_operation("rms_norm", 4e-6, [&](const Kernels& k) {
      std::vector<float> out(size);
      k.rms_norm(x.data(), y.data(), n, 1e-6f, out.data());
      return out;
    });
    check_operation("rms_norm in place, no weight", 4e-6, [&](const Kernels& k) {
      std::vector<float> out = x;
      k.rms_norm(out.data(), nullptr, n, 1e-6f, out.data());
      return out;
    });
    check_operation("layer_norm", 1e-5, [&](const Kernels& k) {
      std::vector<float> out = x;
      k.layer_norm(out.data(), y.data(), z.data(), n, 1e-5f, out.data());
      return out;
    });
    check_operation("gelu_multiply", 4e-6, [&](const Kernels& k) {
      std::vector<float> out = y;
      k.gelu_multiply(x.data(), out.data(), n, out.data());
      return out;
    });
    check_operation("add", 0, [&](const Kernels& k) {
      std::vector<float> out = x;
      k.add(out.data(), y.data(), n);
      return out;
    });
    check_operation("scale", 0, [&](const Kernels& k) {
      std::vector<float> out = x;
      k.scale(out.data(), 0.3f, n);
      return out;
    });
    check_operation("softcap", 3e-5, [&](const Kernels& k) {  // 30 * 1e-6
      std::vector<float> out = x;
      k.scale(out.data(), 10, n);
      k.softcap(out.data(), 30, n);
      return out;
    });
    check_operation("rotate", 0, [&](const Kernels& k) {
      std::vector<float> out = x;
      out.insert(out.end(), y.begin(), y.end());
      k.rotate(out.data(), z.data(), y.data(), n);
      return out;
    });
    check_operation("to_half", 0, [&](const Kernels& k) {
      std::vector<uint16_t> halves(size + 1, 0x1234);
      k.to_half(x.data(), n, halves.data());
      CHECK(halves[size] == 0x1234);
      std::vector<float> out;
      for (const uint16_t half : halves) out.push_back(half_to_float(half));
      return out;
    });
  }
}

TEST_CASE("float operations: extremes pass through as in ref") {
  const std::vector<float> extremes = {0,      -0.0f, 1e-30f, -1e-30f, 5,      -5,    12,   -12,   90,     -90,
                                       -88.1f, 1e4f,  -1e4f,  1e18f,   -1e18f, 1e-8f, 0.5f, -0.5f, -20.0f, nan};
  const int64_t n = static_cast<int64_t>(extremes.size());
  check_operation("gelu_multiply", 2e-6, [&](const Kernels& k) {
    std::vector<float> out(extremes.size(), 1.0f);
    k.gelu_multiply(extremes.data(), out.data(), n, out.data());
    CHECK(std::isnan(out.back()));
    return out;
  });
  check_operation("softcap", 3e-5, [&](const Kernels& k) {
    std::vector<float> out = extremes;
    k.softcap(out.data(), 30, n);
    CHECK(out[11] == 30);
    CHECK(out[12] == -30);
    return out;
  });
  check_operation("to_half", 0, [&](const Kernels& k) {
    std::vector<uint16_t> halves(extremes.size());
    k.to_half(extremes.data(), n, halves.data());
    CHECK(halves[13] == 0x7c00);
    return std::vector<float>(halves.begin(), halves.end());
  });
}

struct Attention {
  std::vector<float> query, out;
  std::vector<uint16_t> keys_f16, values_f16;
  std::vector<float> keys, values;
};

Attention make_attention(int32_t heads, int32_t head_dim, int32_t count, uint64_t seed) {
  Random random(seed);
  Attention a;
  a.query = random.normals(static_cast<size_t>(heads * head_dim));
  a.keys = random.normals(static_cast<size_t>(count * head_dim), 0.3f);
  a.values = random.normals(static_cast<size_t>(count * head_dim));
  for (float& value : a.keys) a.keys_f16.push_back(float_to_half(value)), value = half_to_float(a.keys_f16.back());
  for (float& value : a.values)
    a.values_f16.push_back(float_to_half(value)), value = half_to_float(a.values_f16.back());
  return a;
}

// Attention over all keys, cut into spans after the given positions.
std::vector<float> attend(const Kernels& kernels, const Attention& a, int32_t heads, int32_t head_dim, KvType type,
                          const std::vector<int32_t>& cuts) {
  const int32_t count = static_cast<int32_t>(a.keys.size()) / head_dim;
  std::vector<KvSpan> spans;
  int32_t begin = 0;
  const auto cut_at = [&](int32_t end) {
    const int64_t offset = int64_t{begin} * head_dim;
    if (type == KvType::f16)
      spans.push_back({a.keys_f16.data() + offset, a.values_f16.data() + offset, end - begin});
    else
      spans.push_back({a.keys.data() + offset, a.values.data() + offset, end - begin});
    begin = end;
  };
  for (const int32_t cut : cuts)
    if (cut < count) cut_at(cut);
  cut_at(count);
  std::vector<float> out(static_cast<size_t>(heads * head_dim), nan), scores(static_cast<size_t>(heads * count), nan);
  kernels.attend({.query = a.query.data(),
                  .out = out.data(),
                  .heads = heads,
                  .head_dim = head_dim,
                  .scale = 0.25f,
                  .type = type,
                  .spans = spans.data(),
                  .span_count = static_cast<int32_t>(spans.size()),
                  .keys = count,
                  .scores = scores.data()});
  return out;
}

TEST_CASE("attention: the int8 family agrees to the bit and with ref, for any heads, sizes, types and cuts") {
  const struct {
    int32_t heads, head_dim, keys;
  } shapes[] = {{1, 16, 1},  {2, 256, 77}, {16, 512, 40}, {8, 64, 33},   {3, 72, 100},
                {7, 40, 15}, {15, 24, 16}, {2, 13, 5},    {1, 128, 1030}};
  for (const auto& shape : shapes) {
    CAPTURE(shape.heads);
    CAPTURE(shape.head_dim);
    const Attention a = make_attention(shape.heads, shape.head_dim, shape.keys, 51);
    for (const KvType type : {KvType::f16, KvType::f32})
      check_operation("attend", 1e-5, [&](const Kernels& k) {
        const auto whole = attend(k, a, shape.heads, shape.head_dim, type, {});
        CHECK(same_bits(whole, attend(k, a, shape.heads, shape.head_dim, type, {1, 2, 13, 14, 31, 64, 65})));
        CHECK(same_bits(whole, attend(k, a, shape.heads, shape.head_dim, type, {0, 7, 50, 1000})));
        return whole;
      });
  }
}

// What KeysFromValues describes, for `count` positions from `first` on.
struct Turning {
  std::vector<float> weight, pages, places;
  KeysFromValues keys;
};

Turning make_turning(int32_t head_dim, int64_t pairs, int64_t positions, uint64_t seed) {
  Random random(seed);
  Turning t;
  t.weight = random.normals(static_cast<size_t>(head_dim));
  const auto table = [&](int64_t count, int64_t step, std::vector<float>& out) {
    for (int64_t p = 0; p < count; ++p)
      for (const bool sine : {false, true})
        for (int64_t i = 0; i < pairs; ++i) {
          const double angle = static_cast<double>(p * step) * std::pow(0.9, static_cast<double>(i));
          out.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
        }
  };
  table(positions / kv_page_positions + 1, kv_page_positions, t.pages);
  table(kv_page_positions, 1, t.places);
  t.keys = {t.weight.data(), pairs, t.pages.data(), t.places.data()};
  return t;
}

TEST_CASE("attention: keys that follow from values are those that would have been stored") {
  const struct {
    int32_t heads, head_dim, keys;
    int64_t pairs, first;
  } shapes[] = {{16, 512, 150, 64, 0}, {3, 64, 70, 8, 0},   {2, 32, 1, 16, 63},   {5, 40, 65, 20, 1000},
                {1, 16, 200, 3, 17},   {8, 96, 64, 0, 128}, {9, 26, 13, 13, 4000}};
  for (const auto& shape : shapes) {
    CAPTURE(shape.heads);
    CAPTURE(shape.head_dim);
    Attention a = make_attention(shape.heads, shape.head_dim, shape.keys, 55);
    const Turning turning = make_turning(shape.head_dim, shape.pairs, shape.first + shape.keys, 56);
    // The keys, in double.
    const auto half = static_cast<size_t>(shape.head_dim) / 2;
    for (int32_t k = 0; k < shape.keys; ++k) {
      float* key = a.keys.data() + int64_t{k} * shape.head_dim;
      for (int32_t i = 0; i < shape.head_dim; ++i)
        key[i] = a.values[static_cast<size_t>(k * shape.head_dim + i)] * turning.weight[static_cast<size_t>(i)];
      for (size_t i = 0; i < static_cast<size_t>(shape.pairs); ++i) {
        const double angle = static_cast<double>(shape.first + k) * std::pow(0.9, static_cast<double>(i));
        const double c = std::cos(angle), s = std::sin(angle), x = key[i], y = key[half + i];
        key[i] = static_cast<float>(x * c - y * s);
        key[half + i] = static_cast<float>(y * c + x * s);
      }
    }
    const auto from_values = [&](const Kernels& kernels, KvType type, int32_t cut) {
      std::vector<KvSpan> spans;
      for (int32_t begin = 0; begin < shape.keys;) {
        const int64_t position = shape.first + begin;
        auto end = static_cast<int32_t>((position / kv_page_positions + 1) * kv_page_positions - shape.first);
        if (cut > begin) end = std::min(end, cut);
        end = std::min(end, shape.keys);
        const int64_t offset = int64_t{begin} * shape.head_dim;
        const void* value = type == KvType::f32 ? static_cast<const void*>(a.values.data() + offset)
                                                : static_cast<const void*>(a.values_f16.data() + offset);
        spans.push_back({nullptr, value, end - begin, position});
        begin = end;
      }
      std::vector<float> out(a.query.size(), nan), scores(static_cast<size_t>(shape.heads * shape.keys), nan);
      std::vector<float> rows(static_cast<size_t>((shape.heads + key_rows_together) * shape.head_dim), nan);
      kernels.attend({.query = a.query.data(),
                      .out = out.data(),
                      .heads = shape.heads,
                      .head_dim = shape.head_dim,
                      .scale = 0.25f,
                      .type = type,
                      .spans = spans.data(),
                      .span_count = static_cast<int32_t>(spans.size()),
                      .keys = shape.keys,
                      .scores = scores.data(),
                      .keys_from_values = &turning.keys,
                      .rows = rows.data()});
      return out;
    };
    const auto stored = attend(ref::kernels, a, shape.heads, shape.head_dim, KvType::f32, {});
    check_operation("attend", 1e-4, [&](const Kernels& k) {
      const auto computed = from_values(k, KvType::f16, 0);
      for (const int32_t cut : {1, 5, 50}) CHECK(same_bits(computed, from_values(k, KvType::f16, cut)));
      CHECK(same_bits(computed, from_values(k, KvType::f32, 0)));
      float largest = 0;
      for (size_t i = 0; i < stored.size(); ++i) largest = std::max(largest, std::abs(stored[i] - computed[i]));
      CHECK(largest < 1e-3f);
      return computed;
    });
  }
}

TEST_CASE("attention: keys in half precision are the same as those numbers in full precision") {
  const Attention a = make_attention(5, 64, 50, 52);
  for (const Kernels* kernels : available_kernels())
    CHECK(same_bits(attend(*kernels, a, 5, 64, KvType::f16, {}), attend(*kernels, a, 5, 64, KvType::f32, {})));
}

TEST_CASE("attention: a head's result does not depend on the heads it is computed with") {
  const Attention a = make_attention(11, 48, 50, 53);
  for (const Kernels* kernels : available_kernels()) {
    const auto together = attend(*kernels, a, 11, 48, KvType::f16, {});
    for (int32_t h = 0; h < 11; ++h) {
      Attention one = a;
      one.query.assign(a.query.begin() + h * 48, a.query.begin() + (h + 1) * 48);
      CHECK(same_bits(attend(*kernels, one, 1, 48, KvType::f16, {}),
                      {together.begin() + h * 48, together.begin() + (h + 1) * 48}));
    }
  }
}

TEST_CASE("attention: heads that see different keys together give what each gives alone") {
  const Attention a = make_attention(6, 40, 90, 57);
  const std::vector<int32_t> begins = {0, 3, 0, 40, 89, 17}, ends = {1, 90, 60, 41, 90, 33};
  for (const KvType type : {KvType::f16, KvType::f32})
    check_operation("attend", 1e-5, [&](const Kernels& k) {
      const KvSpan span{type == KvType::f32 ? static_cast<const void*>(a.keys.data()) : a.keys_f16.data(),
                        type == KvType::f32 ? static_cast<const void*>(a.values.data()) : a.values_f16.data(), 90};
      std::vector<float> together(6 * 40, nan), scores(6 * 90, nan);
      AttentionCall call = {.query = a.query.data(),
                            .out = together.data(),
                            .heads = 6,
                            .head_dim = 40,
                            .scale = 0.25f,
                            .type = type,
                            .spans = &span,
                            .span_count = 1,
                            .keys = 90,
                            .scores = scores.data(),
                            .begins = begins.data(),
                            .ends = ends.data()};
      k.attend(call);
      for (size_t h = 0; h < 6; ++h) {
        Attention one;
        one.query.assign(a.query.begin() + static_cast<int64_t>(h) * 40,
                         a.query.begin() + static_cast<int64_t>(h + 1) * 40);
        const auto seen = [&](const auto& rows) {
          return std::decay_t<decltype(rows)>(rows.begin() + begins[h] * 40, rows.begin() + ends[h] * 40);
        };
        one.keys = seen(a.keys);
        one.values = seen(a.values);
        one.keys_f16 = seen(a.keys_f16);
        one.values_f16 = seen(a.values_f16);
        CHECK(same_bits(attend(k, one, 1, 40, type, {}), {together.begin() + static_cast<int64_t>(h) * 40,
                                                          together.begin() + static_cast<int64_t>(h + 1) * 40}));
      }
      return together;
    });
}

TEST_CASE("attention: scores far apart neither overflow nor vanish, and a NaN key shows in every head") {
  Attention a = make_attention(2, 32, 40, 54);
  for (float& value : a.query) value *= 1000;
  check_operation("attend", 1e-5, [&](const Kernels& k) {
    const auto out = attend(k, a, 2, 32, KvType::f32, {});
    for (const float value : out) CHECK(std::isfinite(value));
    return out;
  });
  a.keys[39 * 32] = nan;
  for (const Kernels* kernels : int8_family())
    for (const float value : attend(*kernels, a, 2, 32, KvType::f32, {})) CHECK(std::isnan(value));
}

}  // namespace
}  // namespace lapidary
