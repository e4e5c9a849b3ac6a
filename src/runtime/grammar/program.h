// What a schema compiles to: tables that the machine (machine.h) runs on. Immutable.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/decimal.h"
#include "grammar/language.h"
#include "grammar/regex.h"

namespace lapidary::grammar {

inline constexpr uint32_t none = std::numeric_limits<uint32_t>::max();

// One way to take a value: as this node, which counts for these `contains` or `some` of its array or object.
struct Choice {
  uint32_t node = 0, claims = 0;
  bool operator==(const Choice&) const = default;
};
using Choices = std::vector<Choice>;

struct StringProgram {
  uint32_t dfa = none;
  uint64_t min = 0, max = no_limit;
  std::vector<std::string> values;                              // sorted; not empty: one of these
  bool plain() const { return dfa == none && values.empty(); }  // nothing but lengths
};

// How many more items an array with `contains` has at least, by what has been counted so far (completion.h).
struct ItemPlan {
  std::vector<uint32_t> sizes;    // by contains: counts that are told apart
  uint32_t lengths = 1;           // … lengths behind the prefix
  uint32_t states = 0;            // all of that together
  bool padded = false;            // items that count for nothing limited fill it up to its least length
  std::vector<uint64_t> further;  // [prefix + 1, states]; no_limit: it never ends
};

struct ArrayProgram {
  std::vector<Choices> prefix;
  Choices rest;
  uint64_t min = 0, max = no_limit;
  std::vector<Contains> contains;  // at most counted_max
  ItemPlan plan;                   // if there is a `contains`
  bool unique = false;
};

struct NameProgram {
  std::string text;
  uint64_t hash = 0;
  Choices choices;  // empty: must not be there
  bool required = false;
  uint32_t outputs = 0;  // of the automaton of other names, were it one of them
};

struct ObjectProgram {
  std::vector<NameProgram> names;      // sorted by text
  bool others = false;                 // names that are not in the list
  uint32_t key_dfa = none;             // … which go through this; none: any
  std::vector<Choices> other_choices;  // by the DFA's outputs; [0] without a DFA
  uint64_t min = 0, max = no_limit;
  uint32_t required = 0;
  std::vector<std::pair<uint64_t, uint64_t>> dependents;  // hashes of names
  uint32_t some = 0;                                      // bits that must have been claimed
  // How many other names there are; no_limit: more than can be counted. The outputs of those that can claim, how many
  // names have them, and by state of the DFA, how many texts from there on: [claiming, states].
  uint64_t others_count = no_limit;
  std::vector<uint32_t> claiming;
  std::vector<uint64_t> claiming_count;
  std::vector<uint32_t> claiming_words;

  NameProgram* find_name(uint64_t hash) {
    const auto found = std::ranges::find(names, hash, &NameProgram::hash);
    return found == names.end() ? nullptr : &*found;
  }
  const NameProgram* find_name(uint64_t hash) const { return const_cast<ObjectProgram*>(this)->find_name(hash); }
};

struct ValueNode {
  bool null = false, yes = false, no = false;
  std::vector<uint32_t> numbers, strings, arrays, objects;  // indices of rules, any of which will do
};

struct Program {
  std::vector<ValueNode> nodes;
  std::vector<NumberRule> numbers;
  std::vector<StringProgram> strings;
  std::vector<ArrayProgram> arrays;
  std::vector<ObjectProgram> objects;
  std::vector<Dfa> dfas;
  uint32_t root = 0;
};

inline constexpr size_t counted_max = 4;  // `contains` of one array, `some` of one object

uint64_t name_hash(std::string_view name);
inline constexpr uint64_t name_hash_begin = 0xCBF29CE484222325u;
inline uint64_t name_hash_add(uint64_t hash, uint8_t byte) { return (hash ^ byte) * 0x100000001B3u; }

size_t program_bytes(const Program& program);

// Puts `other` beside what `program` has; the node that was its root.
uint32_t join_programs(Program& program, Program other);

// Errors: ErrorKind::refused (no schema), unsupported (what cannot be enforced, and where), limit. To `effort` is added
// what it took, in RegexArena::effort(), some 50 ns each.
enum class Names : uint8_t { quoted, bare };  // bare: as machine.h's Syntax::bare writes them
Result<Program> compile_schema(std::string_view schema, const std::string& where, Names names = Names::quoted,
                               uint64_t* effort = nullptr);

}  // namespace lapidary::grammar
