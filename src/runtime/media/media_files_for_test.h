// The pictures and sounds of fuzz/corpus, as the tests use them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"

namespace lapidary {

using FileBytes = std::vector<std::byte>;

inline FileBytes bytes_of(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

inline FileBytes corpus_file(const std::string& name) {
  return bytes_of(read_file("fuzz/corpus/" + name, 1 << 20).value());
}

}  // namespace lapidary
