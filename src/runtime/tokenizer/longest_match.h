// Finds the longest of a fixed set of strings at a place in a text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

class LongestMatch {
 public:
  struct Entry {
    std::string text;
    int32_t id = -1;
  };
  // Empty strings are dropped; of equal ones the lowest id counts.
  explicit LongestMatch(std::vector<Entry> entries = {});

  struct Found {
    size_t at = 0, length = 0;  // length 0: none, and `at` is the end of the text
    int32_t id = -1;
  };
  // The first place at or after `from` where one of the strings stands, and the longest one there.
  Found next(std::string_view text, size_t from) const;

 private:
  Found longest_at(std::string_view text, size_t at) const;

  std::vector<Entry> entries_;  // sorted by text
  std::array<bool, 256> starts_{};
};

}  // namespace lapidary
