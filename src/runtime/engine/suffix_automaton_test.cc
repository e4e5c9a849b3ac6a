#include "engine/suffix_automaton.h"

#include <doctest/doctest.h>

#include <functional>
#include <random>

namespace lapidary {
namespace {

// The longest end of the text that also ends earlier, by looking.
size_t longest_repeat(const std::vector<int32_t>& text) {
  size_t longest = 0;
  for (size_t end = 1; end < text.size(); ++end) {
    size_t length = 0;
    while (length < end && text[end - 1 - length] == text[text.size() - 1 - length]) ++length;
    longest = std::max(longest, length);
  }
  return longest;
}

void check_match(const SuffixAutomaton& automaton) {
  const std::vector<int32_t> text(automaton.text().begin(), automaton.text().end());
  const auto match = automaton.match();
  REQUIRE(match.length == longest_repeat(text));
  if (match.length == 0) return;
  REQUIRE(match.next < text.size());
  REQUIRE(match.next >= match.length);
  for (size_t i = 1; i <= match.length; ++i) REQUIRE(text[match.next - i] == text[text.size() - i]);
}

}  // namespace

TEST_CASE("the match is the longest, for texts of few and of many tokens") {
  std::mt19937 dice(1);
  for (const int32_t tokens : {1, 2, 3, 10, 1000}) {
    CAPTURE(tokens);
    SuffixAutomaton automaton;
    for (int i = 0; i < 300; ++i) {
      automaton.push(static_cast<int32_t>(dice() % static_cast<uint32_t>(tokens)));
      check_match(automaton);
    }
  }
}

TEST_CASE("a copy is followed to where it stood, and of several places the latest counts") {
  SuffixAutomaton automaton;
  for (const int32_t token : {1, 2, 3, 4, 9, 1, 2, 3, 5, 9, 1, 2}) automaton.push(token);
  CHECK(automaton.match().length == 3);  // 9 1 2
  CHECK(automaton.match().next == 7);
  automaton.push(3);
  CHECK(automaton.text()[automaton.match().next] == 5);
  automaton.push(77);
  CHECK(automaton.match().length == 0);
}

TEST_CASE("what is remembered is bounded, and what is remembered is right") {
  std::mt19937 dice(2);
  SuffixAutomaton automaton(100);
  for (int i = 0; i < 1000; ++i) {
    automaton.push(static_cast<int32_t>(dice() % 3));
    REQUIRE(automaton.text().size() <= 100);
    if (i >= 100) REQUIRE(automaton.text().size() >= 50);
    check_match(automaton);
  }
  SuffixAutomaton full(1 << 16);
  for (int i = 0; i < 3 << 16; ++i) full.push(static_cast<int32_t>(dice() % 4));
  CHECK(full.bytes() <= size_t{160} << 16);
  full.clear();
  CHECK(full.text().empty());
  CHECK(full.match().length == 0);
}

TEST_CASE("work grows with the text and no faster, whatever the text") {
  const auto lookups = [](int32_t count, const auto& token_at) {
    SuffixAutomaton automaton;
    for (int32_t i = 0; i < count; ++i) automaton.push(token_at(i));
    return automaton.lookups();
  };
  const auto same = [](int32_t) { return 7; };
  const auto pairs = [](int32_t i) { return i % 2; };
  const auto distinct = [](int32_t i) { return i; };
  const auto lengthening = [](int32_t i) { return (i & (i + 1)) == 0 ? 1 : 0; };  // 0 … 0 1, each time twice as many
  for (const auto& text : {std::function<int32_t(int32_t)>(same), std::function<int32_t(int32_t)>(pairs),
                           std::function<int32_t(int32_t)>(distinct), std::function<int32_t(int32_t)>(lengthening)}) {
    const uint64_t small = lookups(1 << 14, text), large = lookups(1 << 18, text);
    CHECK(large <= 32 * small);  // sixteen times the text; quadratic would be 256 times the work
    CHECK(large <= uint64_t{40} << 18);
  }
}

}  // namespace lapidary
