// Writes GGUF v3: keys and the tensor directory in memory, from which the place of every tensor in the file follows.
// The tensors' bytes are the caller's to write there, in whatever order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace lapidary {

inline constexpr uint64_t gguf_alignment = 32;

// A key of a file as it lies there: its type's number and the bytes of its value.
struct GgufRawKey {
  std::string_view key;
  uint32_t type = 0;
  std::span<const std::byte> value;
};
// All keys of a GGUF file, to be copied: the reader's own values have lost their exact types. Views into `file`.
Result<std::vector<GgufRawKey>> gguf_raw_keys(std::span<const std::byte> file);

class GgufWriter {
 public:
  void number(std::string_view key, uint32_t value);
  void integer(std::string_view key, int32_t value);
  void real(std::string_view key, float value);
  void truth(std::string_view key, bool value);
  void text(std::string_view key, std::string_view value);
  void integers(std::string_view key, std::span<const int32_t> values);
  void reals(std::string_view key, std::span<const float> values);
  void truths(std::string_view key, const std::vector<bool>& values);
  void texts(std::string_view key, std::span<const std::string> values);
  void copy(const GgufRawKey& key);

  // `shape`: outermost first. The product of the inner dimensions must be whole blocks of `dtype`.
  void tensor(std::string_view name, std::span<const int64_t> shape, DType dtype);

  struct Layout {
    std::string header;             // the file's beginning, padded to the alignment
    std::vector<uint64_t> offsets;  // of each tensor in the file, in the order they were added
    uint64_t file_bytes = 0;
  };
  Layout layout() const;

 private:
  void start(std::string_view key, uint32_t type);
  void start_array(std::string_view key, uint32_t type, uint64_t count);

  std::string keys_, directory_;
  uint64_t key_count_ = 0;
  std::vector<uint64_t> places_;  // of each tensor, from the end of the header on
  uint64_t data_bytes_ = 0;
};

}  // namespace lapidary
