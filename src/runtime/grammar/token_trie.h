// A vocabulary as a tree of bytes, and what can be known of its tokens before any grammar: which of them stay within a
// JSON string, and how those that leave it go on. Special tokens are not in it: no text matches them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "grammar/regex.h"
#include "tokenizer/tokenizer.h"

namespace lapidary::grammar {

// One bit a token, 64 a word.
using TokenBits = std::vector<uint64_t>;

inline void set_bit(std::span<uint64_t> bits, int32_t id) {
  bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (static_cast<size_t>(id) % 64);
}
inline void clear_bit(std::span<uint64_t> bits, int32_t id) {
  bits[static_cast<size_t>(id) / 64] &= ~(uint64_t{1} << (static_cast<size_t>(id) % 64));
}
inline bool test_bit(std::span<const uint64_t> bits, int32_t id) {
  return (bits[static_cast<size_t>(id) / 64] >> (static_cast<size_t>(id) % 64) & 1) != 0;
}

// Tokens that stand for text: normal and added ones, and bytes.
bool is_text(TokenKind kind);

// Nodes lie in depth-first order: the first child behind its parent, the next sibling at `end`.
struct TrieNode {
  uint32_t end = 0;          // behind the subtree
  uint32_t token_begin = 0;  // into TokenTrie::tokens(): the tokens of the subtree, those of the node itself first
  uint32_t content = 0;      // index of its SubtreeContent, 0: none kept
  uint8_t byte = 0;
  uint8_t own = 0;  // tokens that end here
};

// A way out of a string: the end of a token from its closing quote on, and the tokens that end so.
struct StringExit {
  struct Use {
    int32_t token = 0;
    uint32_t characters = 0;  // before the quote
  };
  std::vector<Use> uses;  // fewest characters first
  uint32_t characters_max = 0;
};

class StringMaskCache;

class TokenTrie {
 public:
  explicit TokenTrie(const Tokenizer& tokenizer);

  int32_t vocabulary() const { return vocabulary_; }
  size_t words() const { return (static_cast<size_t>(vocabulary_) + 63) / 64; }
  std::span<const TrieNode> nodes() const { return nodes_; }  // nodes()[0] is the root
  std::span<const int32_t> tokens() const { return tokens_; }
  const SubtreeContent* content(const TrieNode& node) const {
    return node.content == 0 ? nullptr : &contents_[node.content];
  }
  std::span<const int32_t> subtree_tokens(uint32_t node) const;
  std::span<const int32_t> own_tokens(uint32_t node) const {
    return {tokens_.data() + nodes_[node].token_begin, nodes_[node].own};
  }
  // The child of `node` by `byte`, 0: none.
  uint32_t child(uint32_t node, uint8_t byte) const;

  // Adds the tokens that stay within a string when it is open and between two characters, and add at most this many
  // characters to it (one that is begun counts).
  void add_staying(std::span<uint64_t> bits, uint64_t characters) const;
  // The ways out, as a trie of their own: exit_nodes() like nodes(), its "tokens" are indices of exits().
  std::span<const TrieNode> exit_nodes() const { return exit_nodes_; }
  std::span<const int32_t> exit_tokens() const { return exit_tokens_; }
  std::span<const StringExit> exits() const { return exits_; }
  // Tokens that are whole characters, whichever: the same for strings between quote tokens.
  std::span<const uint64_t> free_text() const { return free_text_; }
  StringMaskCache& string_masks() const { return *string_masks_; }

 private:
  void fill_contents(const std::vector<bool>& well_formed);
  void fill_strings(const Tokenizer& tokenizer);

  int32_t vocabulary_ = 0;
  std::vector<TrieNode> nodes_, exit_nodes_;
  std::vector<int32_t> tokens_, exit_tokens_;
  std::vector<SubtreeContent> contents_;
  std::vector<TokenBits> staying_;     // by characters; the last one: all
  std::vector<StringExit::Use> long_;  // those that only the last one has
  std::vector<StringExit> exits_;
  TokenBits free_text_;
  std::shared_ptr<StringMaskCache> string_masks_;
};

}  // namespace lapidary::grammar
