// Quantised rows: within the error that a type's steps allow, the same on every CPU, exact where exactness is possible.
#include "quantize/row_quantizer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/system.h"
#include "quantize/block_variants.h"
#include "tensor/dequantize.h"

namespace lapidary {
namespace {

constexpr DType block_types[] = {DType::q8_0, DType::q4_0, DType::q5_0, DType::q5_1,
                                 DType::q4_k, DType::q5_k, DType::q6_k};

std::vector<float> gaussian(int64_t count, float deviation, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(engine);
  return values;
}

std::vector<std::byte> quantized(DType dtype, const std::vector<float>& x, const float* weights = nullptr) {
  const DTypeInfo& info = dtype_info(dtype);
  std::vector<std::byte> out(x.size() / static_cast<size_t>(info.block_values) * static_cast<size_t>(info.block_bytes));
  row_quantizer(dtype)(x.data(), weights, static_cast<int64_t>(x.size()), out.data());
  return out;
}

std::vector<float> there_and_back(DType dtype, const std::vector<float>& x, const float* weights = nullptr) {
  std::vector<float> back(x.size());
  dequantize_row(dtype, quantized(dtype, x, weights).data(), back.data(), static_cast<int64_t>(x.size()));
  return back;
}

double relative_rms(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(static_cast<double>(x[i]) - y[i], 2);
    size += std::pow(static_cast<double>(x[i]), 2);
  }
  return std::sqrt(error / size);
}

}  // namespace

TEST_CASE("the error of normal weights is below that of a plain rounding to the largest value") {
  // Of llama.cpp's quantisers on the same distribution: 0.0053, 0.0857, 0.0426, 0.0378, 0.0712, 0.0361, 0.0177.
  const std::pair<DType, double> bounds[] = {{DType::q8_0, 0.0050}, {DType::q4_0, 0.0840}, {DType::q5_0, 0.0420},
                                             {DType::q5_1, 0.0350}, {DType::q4_k, 0.0712}, {DType::q5_k, 0.0355},
                                             {DType::q6_k, 0.0177}};
  const std::vector<float> x = gaussian(256 * 400, 0.02F, 1);
  for (const auto& [dtype, bound] : bounds) {
    CAPTURE(dtype_info(dtype).name);
    CHECK(relative_rms(x, there_and_back(dtype, x)) < bound);
  }
}

TEST_CASE("no weight of a block is further off than one and a half steps of its range") {
  const std::vector<float> x = gaussian(256 * 200, 1, 2);
  for (const auto& [dtype, levels] : {std::pair{DType::q8_0, 254.0F},
                                      {DType::q4_0, 15.0F},
                                      {DType::q5_0, 31.0F},
                                      {DType::q5_1, 31.0F},
                                      {DType::q4_k, 15.0F},
                                      {DType::q5_k, 31.0F},
                                      {DType::q6_k, 63.0F}}) {
    CAPTURE(dtype_info(dtype).name);
    const std::vector<float> back = there_and_back(dtype, x);
    double worst = 0;
    for (size_t begin = 0; begin < x.size(); begin += 32) {
      float extreme = 0;
      for (size_t i = begin; i < begin + 32; ++i) extreme = std::max(extreme, std::abs(x[i]));
      for (size_t i = begin; i < begin + 32; ++i)
        worst = std::max(worst,
                         std::abs(static_cast<double>(x[i]) - back[i]) / (2 * static_cast<double>(extreme) / levels));
    }
    CHECK(worst < 1.5);
  }
}

TEST_CASE("zeros, one value, tiny and huge values") {
  for (const DType dtype : block_types) {
    CAPTURE(dtype_info(dtype).name);
    std::vector<float> x(256, 0.0F);
    CHECK(there_and_back(dtype, x) == x);
    x[77] = -3.0F;
    const std::vector<float> back = there_and_back(dtype, x);
    CHECK(std::abs(back[77] + 3.0F) < 0.03F);
    CHECK(back[0] == 0);
    for (const float value : {1e-38F, 1e-9F, 3e4F, 1e20F}) {
      std::fill(x.begin(), x.end(), value);
      x[5] = -value;
      for (const float y : there_and_back(dtype, x)) CHECK(std::isfinite(y));
    }
  }
}

