// A large block of memory from the system, in huge pages where it has them: for measuring, where page tables would be
// measured too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace lapidary {

// Owns the memory, which is zero and not resident until it is written. Aligned to a page.
class LargeBuffer {
 public:
  static Result<LargeBuffer> create(uint64_t bytes);
  ~LargeBuffer();
  LargeBuffer(LargeBuffer&& other) noexcept;
  LargeBuffer& operator=(LargeBuffer&&) = delete;

  std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  LargeBuffer(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lapidary
