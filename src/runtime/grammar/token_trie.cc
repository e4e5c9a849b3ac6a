#include "grammar/token_trie.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "base/utf8.h"
#include "grammar/json_string.h"
#include "grammar/string_mask.h"

namespace lapidary::grammar {
namespace {

constexpr size_t worth_skipping = 6;     // tokens of a subtree
constexpr uint32_t characters_max = 32;  // masks by length up to this; beyond, the difference is a handful of tokens

// ASCII that needs no escape in a string.
constexpr std::array<uint64_t, 2> safe_ascii = {0xFFFFFFFF00000000u & ~(uint64_t{1} << '"'),
                                                ~(uint64_t{1} << ('\\' - 64))};

using Entry = std::pair<std::string_view, int32_t>;

// `entries` sorted by text.
void build(const std::vector<Entry>& entries, std::vector<TrieNode>& nodes, std::vector<int32_t>& tokens) {
  nodes.push_back({});
  std::vector<uint32_t> path{0};
  std::string_view previous;
  for (const auto& [text, id] : entries) {
    size_t common = 0;
    while (common < std::min(previous.size(), text.size()) && previous[common] == text[common]) ++common;
    for (; path.size() > common + 1; path.pop_back()) nodes[path.back()].end = static_cast<uint32_t>(nodes.size());
    for (size_t i = common; i < text.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes.size()));
      nodes.push_back({0, static_cast<uint32_t>(tokens.size()), 0, static_cast<uint8_t>(text[i]), 0});
    }
    ++nodes[path.back()].own;
    tokens.push_back(id);
    previous = text;
  }
  for (const uint32_t node : path) nodes[node].end = static_cast<uint32_t>(nodes.size());
}

bool well_formed_text(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// How a token goes through an open string.
struct Passage {
  bool alive = false;
  uint32_t characters = 0;               // begun ones count
  size_t exit = std::string_view::npos;  // where its closing quote stands
};

Passage pass(std::string_view text) {
  StringLexer lexer;
  Passage passage;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (lexer.push(static_cast<uint8_t>(text[i]))) {
      case StringLexer::Step::dead:
        return passage;
      case StringLexer::Step::closed:
        return {true, passage.characters, i};
      case StringLexer::Step::character:
        ++passage.characters;
        break;
      case StringLexer::Step::within:
        break;
    }
  }
  passage.alive = true;
  passage.characters += lexer.between() ? 0 : 1;
  return passage;
}

}  // namespace

bool is_text(TokenKind kind) {
  return kind == TokenKind::normal || kind == TokenKind::added || kind == TokenKind::byte;
}

TokenTrie::TokenTrie(const Tokenizer& tokenizer)
    : vocabulary_(tokenizer.size()), string_masks_(std::make_shared<StringMaskCache>()) {
  std::vector<Entry> entries;
  for (int32_t id = 0; id < vocabulary_; ++id)
    if (is_text(tokenizer.kind(id)) && !tokenizer.piece(id).empty()) entries.emplace_back(tokenizer.piece(id), id);
  std::ranges::sort(entries);
  build(entries, nodes_, tokens_);
  std::vector<bool> well_formed;
  for (const auto& [text, id] : entries) well_formed.push_back(well_formed_text(text));
  fill_contents(well_formed);
  fill_strings(tokenizer);
}

void TokenTrie::add_staying(std::span<uint64_t> bits, uint64_t characters) const {
  const uint32_t longest = long_.empty() ? characters_max : long_.back().characters;
  const size_t index = characters >= longest ? staying_.size() - 1 : std::min<size_t>(characters, characters_max);
  const TokenBits& slice = staying_[index];
  for (size_t i = 0; i < slice.size(); ++i) bits[i] |= slice[i];
  if (characters <= characters_max || characters >= longest) return;
  for (const StringExit::Use& use : long_)
    if (use.characters <= characters) set_bit(bits, use.token);
}

