#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/mapped_file.h"
#include "base/utf8.h"
#include "tokenizer/source.h"

namespace lapidary {
namespace {

constexpr uint64_t json_bytes_max = uint64_t{512} << 20;
constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

bool special_kind(TokenKind kind) {
  return kind == TokenKind::control || kind == TokenKind::visible || kind == TokenKind::unknown;
}

bool well_formed(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

struct Tokenizer::Tables {
  Vocabulary vocabulary;
  MergeTable merges;
  LongestMatch plain, all;  // added tokens; added and special tokens
  std::array<int32_t, 256> byte_ids{};
  std::array<int32_t, 128> ascii_ids{};
  int32_t space_id = -1;
  std::vector<bool> joins_space;  // by id: a character that stands before a space inside some token
  std::string model_name;

  Result<void> fill_bytes(const std::string& name);
  void find_joins();
  void encode_plain(std::string_view text, SymbolMerger& merger, std::vector<int32_t>& symbols,
                    std::vector<int32_t>& ids) const;
  void append_symbols(std::string_view character, std::vector<int32_t>& symbols) const;

  static Result<std::unique_ptr<Tables>> make(TokenizerSource source, const std::string& name);
};

Result<void> Tokenizer::Tables::fill_bytes(const std::string& name) {
  byte_ids.fill(-1);
  for (int32_t id = 0; id < vocabulary.size(); ++id)
    if (vocabulary.kind(id) == TokenKind::byte) {
      int32_t& place = byte_ids[static_cast<unsigned char>(vocabulary.text(id)[0])];
      if (place < 0) place = id;
    }
  if (const auto missing = std::ranges::find(byte_ids, -1); missing != byte_ids.end())
    return fail(ErrorKind::unsupported, name,
                fmt::format("no token <0x{:02X}>: a vocabulary without all 256 byte tokens cannot write every text",
                            missing - byte_ids.begin()));
  for (size_t c = 0; c < ascii_ids.size(); ++c) {
    const char character = static_cast<char>(c);
    const int32_t id = vocabulary.find_plain({&character, 1});
    ascii_ids[c] = id >= 0 ? id : byte_ids[c];
  }
  space_id = vocabulary.find_plain(" ");
  if (space_id < 0) return fail(ErrorKind::unsupported, name, "no token for the space (U+2581)");
  return {};
}

// Tokens hardly ever hold a space behind another character, so text may be cut before its spaces and the pieces merged
// by themselves: small queues that stay in the cache. Exact, because a merge across the cut would make such a token.
void Tokenizer::Tables::find_joins() {
  joins_space.assign(static_cast<size_t>(vocabulary.size()), false);
  merges.for_each_result([&](int32_t id) {
    const std::string_view text = vocabulary.text(id);
    std::string_view previous;
    for (size_t at = 0; at < text.size();) {
      const std::string_view character = text.substr(at, std::max<size_t>(utf8_length(text.substr(at)), 1));
      if (character == " " && !previous.empty() && previous != " ") {
        const int32_t joined = vocabulary.find_plain(previous);
        if (joined >= 0) joins_space[static_cast<size_t>(joined)] = true;
      }
      previous = character;
      at += character.size();
    }
  });
}

Result<std::unique_ptr<Tokenizer::Tables>> Tokenizer::Tables::make(TokenizerSource source, const std::string& name) {
  auto tables = std::make_unique<Tables>();
  tables->vocabulary = std::move(source.vocabulary);
  tables->merges = std::move(source.merges);
  tables->model_name = std::move(source.model_name);
  LAPIDARY_CHECK(tables->fill_bytes(name));
  tables->find_joins();
  tables->plain = LongestMatch(source.added_tokens);
  std::vector<LongestMatch::Entry> both = std::move(source.special_tokens);
  std::ranges::move(source.added_tokens, std::back_inserter(both));
  tables->all = LongestMatch(std::move(both));
  return tables;
}

// One character that is not ASCII (or one stray byte) as symbols: its token, or its bytes.
void Tokenizer::Tables::append_symbols(std::string_view character, std::vector<int32_t>& symbols) const {
  const int32_t id = character == space_symbol ? space_id : vocabulary.find_plain(character);
  if (id >= 0) {
    symbols.push_back(id);
    return;
  }
  for (const char byte : character) symbols.push_back(byte_ids[static_cast<unsigned char>(byte)]);
}

void Tokenizer::Tables::encode_plain(std::string_view text, SymbolMerger& merger, std::vector<int32_t>& symbols,
                                     std::vector<int32_t>& ids) const {
  symbols.clear();
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const size_t length = byte < 0x80 ? 1 : std::max<size_t>(utf8_length(text.substr(at)), 1);
    const bool is_space = byte == ' ' || text.substr(at, length) == space_symbol;
    if (!symbols.empty()) {
      const int32_t previous = symbols.back();
      const bool word_ends = is_space && previous != space_id && !joins_space[static_cast<size_t>(previous)];
      if (word_ends || symbols.size() + 4 > SymbolMerger::symbols_max) {
        merger.merge(merges, symbols, ids);
        symbols.clear();
      }
    }
    if (byte < 0x80) {
      symbols.push_back(ascii_ids[byte]);
    } else if (length == 1) {
      symbols.push_back(byte_ids[byte]);
    } else {
      append_symbols(text.substr(at, length), symbols);
    }
    at += length;
  }
  merger.merge(merges, symbols, ids);
}

Tokenizer::Tokenizer(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::from_json_file(const std::string& path) {
  LAPIDARY_TRY(const auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  if (bytes.size() > json_bytes_max)
    return fail(ErrorKind::limit, path,
                fmt::format("{} bytes, a tokenizer.json has at most {}", bytes.size(), json_bytes_max));
  return from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

Result<Tokenizer> Tokenizer::from_json(std::string_view text, const std::string& name) {
  LAPIDARY_TRY(TokenizerSource source, read_tokenizer_json(text, name));
  LAPIDARY_TRY(auto tables, Tables::make(std::move(source), name));
  return Tokenizer(std::move(tables));
}

Result<Tokenizer> Tokenizer::from_gguf(const Gguf& file) {
  LAPIDARY_TRY(TokenizerSource source, read_tokenizer_gguf(file));
  LAPIDARY_TRY(auto tables, Tables::make(std::move(source), "tokenizer.ggml.tokens"));
  return Tokenizer(std::move(tables));
}

void Tokenizer::encode(std::string_view text, SpecialParsing special, std::vector<int32_t>& ids) const {
  const LongestMatch& tokens = special == SpecialParsing::on ? tables_->all : tables_->plain;
  SymbolMerger merger;
  std::vector<int32_t> symbols;
  for (size_t at = 0; at < text.size();) {
    const LongestMatch::Found found = tokens.next(text, at);
    tables_->encode_plain(text.substr(at, found.at - at), merger, symbols, ids);
    if (found.length > 0) ids.push_back(found.id);
    at = found.at + found.length;
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialParsing special) const {
  std::vector<int32_t> ids;
  encode(text, special, ids);
  return ids;
}

std::vector<TextFragment> Tokenizer::split_at_specials(std::string_view text) const {
  std::vector<TextFragment> fragments;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    // Added tokens are matched too, so that text is cut here exactly where encode() cuts it.
    const LongestMatch::Found found = tables_->all.next(text, at);
    at = found.at + found.length;
    const bool special = found.length > 0 && is_special(found.id);
    if (!special && at < text.size()) continue;
    const size_t end = special ? found.at : text.size();
    if (end > begin) fragments.push_back({text.substr(begin, end - begin), -1});
    if (special) fragments.push_back({text.substr(found.at, found.length), found.id});
    begin = at;
  }
  return fragments;
}

std::string_view Tokenizer::piece(int32_t id) const {
  return tables_->vocabulary.contains(id) ? tables_->vocabulary.text(id) : std::string_view();
}

TokenKind Tokenizer::kind(int32_t id) const {
  return tables_->vocabulary.contains(id) ? tables_->vocabulary.kind(id) : TokenKind::unused;
}

bool Tokenizer::is_special(int32_t id) const { return special_kind(kind(id)); }

int32_t Tokenizer::find(std::string_view text) const { return tables_->vocabulary.find(with_plain_spaces(text)); }

int32_t Tokenizer::size() const { return tables_->vocabulary.size(); }

const std::string& Tokenizer::model_name() const { return tables_->model_name; }

std::string Tokenizer::decode(std::span<const int32_t> ids, SpecialParsing special) const {
  std::string text, bytes;
  const auto flush = [&] {
    if (well_formed(bytes)) {
      text += bytes;
    } else {
      for (size_t i = 0; i < bytes.size(); ++i) text += replacement;
    }
    bytes.clear();
  };
  for (const int32_t id : ids) {
    if (kind(id) == TokenKind::byte) {
      bytes += piece(id);
      continue;
    }
    flush();
    if (special == SpecialParsing::on || !is_special(id)) text += piece(id);
  }
  flush();
  return text;
}

std::string StreamingDecoder::push(int32_t id) {
  if (tokenizer_->kind(id) != TokenKind::byte) {
    std::string text = finish();
    if (!tokenizer_->is_special(id)) text += tokenizer_->piece(id);
    return text;
  }
  held_ += tokenizer_->piece(id);
  std::string text;
  while (!held_.empty()) {
    const size_t length = utf8_length(held_);
    if (length == 0 && utf8_incomplete_tail(held_) == held_.size()) break;
    text += length == 0 ? replacement : std::string_view(held_).substr(0, length);
    held_.erase(0, std::max<size_t>(length, 1));
  }
  return text;
}

std::string StreamingDecoder::finish() {
  std::string text;
  for (size_t i = 0; i < held_.size(); ++i) text += replacement;
  held_.clear();
  return text;
}

}  // namespace lapidary
