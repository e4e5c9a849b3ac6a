// Arithmetic that notices overflow. Every size that comes from a file goes through here before it is used.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

namespace lapidary {

template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum{};
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::unsigned_integral T>
constexpr std::optional<T> checked_multiply(T a, T b) {
  T product{};
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The next multiple of `alignment` (> 0) at or above `value`.
template <std::unsigned_integral T>
constexpr std::optional<T> checked_align_up(T value, T alignment) {
  const T rest = value % alignment;
  return rest == 0 ? std::optional<T>(value) : checked_add(value, static_cast<T>(alignment - rest));
}

}  // namespace lapidary
