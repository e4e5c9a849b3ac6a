// The tokens of a vocabulary: text by id and id by text.
//
// Files write a space inside a token as U+2581, and the text to be tokenised is rewritten the same way, so the two are
// one symbol. Here it is spelled as the plain space that it means: shorter, and ready to be shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace lapidary {

inline constexpr std::string_view space_symbol = "\xE2\x96\x81";  // U+2581
inline constexpr size_t token_bytes_max = 1024;                   // the longest real one has 93

// `text` with every U+2581 written as a space.
std::string with_plain_spaces(std::string_view text);

// The value of "<0x41>" (capital digits), or -1.
int byte_token_value(std::string_view text);

class Vocabulary {
 public:
  // Sets token `id` (>= 0); what lies below and was not set is an empty, unused token. `text` is in plain-space
  // spelling.
  void set(int32_t id, std::string_view text, TokenKind kind);
  void set_kind(int32_t id, TokenKind kind) { tokens_[static_cast<size_t>(id)].kind = kind; }
  // Call once, after the last set(): makes find() work. If two tokens have the same text, the lower id is found.
  void index();

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool contains(int32_t id) const { return id >= 0 && id < size(); }
  std::string_view text(int32_t id) const {
    const Token& token = tokens_[static_cast<size_t>(id)];
    return {pool_.data() + token.offset, token.size};
  }
  TokenKind kind(int32_t id) const { return tokens_[static_cast<size_t>(id)].kind; }

  // The id of a token, or -1. Byte tokens cannot be found by text: a byte is not a character.
  int32_t find(std::string_view text) const;
  // The same among the tokens that text may turn into without being named: normal and added ones.
  int32_t find_plain(std::string_view text) const;

 private:
  struct Token {
    uint64_t offset = 0;
    uint32_t size = 0;
    TokenKind kind = TokenKind::unused;
  };
  std::string pool_;
  std::vector<Token> tokens_;
  std::vector<int32_t> slots_;  // open addressing, a power of two; -1: free
};

}  // namespace lapidary
