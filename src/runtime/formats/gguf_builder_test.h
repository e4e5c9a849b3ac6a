// Writes small GGUF files in memory, right or wrong on purpose. For tests only.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

class GgufBuilder {
 public:
  GgufBuilder& number(std::string_view key, uint32_t value) { return start(key, 4).raw(value); }
  GgufBuilder& text(std::string_view key, std::string_view value) { return start(key, 8).string(value); }
  GgufBuilder& truth(std::string_view key, bool value) { return start(key, 7).raw(static_cast<uint8_t>(value)); }
  GgufBuilder& real(std::string_view key, float value) { return start(key, 6).raw(value); }
  GgufBuilder& numbers(std::string_view key, const std::vector<int32_t>& values) {
    start(key, 9).raw(uint32_t{5}).raw(static_cast<uint64_t>(values.size()));
    for (const int32_t value : values) raw(value);
    return *this;
  }
  GgufBuilder& texts(std::string_view key, const std::vector<std::string>& values) {
    start(key, 9).raw(uint32_t{8}).raw(static_cast<uint64_t>(values.size()));
    for (const std::string& value : values) string(value);
    return *this;
  }
  // `sizes` as in the file: fastest first.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset) {
    std::string keys = std::move(out_);
    out_ = std::move(directory_);
    string(name).raw(static_cast<uint32_t>(sizes.size()));
    for (const uint64_t size : sizes) raw(size);
    raw(type).raw(offset);
    directory_ = std::move(out_);
    out_ = std::move(keys);
    ++tensors_;
    return *this;
  }
  GgufBuilder& data(uint64_t bytes) {
    data_ = bytes;
    return *this;
  }

  std::string bytes(uint32_t version = 3) const { return bytes_with_counts(tensors_, keys_, version); }
  std::string bytes_with_counts(uint64_t tensors, uint64_t keys, uint32_t version = 3) const {
    std::string file = "GGUF";
    const auto append = [&](const auto& value) { file.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
    append(version);
    append(tensors);
    append(keys);
    file += out_ + directory_;
    if (data_ > 0) file.resize((file.size() + 31) / 32 * 32 + data_, '\0');
    return file;
  }

 private:
  GgufBuilder& start(std::string_view key, uint32_t type) {
    ++keys_;
    return string(key).raw(type);
  }
  template <typename T>
  GgufBuilder& raw(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  GgufBuilder& string(std::string_view value) {
    raw(static_cast<uint64_t>(value.size()));
    out_ += value;
    return *this;
  }

  std::string out_, directory_;
  uint64_t keys_ = 0, tensors_ = 0, data_ = 0;
};

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace lapidary
