// Languages of strings as expressions with union, intersection and complement, and the automata made from them.
//
// Expressions are kept in an arena, equal ones once. An automaton's states are derivatives (Brzozowski, "Derivatives of
// Regular Expressions", 1964), so intersection and complement cost nothing extra. Symbols are code points: a string's
// escapes and its UTF-8 are undone before it gets here.
//
// Every language ends with the mark `text_end`, which stands for the end of the string. That makes `$` an ordinary
// symbol, and complements stay within whole strings: see everything() and complement().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace lapidary::grammar {

struct CodePointRange {
  char32_t first = 0, last = 0;
  bool operator==(const CodePointRange&) const = default;
};
using CodePointSet = std::vector<CodePointRange>;  // ascending, disjoint

inline constexpr char32_t code_point_max = 0x10FFFF;
inline constexpr char32_t text_begin = 0x110000, text_end = 0x110001;  // marks, not characters
inline constexpr uint32_t unbounded = std::numeric_limits<uint32_t>::max();

using RegexId = uint32_t;

class RegexArena {
 public:
  RegexArena();

  RegexId empty() const { return 0; }
  RegexId epsilon() const { return 1; }
  RegexId set(CodePointSet ranges);
  RegexId mark(char32_t which) { return set({{which, which}}); }
  RegexId any_character() { return set({{0, code_point_max}}); }
  RegexId concat(RegexId first, RegexId second);
  RegexId alternation(std::vector<RegexId> parts);
  RegexId intersection(std::vector<RegexId> parts);
  RegexId negation(RegexId part);  // of all sequences of symbols, marks too
  RegexId repeat(RegexId part, uint32_t min, uint32_t max);
  RegexId characters(std::string_view utf8);  // these characters, no end mark

  // Whole strings: each with its end mark.
  RegexId everything() { return concat(repeat(any_character(), 0, unbounded), mark(text_end)); }
  RegexId literal(std::string_view utf8) { return concat(characters(utf8), mark(text_end)); }
  RegexId lengths(uint32_t min, uint32_t max) { return concat(repeat(any_character(), min, max), mark(text_end)); }
  RegexId complement(RegexId language) { return intersection({negation(language), everything()}); }

  bool nullable(RegexId id) const { return nodes_[id].nullable; }
  RegexId derivative(RegexId id, char32_t symbol);
  bool accepts_end(RegexId id) { return nullable(derivative(id, text_end)); }
  bool matches(RegexId language, std::string_view utf8);

  // The sets of characters that `id` is made of.
  void collect_sets(RegexId id, std::vector<CodePointSet>& sets) const;

  // Expressions made so far, and the parts of expressions looked at; whoever builds with untrusted input compares them
  // with a limit.
  size_t size() const { return nodes_.size(); }
  uint64_t work() const { return work_; }
  // What all automata of this arena have cost, in parts looked at.
  uint64_t effort() const { return work_ + step_work * steps_; }
  void count_step() { ++steps_; }

 private:
  enum class Kind : uint8_t { empty, epsilon, set, concat, either, both, negation, repeat };
  struct Node {
    Kind kind = Kind::empty;
    bool nullable = false;
    uint32_t min = 0, max = 0;    // repeat
    std::vector<uint32_t> parts;  // ids; for a set: its index
    bool operator==(const Node&) const = default;
  };
  struct Hash {
    size_t operator()(const Node& node) const;
  };
  RegexId intern(Node node);
  RegexId list(Kind kind, std::vector<RegexId> parts);
  RegexId derive(RegexId id, char32_t symbol);

  static constexpr uint64_t step_work = 12;  // a step of an automaton takes as long as so many parts
  uint64_t work_ = 0, steps_ = 0;
  std::vector<Node> nodes_;
  std::unordered_map<Node, RegexId, Hash> index_;
  std::vector<CodePointSet> sets_;
  std::unordered_map<std::string, uint32_t> set_index_;
  std::unordered_map<uint64_t, RegexId> memo_;
};

// What texts consist of that are looked at as one: whole characters.
struct SubtreeContent {
  std::array<uint64_t, 2> ascii{};  // the ASCII characters
  bool wide = false;                // characters beyond ASCII
  bool odd = false;                 // white space beyond ASCII
  bool plain = false;               // no quote, backslash or control character: stays within a JSON string
  uint32_t characters_max = 0;      // of one text
};

// White space beyond ASCII, as patterns mean it.
bool is_odd(char32_t character);

// A deterministic automaton over code points. State 0 is dead: nothing accepted lies behind it.
struct Dfa {
  static constexpr uint32_t dead = 0;

