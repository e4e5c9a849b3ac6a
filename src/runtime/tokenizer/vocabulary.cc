#include "tokenizer/vocabulary.h"

#include <bit>
#include <functional>

namespace lapidary {

std::string with_plain_spaces(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t found = text.find(space_symbol, at);
    plain += text.substr(at, found - at);
    if (found == std::string_view::npos) break;
    plain += ' ';
    at = found + space_symbol.size();
  }
  return plain;
}

int byte_token_value(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  constexpr std::string_view digits = "0123456789ABCDEF";
  const size_t high = digits.find(text[3]), low = digits.find(text[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) return -1;
  return static_cast<int>(high * 16 + low);
}

void Vocabulary::set(int32_t id, std::string_view text, TokenKind kind) {
  const auto index = static_cast<size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  tokens_[index] = {pool_.size(), static_cast<uint32_t>(text.size()), kind};
  pool_ += text;
}

void Vocabulary::index() {
  slots_.assign(std::bit_ceil(tokens_.size() * 2 + 1), -1);
  const size_t mask = slots_.size() - 1;
  for (int32_t id = 0; id < size(); ++id) {
    const std::string_view token = text(id);
    if (token.empty() || kind(id) == TokenKind::byte) continue;
    size_t slot = std::hash<std::string_view>{}(token)&mask;
    while (slots_[slot] >= 0 && text(slots_[slot]) != token) slot = (slot + 1) & mask;
    if (slots_[slot] < 0) slots_[slot] = id;
  }
}

int32_t Vocabulary::find(std::string_view wanted) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>{}(wanted)&mask;
  while (slots_[slot] >= 0 && text(slots_[slot]) != wanted) slot = (slot + 1) & mask;
  return slots_[slot];
}

int32_t Vocabulary::find_plain(std::string_view wanted) const {
  const int32_t id = find(wanted);
  return id >= 0 && (kind(id) == TokenKind::normal || kind(id) == TokenKind::added) ? id : -1;
}

}  // namespace lapidary
