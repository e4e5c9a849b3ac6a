// Golden cases of tests/golden: a .safetensors with tensors and a .json with the rest. For tests only: reads every
// type.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/byte_cursor.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "tensor/dequantize.h"

namespace lapidary::golden {

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;  // every type, widened; ids are small enough to be exact
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return columns() == 0 ? 0 : static_cast<int64_t>(values.size()) / columns(); }
  const float* row(int64_t i) const { return values.data() + i * columns(); }
  std::vector<int32_t> ids() const { return {values.begin(), values.end()}; }
};

struct Case {
  std::string model, name;
  Json meta;
  std::map<std::string, Array> arrays;
  bool has(const std::string& key) const { return arrays.contains(key); }
  const Array& at(const std::string& key) const { return arrays.at(key); }
};

inline std::string root() { return "tests/golden/"; }

inline Array read_array(const std::string& type, const std::vector<int64_t>& shape, const std::byte* bytes,
                        size_t size) {
  Array array{shape, {}};
  size_t width = type == "U8" ? 1 : type == "BF16" ? 2 : 4;
  for (size_t i = 0; i < size / width; ++i) {
    float value = 0;
    if (type == "F32") {
      std::memcpy(&value, bytes + i * 4, 4);
    } else if (type == "I32") {
      int32_t number = 0;
      std::memcpy(&number, bytes + i * 4, 4);
      value = static_cast<float>(number);
    } else if (type == "BF16") {
      uint16_t bits = 0;
      std::memcpy(&bits, bytes + i * 2, 2);
      value = bfloat_to_float(bits);
    } else {
      REQUIRE(type == "U8");
      value = static_cast<float>(std::to_integer<int>(bytes[i]));
    }
    array.values.push_back(value);
  }
  return array;
}

inline Case load(const std::string& model, const std::string& name) {
  Case result{model, name, {}, {}};
  const std::string base = root() + model + "/cases/" + name;
  result.meta = parse_json(read_file(base + ".json", 1 << 20).value(), base).value();
  const auto file = MappedFile::open(base + ".safetensors").value();
  ByteCursor cursor(file->bytes());
  const auto header_size = cursor.read<uint64_t>("header").value();
  const Json header = parse_json(cursor.take_text(header_size, "header").value(), base).value();
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") continue;
    const auto begin = value["data_offsets"][0].get<size_t>(), end = value["data_offsets"][1].get<size_t>();
    result.arrays[key] = read_array(value["dtype"], value["shape"].get<std::vector<int64_t>>(),
                                    file->bytes().data() + 8 + header_size + begin, end - begin);
  }
  return result;
}

inline std::vector<std::string> case_names(const std::string& model) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(root() + model + "/cases"))
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct Difference {
  double largest = 0, mean = 0;
};
inline Difference difference(const float* a, const float* b, int64_t n) {
  Difference d;
  for (int64_t i = 0; i < n; ++i) {
    const double gap = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    d.largest = std::isnan(gap) ? INFINITY : std::max(d.largest, gap);
    d.mean += gap / static_cast<double>(n);
  }
  return d;
}
inline double rms(const float* a, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * a[i];
  return std::sqrt(sum / static_cast<double>(n));
}

}  // namespace lapidary::golden
