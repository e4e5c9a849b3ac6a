// SHA-256 (FIPS 180-4): names for content, where a collision would serve one user another's answer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lapidary {

class Sha256 {
 public:
  Sha256();
  void add(std::span<const std::byte> bytes);
  template <typename T>
  void add_values(std::span<const T> values) {
    add(std::as_bytes(values));
  }
  template <typename T>
  void add_value(const T& value) {
    add(std::as_bytes(std::span(&value, 1)));
  }
  std::array<uint8_t, 32> finish();  // once
  uint64_t finish_64();              // its first 8 bytes
  std::string finish_hex();          // in 64 digits

 private:
  void block(const uint8_t* bytes);
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> held_{};
  size_t held_bytes_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace lapidary
