// Stop strings, found across the borders of tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

// Holds back text that may be the beginning of a stop string, until it is known to be one or not.
class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // Text that is certainly not part of a stop string. When one is found, returns what stood before it, and stopped() is
  // true from then on.
  std::string push(std::string_view text);
  // What is held back at the end of a reply without a stop.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace lapidary
