// What was typed before, kept in a file that only its owner can read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lapidary {

class History {
 public:
  // `path`: "" keeps it in memory only. A file that is not there yet is an empty history; one that cannot be read is
  // too, since a chat must not fail over it.
  explicit History(std::string path = "");

  // $XDG_STATE_HOME/lapidary/history, by default ~/.local/state/…; "" if there is no home.
  static std::string default_path();

  // Adds an entry, here and to the file (mode 0600). Blank ones and repetitions of the last are not added.
  Result<void> add(const std::string& entry);
  const std::vector<std::string>& entries() const { return entries_; }
  // The newest entry older than `before` that contains `text`; entries().size() if there is none.
  size_t find_older(std::string_view text, size_t before) const;

  // One entry a line in the file: "\n" and "\\" are written as such.
  static std::string encode(std::string_view entry);
  static std::string decode(std::string_view line);

 private:
  Result<void> write_file(bool all) const;
  std::string path_;
  std::vector<std::string> entries_;
};

}  // namespace lapidary
