#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tensor/code_block.h"
#include "tensor/dequantize.h"

namespace lapidary {
namespace {

std::vector<float> dequantized(DType dtype, const std::vector<uint8_t>& bytes) {
  const DTypeInfo& info = dtype_info(dtype);
  const int64_t count = static_cast<int64_t>(bytes.size()) / info.block_bytes * info.block_values;
  std::vector<float> values(static_cast<size_t>(count));
  dequantize_row(dtype, reinterpret_cast<const std::byte*>(bytes.data()), values.data(), count);
  return values;
}

TEST_CASE("dtype: every type is found by its GGML number and every GGML number has its name") {
  for (int i = 0; i < dtype_count; ++i) {
    const DTypeInfo& info = dtype_info(static_cast<DType>(i));
    CHECK(info.dtype == static_cast<DType>(i));
    CHECK(dtype_of_ggml(info.ggml_type) == info.dtype);
    CHECK(ggml_type_name(info.ggml_type) == info.name);
  }
  CHECK_FALSE(dtype_of_ggml(10).has_value());  // Q2_K
  CHECK_FALSE(dtype_of_ggml(4'000'000'000u).has_value());
  CHECK(ggml_type_name(10) == "Q2_K");
  CHECK(ggml_type_name(16) == "IQ2_XXS");
  CHECK(ggml_type_name(29) == "IQ1_M");
  CHECK(ggml_type_name(34) == "TQ1_0");
  CHECK(ggml_type_name(39) == "MXFP4");
  CHECK(ggml_type_name(42) == "Q2_0");
  CHECK(ggml_type_name(99) == "type 99");
  CHECK(ggml_type_name(4294967295u) == "type 4294967295");
}

TEST_CASE("half: conversions are exact and rounding goes to the nearest, ties to even") {
  CHECK(half_to_float(0x3c00) == 1.0f);
  CHECK(half_to_float(0xc000) == -2.0f);
  CHECK(half_to_float(0x0001) == 0x1p-24f);
  CHECK(half_to_float(0x03ff) == 1023 * 0x1p-24f);
  CHECK(half_to_float(0x7bff) == 65504.0f);
  CHECK(half_to_float(0xfc00) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(half_to_float(0x7e00)));
  CHECK(std::isnan(half_to_float(0x7c01)));
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = half_to_float(static_cast<uint16_t>(half));
    if (std::isnan(value)) {
      CHECK(std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    REQUIRE(float_to_half(value) == half);
    if ((half & 0x7fff) >= 0x7bff) continue;
    // Between this half and the next: just below the middle, the middle, just above.
    const float next = half_to_float(static_cast<uint16_t>(half + 1));
    const float middle = (value + next) / 2;
    REQUIRE(float_to_half(middle) == half + (half & 1));
    REQUIRE(float_to_half(std::nextafter(middle, value)) == half);
    REQUIRE(float_to_half(std::nextafter(middle, next)) == half + 1);
  }
  CHECK(float_to_half(65519.996f) == 0x7bff);
  CHECK(float_to_half(65520.0f) == 0x7c00);
  CHECK(float_to_half(1e-9f) == 0);
  CHECK(float_to_half(-1e-9f) == 0x8000);
}

TEST_CASE("bfloat: rounds to the nearest, ties to even, and a NaN stays one") {
  CHECK(bfloat_to_float(0x3f80) == 1.0f);
  CHECK(float_to_bfloat(1.0f) == 0x3f80);
  CHECK(float_to_bfloat(std::bit_cast<float>(0x3f808000u)) == 0x3f80);
  CHECK(float_to_bfloat(std::bit_cast<float>(0x3f818000u)) == 0x3f82);
  CHECK(float_to_bfloat(std::bit_cast<float>(0x3f808001u)) == 0x3f81);
  CHECK(std::isnan(bfloat_to_float(float_to_bfloat(std::bit_cast<float>(0x7f800001u)))));
}

TEST_CASE("dequantize: Q4_0 has weights 0 to 15 in the low halves and 16 to 31 in the high ones, lowered by 8") {
  std::vector<uint8_t> block = {0x00, 0x38};  // 0.5
  for (int i = 0; i < 16; ++i) block.push_back(static_cast<uint8_t>(i | (15 - i) << 4));
  const auto values = dequantized(DType::q4_0, block);
  for (int i = 0; i < 16; ++i) {
    CHECK(values[i] == 0.5f * (i - 8));
    CHECK(values[16 + i] == 0.5f * (7 - i));
  }
}

TEST_CASE("dequantize: Q4_K takes the high bits of scales 4 to 7 from above scales 0 to 3") {
  std::vector<uint8_t> block(144);
  block[1] = 0x3c;        // d = 1
  block[3] = 0x40;        // dmin = 2
  block[4] = 0xc1;        // scale 0 = 1, high bits of scale 4 = 3
  block[8] = 0x82;        // minimum 0 = 2, high bits of minimum 4 = 2
  block[12] = 0x75;       // low bits of scale 4 = 5, of minimum 4 = 7
  block[16] = 0x0f;       // weight 0 = 15
  block[16 + 64] = 0x03;  // weight 128 = 3
  const auto values = dequantized(DType::q4_k, block);
  CHECK(values[0] == 1 * 15 - 2.0f * 2);
  CHECK(values[1] == -2.0f * 2);
  CHECK(values[128] == (5 + 48) * 3 - 2.0f * (7 + 32));
  CHECK(values[129] == -2.0f * (7 + 32));
}

TEST_CASE("dequantize: Q6_K puts four runs of 32 in two runs of low halves and one of high bits") {
  std::vector<uint8_t> block(210);
  for (int i = 0; i < 16; ++i) block[192 + i] = static_cast<uint8_t>(i - 3);  // signed scales
  block[209] = 0x3c;                                                          // d = 1
  block[0] = 0x5a;                                                            // weights 0 and 64
  block[32] = 0x3c;                                                           // weights 32 and 96
  block[128] = 0b10110100;                                                    // high bits of 0, 32, 64, 96: 0, 1, 3, 2
  const auto values = dequantized(DType::q6_k, block);
  CHECK(values[0] == -3.0f * (10 - 32));
  CHECK(values[32] == -1.0f * (12 + 16 - 32));
  CHECK(values[64] == 1.0f * (5 + 48 - 32));
  CHECK(values[96] == 3.0f * (3 + 32 - 32));
  CHECK(values[255] == 12.0f * -32);
}

// Two independent readers of GGML's blocks agree: the sums below are those of the `gguf` Python package's dequantize().
struct ExpectedSum {
  DType dtype;
  uint64_t sum;
};
constexpr ExpectedSum expected_sums[] = {
    {DType::f16, 0xc0a9e5f0cfcc6b25},    {DType::bf16, 0x2bfa7e24f99e4b25}, {DType::q8_0, 0xd123535fd6a117e5},
    {DType::q4_0, 0xedca9fa3504f8325},   {DType::q4_1, 0x994fc3920b75b3b5}, {DType::q5_0, 0xb3d1cddbad40c525},
    {DType::q5_1, 0xf0f7b372eeab9506},   {DType::q3_k, 0x7392467e71670425}, {DType::q4_k, 0x9f9e52375508e7d8},
    {DType::q5_k, 0xee429417ead34ea9},   {DType::q6_k, 0xc8996fad8560be1d}, {DType::iq4_nl, 0xd38f46ffdf0c99a5},
    {DType::iq4_xs, 0xfcde3d6b8ef2f9a9},
};

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

// 512 weights of arbitrary bits, but with finite scales.
std::vector<uint8_t> arbitrary_blocks(DType dtype) {
  const DTypeInfo& info = dtype_info(dtype);
  const int blocks = 512 / info.block_values;
  std::vector<uint8_t> bytes(static_cast<size_t>(blocks * info.block_bytes));
  uint64_t state = 12345;
  for (uint8_t& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<uint8_t>(state >> 56);
  }
  for (int block = 0; block < blocks; ++block)
    for (const int place : places_of_halves(dtype))
      bytes[static_cast<size_t>(block * info.block_bytes + place + 1)] &= dtype == DType::bf16 ? 0xbf : 0xbb;
  return bytes;
}

TEST_CASE("dequantize: arbitrary blocks of every type mean what another implementation reads in them") {
  for (const ExpectedSum& expected : expected_sums) {
    CAPTURE(dtype_info(expected.dtype).name);
    uint64_t sum = 0xcbf29ce484222325;
    for (const float value : dequantized(expected.dtype, arbitrary_blocks(expected.dtype)))
      sum = (sum ^ std::bit_cast<uint32_t>(value + 0.0f)) * 0x100000001b3;  // FNV; -0 counts as 0
    CHECK(sum == expected.sum);
  }
}

TEST_CASE("code blocks: the parts put together give the dequantised weight in every quantised type") {
  for (int type = 0; type < dtype_count; ++type) {
    const DType dtype = static_cast<DType>(type);
    if (!is_quantized(dtype)) {
      CHECK((code_block_unpacker(dtype) == nullptr));
      continue;
    }
    CAPTURE(dtype_info(dtype).name);
    const auto bytes = arbitrary_blocks(dtype);
    const auto values = dequantized(dtype, bytes);
    const CodeTraits traits = code_traits(dtype);
    for (int64_t index = 0; index < 16; ++index) {
      CodeBlock block;
      code_block_unpacker(dtype)(reinterpret_cast<const std::byte*>(bytes.data()), index, &block);
      for (int i = 0; i < code_block_values; ++i) {
        const double weight =
            static_cast<double>(block.scale) * block.sub_scales[i / 16] * (block.codes[i] - traits.offset) -
            static_cast<double>(block.minimum);
        REQUIRE(values[static_cast<size_t>(index * code_block_values + i)] == static_cast<float>(weight));
      }
      if (!traits.has_minimum) CHECK(block.minimum == 0);
      if (!traits.has_sub_scales) CHECK((block.sub_scales[0] == 1 && block.sub_scales[1] == 1));
    }
  }
}

TEST_CASE("dequantize: a row of a tensor is read at its place, at any alignment") {
  std::vector<std::byte> bytes(1 + 2 * 3 * sizeof(float));
  const float values[6] = {1, 2, 3, 4, 5, 6};
  std::memcpy(bytes.data() + 1, values, sizeof(values));
  const TensorView tensor = {DType::f32, bytes.data() + 1, 2, 3, 12};
  float row[3];
  dequantize_row(tensor, 1, row);
  CHECK(row[0] == 4);
  CHECK(row[2] == 6);
}

}  // namespace
}  // namespace lapidary
