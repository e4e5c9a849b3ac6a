// A bounds-checked reader over bytes in memory. Every binary parser reads through it: there is no other way to the
// bytes, so no length or offset in a file can lead outside the file.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace lapidary {

static_assert(std::endian::native == std::endian::little, "the formats read here are little-endian, read in place");

class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

  // Reads one little-endian number. `what` names it in the error.
  template <typename T>
    requires std::is_arithmetic_v<T>
  Result<T> read(std::string_view what) {
    if (remaining() < sizeof(T)) return too_short(what, sizeof(T));
    T value{};
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  // A view of the next `size` bytes; valid as long as the underlying bytes are.
  Result<std::span<const std::byte>> take(uint64_t size, std::string_view what) {
    if (remaining() < size) return too_short(what, size);
    auto view = bytes_.subspan(offset_, size);
    offset_ += size;
    return view;
  }

  Result<std::string_view> take_text(uint64_t size, std::string_view what) {
    LAPIDARY_TRY(auto view, take(size, what));
    return std::string_view(reinterpret_cast<const char*>(view.data()), view.size());
  }

  Result<void> seek(uint64_t offset, std::string_view what) {
    if (offset > bytes_.size())
      return malformed("byte " + std::to_string(offset_), std::string(what) + " inside the file",
                       "offset " + std::to_string(offset) + " of " + std::to_string(bytes_.size()) + " bytes");
    offset_ = offset;
    return {};
  }

 private:
  std::unexpected<Error> too_short(std::string_view what, uint64_t size) const {
    return malformed("byte " + std::to_string(offset_), std::string(what) + " of " + std::to_string(size) + " bytes",
                     "only " + std::to_string(remaining()) + " bytes before the end");
  }

  std::span<const std::byte> bytes_;
  uint64_t offset_ = 0;
};

}  // namespace lapidary