std::span<const int32_t> TokenTrie::subtree_tokens(uint32_t node) const {
  const uint32_t end = nodes_[node].end;
  const size_t last = end < nodes_.size() ? nodes_[end].token_begin : tokens_.size();
  return std::span(tokens_).subspan(nodes_[node].token_begin, last - nodes_[node].token_begin);
}

uint32_t TokenTrie::child(uint32_t node, uint8_t byte) const {
  for (uint32_t i = node + 1; i < nodes_[node].end; i = nodes_[i].end)
    if (nodes_[i].byte == byte) return i;
  return 0;
}

// A node whose children begin characters, of tokens that are all text by themselves, can be skipped by its content
// alone.
void TokenTrie::fill_contents(const std::vector<bool>& well_formed) {
  contents_.push_back({});
  for (uint32_t node = 1; node < nodes_.size(); ++node) {
    const std::span<const int32_t> below = subtree_tokens(node);
    if (below.size() < worth_skipping) continue;
    const bool boundary = node + 1 < nodes_[node].end && (nodes_[node + 1].byte & 0xC0) != 0x80;
    const size_t first = nodes_[node].token_begin;
    bool whole = boundary;
    for (size_t i = 0; i < below.size() && whole; ++i) whole = well_formed[first + i];
    if (!whole) continue;
    SubtreeContent content;
    struct Open {
      uint32_t end, characters;
      char32_t value;
    };
    std::vector<Open> open;
    for (uint32_t i = node + 1; i < nodes_[node].end; ++i) {
      while (!open.empty() && open.back().end <= i) open.pop_back();
      const uint8_t byte = nodes_[i].byte;
      const bool begins = (byte & 0xC0) != 0x80;
      const uint32_t characters = (open.empty() ? 0 : open.back().characters) + (begins ? 1 : 0);
      const char32_t lead = byte < 0x80 ? byte : byte < 0xE0 ? byte & 0x1F : byte < 0xF0 ? byte & 0x0F : byte & 0x07;
      const char32_t value = begins ? lead : open.back().value << 6 | (byte & 0x3F);
      if (byte < 0x80) {
        content.ascii[byte / 64] |= uint64_t{1} << (byte % 64);
      } else if (is_odd(value) && !begins) {
        content.odd = true;
      } else {
        content.wide |= !begins;
      }
      content.characters_max = std::max(content.characters_max, characters);
      open.push_back({nodes_[i].end, characters, value});
    }
    content.plain = (content.ascii[0] & ~safe_ascii[0]) == 0 && (content.ascii[1] & ~safe_ascii[1]) == 0;
    nodes_[node].content = static_cast<uint32_t>(contents_.size());
    contents_.push_back(content);
  }
}

void TokenTrie::fill_strings(const Tokenizer& tokenizer) {
  staying_.assign(characters_max + 2, TokenBits(words()));
  free_text_.assign(words(), 0);
  std::map<std::string_view, std::vector<StringExit::Use>> exits;
  for (const int32_t id : tokens_) {
    const std::string_view text = tokenizer.piece(id);
    if (well_formed_text(text)) set_bit(free_text_, id);
    const Passage passage = pass(text);
    if (!passage.alive) continue;
    if (passage.exit != std::string_view::npos) {
      exits[text.substr(passage.exit)].push_back({id, passage.characters});
      continue;
    }
    for (size_t most = passage.characters; most < staying_.size(); ++most) set_bit(staying_[most], id);
    if (passage.characters > characters_max) {
      set_bit(staying_.back(), id);
      long_.push_back({id, passage.characters});
    }
  }
  std::ranges::sort(long_, {}, &StringExit::Use::characters);
  std::vector<Entry> entries;
  for (auto& [text, uses] : exits) {
    std::ranges::sort(uses, {}, &StringExit::Use::characters);
    entries.emplace_back(text, static_cast<int32_t>(exits_.size()));
    const uint32_t most = uses.back().characters;
    exits_.push_back({std::move(uses), most});
  }
  build(entries, exit_nodes_, exit_tokens_);
}

}  // namespace lapidary::grammar