  std::array<uint16_t, 128> ascii_class{};
  std::vector<char32_t> starts;  // of the ranges beyond ASCII, ascending
  std::vector<uint16_t> start_class;
  uint32_t classes = 0, states = 0, start = dead;
  std::vector<uint32_t> next;      // [states, classes]
  std::vector<uint32_t> outputs;   // bit i: the i-th language accepts here
  std::vector<uint32_t> nearest;   // characters to the nearest state that accepts anything
  std::vector<uint32_t> farthest;  // … to the farthest; unbounded if there is a loop
  std::vector<uint32_t> words;     // texts that are accepted from here on; unbounded: 2^32 - 1 or more
  // Runs: a text of at most run[state] characters from alive[state] (ASCII), and from beyond ASCII where wide_alive
  // (odd_alive for white space there), leads to a living state, whichever it is. word_run: the same for letters and
  // digits of ASCII alone.
  std::vector<uint64_t> alive;  // [states, 2]
  std::vector<uint8_t> wide_alive, odd_alive;
  std::vector<uint32_t> run, word_run;
  bool absorbs(uint32_t state, const SubtreeContent& content) const;
  uint32_t nearest_max = 0;               // of the living states
  bool endless = true;                    // no living state has a farthest one
  std::array<uint64_t, 2> fingerprint{};  // equal for equal automata, and hardly for others
  std::vector<uint32_t> sole_output;      // by state: what every text from there on puts out, if it is the same; else 0

  uint32_t class_of(char32_t character) const;
  uint32_t step(uint32_t state, char32_t character) const { return next[state * classes + class_of(character)]; }
  // Whether some character from first to last leads to a state that `good` holds of.
  template <typename Good>
  bool any_next(uint32_t state, CodePointRange range, const Good& good) const;
  // Whether some character from first to last leads on to a living state, behind which the text may end after at most
  // `most` characters and after `least` or more.
  bool leads_on(uint32_t state, CodePointRange range, uint64_t most = ~uint64_t{0}, uint64_t least = 0) const;
  // Of the texts that `words_from` counts by state, those from `state` on that begin with a character from first to
  // last.
  uint64_t words_through(std::span<const uint32_t> words_from, uint32_t state, CodePointRange range) const;
  bool accepts(uint32_t state) const { return outputs[state] != 0; }
  uint32_t outputs_of(std::string_view utf8) const;  // of a whole text; 0: it is not accepted
};

template <typename Good>
bool Dfa::any_next(uint32_t state, CodePointRange range, const Good& good) const {
  constexpr char32_t ascii_end = 0x80;
  for (char32_t c = range.first; c < ascii_end && c <= range.last; ++c)
    if (good(step(state, c))) return true;
  if (range.last < ascii_end || range.first > range.last) return false;
  const auto after = std::ranges::upper_bound(starts, std::max(range.first, ascii_end));
  for (auto i = static_cast<size_t>(after - starts.begin()) - 1; i < starts.size() && starts[i] <= range.last; ++i)
    if (good(next[state * classes + start_class[i]])) return true;
  return false;
}

// Works sole_output out anew, after outputs were changed.
void find_sole_outputs(Dfa& dfa);

// Texts from each state on that have these outputs; 0: that are accepted. unbounded: 2^32 - 1 or more.
std::vector<uint32_t> count_words(const Dfa& dfa, uint32_t outputs);

size_t dfa_bytes(const Dfa& dfa);

// All automata of an arena together, in RegexArena::effort(): some 40 ms.
inline constexpr uint64_t automata_effort_max = 800'000;

struct DfaBudget {
  uint32_t states = 6'000;
  uint32_t steps = 40'000;
  uint64_t work = 800'000;  // parts of expressions
};

// The automaton of up to 32 languages at once. States from which only unwanted outputs can be reached die: an output
// set counts if wanted(outputs) holds; nullptr: any output. ErrorKind::limit if it takes more than `budget`.
using WantedOutputs = std::vector<bool>;  // by set of outputs, [1 << languages]; empty: all but the empty set
Result<Dfa> build_dfa(RegexArena& arena, const std::vector<RegexId>& languages, const WantedOutputs& wanted = {},
                      const DfaBudget& budget = {});

// ECMA-262 patterns, without backward references, word boundaries, look-behind and Unicode properties; look-ahead where
// it is not repeated. `search`: the pattern may match anywhere (JSON Schema); else it has to match the whole text.
enum class PatternUse : uint8_t { search, whole };
Result<RegexId> parse_pattern(RegexArena& arena, std::string_view pattern, PatternUse use, const std::string& where);

// Classes of characters, for those who write grammars: "[a-z\\d_]" from the "[" on; moves `at` behind the "]".
Result<CodePointSet> parse_character_class(std::string_view pattern, size_t& at, const std::string& where);

CodePointSet normalized(CodePointSet ranges);
CodePointSet inverted(const CodePointSet& ranges);  // within the characters

}  // namespace lapidary::grammar
