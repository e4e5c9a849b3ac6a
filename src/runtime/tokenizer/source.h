// What a tokenizer's file says, in one form for all formats.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/longest_match.h"
#include "tokenizer/merges.h"
#include "tokenizer/vocabulary.h"

namespace lapidary {

struct TokenizerSource {
  Vocabulary vocabulary;  // indexed
  MergeTable merges;  // only between and into tokens that find_plain() knows: text can never join to a special token
  // As they stand in raw text, where a space is a space and U+2581 is U+2581.
  std::vector<LongestMatch::Entry> special_tokens, added_tokens;
  std::string model_name;
};

Result<TokenizerSource> read_tokenizer_json(std::string_view text, const std::string& name);
Result<TokenizerSource> read_tokenizer_gguf(const Gguf& file);

// Adds "left right -> left + right" if all three are plain tokens; else the rule can never apply, and is dropped.
void add_merge(TokenizerSource& source, std::string_view left, std::string_view right, uint32_t rank);

}  // namespace lapidary