TEST_CASE("what is on a Q4_0 lattice stays as it is, also after a rounding to bf16") {
  std::mt19937 engine(3);
  std::uniform_int_distribution<int> code(-8, 7), below(-3, 4);
  std::vector<float> exact(32 * 500), rounded(exact.size());
  for (size_t begin = 0; begin < exact.size(); begin += 32) {
    const float scale = half_to_float(float_to_half(0.001F + 0.0001F * static_cast<float>(begin / 32)));
    for (size_t i = begin; i < begin + 32; ++i) {
      // Every other block does not use the outer codes: the largest value tells nothing of the scale.
      exact[i] = scale * static_cast<float>(begin / 32 % 2 == 0 ? code(engine) : below(engine));
      rounded[i] = bfloat_to_float(float_to_bfloat(exact[i]));
    }
  }
  CHECK(there_and_back(DType::q4_0, exact) == exact);
  CHECK(relative_rms(exact, there_and_back(DType::q4_0, rounded)) < 2e-3);
  const LatticeCount count = count_on_lattice(rounded.data(), static_cast<int64_t>(rounded.size()));
  CHECK(count.blocks > 490);
  CHECK(count.on_lattice == count.blocks);
  const std::vector<float> other = gaussian(32 * 500, 0.02F, 4);
  CHECK(count_on_lattice(other.data(), 32 * 500).on_lattice == 0);
}

TEST_CASE("weights that were of a type are not worse for going through it once more") {
  const std::vector<float> x = gaussian(256 * 50, 0.02F, 5);
  for (const DType dtype : block_types) {
    CAPTURE(dtype_info(dtype).name);
    const std::vector<float> once = there_and_back(dtype, x);
    CHECK(relative_rms(once, there_and_back(dtype, once)) < 0.35 * relative_rms(x, once));
  }
}

TEST_CASE("columns that count more are nearer") {
  const std::vector<float> x = gaussian(256 * 50, 0.02F, 6);
  std::vector<float> weights(x.size(), 1.0F);
  for (size_t i = 0; i < weights.size(); i += 4) weights[i] = 50.0F;
  for (const DType dtype : block_types) {
    CAPTURE(dtype_info(dtype).name);
    const auto error = [&](const std::vector<float>& back) {
      double sum = 0;
      for (size_t i = 0; i < x.size(); i += 4) sum += std::pow(static_cast<double>(x[i]) - back[i], 2);
      return sum;
    };
    CHECK(error(there_and_back(dtype, x, weights.data())) < 0.9 * error(there_and_back(dtype, x)));
  }
}

TEST_CASE("every instruction set gives the same bytes") {
  std::vector<const BlockQuantizers*> tables = {&search_plain::quantizers};
#if defined(__x86_64__)
  if (cpu_features().avx2) tables.push_back(&search_avx2::quantizers);
  if (cpu_features().avx512) tables.push_back(&search_avx512::quantizers);
#endif
  std::vector<float> x = gaussian(256 * 40, 0.02F, 7);
  for (size_t i = 0; i < x.size(); i += 97) x[i] *= 20;  // outliers
  std::vector<float> weights = gaussian(256 * 40, 1, 8);
  for (float& weight : weights) weight = weight * weight + 0.01F;
  for (const auto type :
       {&BlockQuantizers::q8_0, &BlockQuantizers::q4_0, &BlockQuantizers::q5_0, &BlockQuantizers::q5_1,
        &BlockQuantizers::q4_k, &BlockQuantizers::q5_k, &BlockQuantizers::q6_k})
    for (const float* given : {static_cast<const float*>(nullptr), static_cast<const float*>(weights.data())}) {
      std::vector<uint8_t> first(x.size() * 2, 0), other(x.size() * 2, 0);
      (tables.front()->*type)(x.data(), given, static_cast<int64_t>(x.size()), first.data());
      for (const BlockQuantizers* table : tables) {
        (table->*type)(x.data(), given, static_cast<int64_t>(x.size()), other.data());
        CHECK(first == other);
      }
    }
}

TEST_CASE("types that are not written have no quantiser, the plain ones round to nearest") {
  for (const DType dtype : {DType::q4_1, DType::q3_k, DType::iq4_nl, DType::iq4_xs})
    CHECK((row_quantizer(dtype) == nullptr));
  const std::vector<float> x = gaussian(64, 1, 9);
  CHECK(there_and_back(DType::f32, x) == x);
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK(there_and_back(DType::f16, x)[i] == half_to_float(float_to_half(x[i])));
    CHECK(there_and_back(DType::bf16, x)[i] == bfloat_to_float(float_to_bfloat(x[i])));
  }
}

}  // namespace lapidary
