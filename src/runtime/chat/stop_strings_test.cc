#include "chat/stop_strings.h"

#include <doctest/doctest.h>

namespace lapidary {
namespace {

// What comes out when `text` is pushed in pieces of `size` bytes.
std::string through(StopStrings& stops, const std::string& text, size_t size) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += size) out += stops.push(text.substr(at, size));
  if (!stops.stopped()) out += stops.finish();
  return out;
}

}  // namespace

TEST_CASE("a stop string is found across any pieces, and nothing of it gets out") {
  for (size_t size = 1; size <= 12; ++size) {
    StopStrings stops({"END", "###"});
    CHECK(through(stops, "one ENtwo ## EEND three", size) == "one ENtwo ## E");
    CHECK(stops.stopped());
    CHECK(stops.push("more").empty());
  }
}

TEST_CASE("the one that is complete first counts; without one everything comes out") {
  for (size_t size = 1; size <= 7; ++size) {
    StopStrings both({"bcd", "c"});
    CHECK(through(both, "abcd", size) == "ab");
    StopStrings none({"", "xyz"});
    CHECK(through(none, "abc xy", size) == "abc xy");
    CHECK(!none.stopped());
  }
}

}  // namespace lapidary
