// Masks within strings that an automaton describes, computed once a state and kept.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "grammar/regex.h"
#include "grammar/token_trie.h"

namespace lapidary::grammar {

// For tokens that begin between two characters of the string.
struct StringMask {
  TokenBits inside;    // stay within it, alive
  TokenBits exitable;  // reach their closing quote where the string may end
};

// How a string is written: in JSON's quotes, or as it is, with no way out of it but a token of its own.
enum class StringText : uint8_t { quoted, raw };

// What may still come: `min_left` and `max_left` count characters.
StringMask make_string_mask(const Dfa& dfa, uint32_t state, uint64_t min_left, uint64_t max_left, const TokenTrie& trie,
                            StringText text);

// The last ones used, of all automata with one vocabulary: formats and patterns come back in many schemas. Safe from
// any thread.
class StringMaskCache {
 public:
  std::shared_ptr<const StringMask> get(const Dfa& dfa, uint32_t state, uint64_t min_left, uint64_t max_left,
                                        const TokenTrie& trie, StringText text);

 private:
  using Key = std::tuple<uint64_t, uint64_t, uint32_t, StringText, uint64_t, uint64_t>;
  struct Entry {
    Key key;
    std::shared_ptr<const StringMask> mask;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first
  std::map<Key, std::list<Entry>::iterator> index_;
};

}  // namespace lapidary::grammar
