// GGUF v3 (and v2, which differs in nothing we read): the container of llama.cpp.
// Spec: ggml/docs/gguf.md. Little-endian only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "formats/model_file.h"

namespace lapidary {

// A metadata value. Every integer type widens to int64 or uint64, every float to double.
struct GgufArray;
using GgufValue = std::variant<int64_t, uint64_t, double, bool, std::string_view, std::shared_ptr<const GgufArray>>;
// Arrays hold one element type. Strings are views into the mapped file.
struct GgufArray {
  std::variant<std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>, std::vector<bool>,
               std::vector<std::string_view>>
      values;
};

using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

// A parsed file (or a split one: -00001-of-0000N, all parts beside each other). Nothing but the header is touched.
class Gguf {
 public:
  // Parses metadata and the tensor directory and checks every tensor's place against the file before returning.
  static Result<Gguf> open(const std::string& path);
  // The same from bytes (fuzzing). Views point into `bytes`; TensorMap::files stays empty.
  static Result<Gguf> parse(std::span<const std::byte> bytes, const std::string& name);

  const TensorMap& tensors() const { return tensors_; }
  const GgufMetadata& metadata() const { return metadata_; }

  // Typed look-ups. Absent: nullopt (or an error for the required_ forms); wrong type or out of [min, max]: an error
  // that names the key.
  Result<std::optional<int64_t>> integer(std::string_view key, int64_t min, int64_t max) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;
  // Arrays of any integer type (or, for a single integer, an array of one).
  Result<std::optional<std::vector<int64_t>>> integers(std::string_view key, int64_t min, int64_t max) const;
  Result<std::optional<std::vector<double>>> numbers(std::string_view key) const;
  Result<std::optional<std::vector<std::string_view>>> strings(std::string_view key) const;
  Result<int64_t> required_integer(std::string_view key, int64_t min, int64_t max) const;
  Result<double> required_number(std::string_view key) const;

 private:
  const GgufValue* find(std::string_view key) const;

  TensorMap tensors_;
  GgufMetadata metadata_;
};

}  // namespace lapidary
