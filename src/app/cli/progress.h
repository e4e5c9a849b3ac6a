// One line on the terminal of standard error that says how far a slow step has come.
#pragma once

#include <cstdint>
#include <string_view>

#include "cli/console.h"

namespace lapidary {

class ProgressLine {
 public:
  // Shows nothing if standard error is no terminal, or `wanted` is false.
  ProgressLine(Console& console, bool wanted);
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(std::string_view what);
  // "WHAT 42 % (1234 of 2938 tokens)"; short steps are not worth a line.
  void show(std::string_view what, int64_t done, int64_t total);
  void clear();

 private:
  Console& console_;
  bool on_, shown_ = false;
};

}  // namespace lapidary
