// Where has the end of this text stood before, and what came next? A suffix automaton over tokens (Blumer, Blumer,
// Haussler, Ehrenfeucht, Chen, Seiferas: "The smallest automaton recognizing the subwords of a text", 1985), built as
// the text grows: O(1) a token on average, O(n) in all, whatever the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lapidary {

// Not thread-safe.
class SuffixAutomaton {
 public:
  // Takes at most about 100 bytes a token. When `tokens_max` (at least 2) are there, the older half is forgotten, in
  // one rebuilding that those tokens have paid for.
  explicit SuffixAutomaton(size_t tokens_max = size_t{1} << 18);

  void clear();
  void push(int32_t token);

  // The longest end of the text that has also ended earlier, and what followed it there: text()[next] and on. Of
  // several places the latest, unless longer matches hid it for long. length 0: the last token is new.
  struct Match {
    size_t length = 0;
    size_t next = 0;
  };
  Match match() const { return match_; }
  // The tokens as far as they are remembered; `next` counts in these.
  std::span<const int32_t> text() const { return text_; }
  size_t bytes() const;                          // of memory
  uint64_t lookups() const { return lookups_; }  // places of the table looked at since the beginning: the work done

 private:
  struct State {
    int32_t length;      // of the longest string it stands for
    int32_t link;        // the state of the longest suffix that ends in more places; -1: the root has none
    int32_t first_edge;  // -1: none
    int32_t end;         // where one of its occurrences ends, lately
  };
  struct Edge {
    int32_t state, token, target;
    int32_t next;  // of the same state; -1: the last
  };
  int32_t add_state(int32_t length, int32_t link, int32_t end);
  Edge* find(int32_t state, int32_t token);
  void add_edge(int32_t state, int32_t token, int32_t target);
  size_t slot_of(int32_t state, int32_t token) const;
  void grow_table();
  void forget_half();

  size_t tokens_max_;
  std::vector<int32_t> text_;
  std::vector<State> states_;
  std::vector<Edge> edges_;
  std::vector<int32_t> table_;  // open addressing: indices into edges_, -1: empty; a power of two
  int32_t last_ = 0;            // the state of the whole text
  mutable uint64_t lookups_ = 0;
  Match match_;
};

}  // namespace lapidary
