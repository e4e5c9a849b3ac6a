// The keys tokenizer.ggml.* of a GGUF: llama.cpp's "gemma4" (BPE with merges) and "llama" (SentencePiece with scores).
//
// GGUF has no kind for "an added token that is plain text". llama.cpp writes those as NORMAL (gemma4) or USER_DEFINED
// (llama); they are told apart here so that the same text gives the same ids as with the model's tokenizer.json.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/utf8.h"
#include "tokenizer/source.h"

namespace lapidary {
namespace {

enum GgmlTokenType : int64_t { ggml_normal = 1, ggml_unknown, ggml_control, ggml_user_defined, ggml_unused, ggml_byte };

constexpr const char* tokens_key = "tokenizer.ggml.tokens";
constexpr const char* types_key = "tokenizer.ggml.token_type";

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool repeats_one(std::string_view text, char character) {
  return !text.empty() && text.find_first_not_of(character) == std::string_view::npos;
}

// Runs of line breaks, tabs, or of two and more spaces.
bool is_run(std::string_view text) {
  return repeats_one(text, '\n') || repeats_one(text, '\t') || (text.size() >= 2 && repeats_one(text, ' '));
}

// <|turn>, <turn|>, <start_of_image> …: markers of the chat format. Other USER_DEFINED tokens are plain text.
bool is_marker(std::string_view text) {
  if (text.size() < 3 || text.front() != '<' || text.back() != '>') return false;
  return text[1] == '|' || text[text.size() - 2] == '|' || text == "<start_of_image>" || text == "<end_of_image>";
}

// <unused0> …: CONTROL in Gemma 3's files, NORMAL in Gemma 4's, plain added tokens in both models' tokenizer.json.
bool is_unused_name(std::string_view text) {
  if (!text.starts_with("<unused") || !text.ends_with(">") || text.size() < 9) return false;
  return text.substr(7, text.size() - 8).find_first_not_of("0123456789") == std::string_view::npos;
}

Result<TokenKind> kind_of(int64_t type, std::string_view text, const std::string& where) {
  switch (type) {
    case ggml_normal:
      return is_run(text) || is_unused_name(text) ? TokenKind::added : TokenKind::normal;
    case ggml_unknown:
      return TokenKind::unknown;
    case ggml_control:
      return is_unused_name(text) ? TokenKind::added : TokenKind::control;
    case ggml_user_defined:
      return is_marker(text) ? TokenKind::visible : TokenKind::added;
    case ggml_unused:
      return TokenKind::unused;
    case ggml_byte:
      return TokenKind::byte;
    default:
      return malformed(where, "a token type from 1 to 6", std::to_string(type));
  }
}

Result<void> fill_vocabulary(const std::vector<std::string_view>& tokens, const std::vector<int64_t>& types,
                             Vocabulary& vocabulary) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", tokens_key, i);
    if (tokens[i].size() > token_bytes_max)
      return malformed(where, fmt::format("a token of at most {} bytes", token_bytes_max),
                       fmt::format("{} bytes", tokens[i].size()));
    if (!is_utf8(tokens[i])) return malformed(where, "UTF-8", "other bytes");
    const std::string text = with_plain_spaces(tokens[i]);
    LAPIDARY_TRY(const TokenKind kind, kind_of(types[i], text, fmt::format("{}[{}]", types_key, i)));
    if (kind == TokenKind::byte) {
      const int value = byte_token_value(tokens[i]);
      if (value < 0)
        return malformed(where, "a byte token such as <0x41>", fmt::format("\"{}\"", tokens[i].substr(0, 80)));
      const char byte = static_cast<char>(value);
      vocabulary.set(static_cast<int32_t>(i), {&byte, 1}, kind);
    } else {
      vocabulary.set(static_cast<int32_t>(i), text, kind);
    }
  }
  vocabulary.index();
  return {};
}

Result<void> add_ranked_merges(const Gguf& file, TokenizerSource& source) {
  constexpr const char* key = "tokenizer.ggml.merges";
  LAPIDARY_TRY(const auto merges, file.strings(key));
  if (!merges) return fail(ErrorKind::not_found, key, "expected the list of merges, found nothing");
  if (merges->size() >= no_rank) return fail(ErrorKind::limit, key, "too many merges");
  source.merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string_view rule = (*merges)[i];
    const size_t space = rule.find(' ', 1);
    if (rule.empty() || space == std::string_view::npos || space + 1 == rule.size())
      return malformed(fmt::format("{}[{}]", key, i), "two pieces with a space between them",
                       fmt::format("\"{}\"", rule.substr(0, 80)));
    add_merge(source, with_plain_spaces(rule.substr(0, space)), with_plain_spaces(rule.substr(space + 1)),
              static_cast<uint32_t>(i));
  }
  return {};
}

// SentencePiece joins the neighbours whose union is the best-scored token, the leftmost of equals. That is BPE if every
// way to cut a token in two is a merge, ranked by the token's score. Runs of spaces have no score in the file; they
// come first.
Result<void> add_scored_merges(const Gguf& file, TokenizerSource& source) {
  constexpr const char* key = "tokenizer.ggml.scores";
  LAPIDARY_TRY(const auto scores, file.numbers(key));
  const Vocabulary& vocabulary = source.vocabulary;
  if (!scores || scores->size() != static_cast<size_t>(vocabulary.size()))
    return malformed(key, fmt::format("{} scores", vocabulary.size()), fmt::format("{}", scores ? scores->size() : 0));
  if (std::ranges::any_of(*scores, [](double score) { return score != score; }))
    return malformed(key, "numbers", "one that is none");
  std::vector<int32_t> order;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const bool joins = vocabulary.kind(id) == TokenKind::normal ||
                       (vocabulary.kind(id) == TokenKind::added && repeats_one(vocabulary.text(id), ' '));
    if (joins && vocabulary.text(id).size() > 1) order.push_back(id);
  }
  const auto score = [&](int32_t id) {
    return vocabulary.kind(id) == TokenKind::added ? std::numeric_limits<double>::infinity()
                                                   : (*scores)[static_cast<size_t>(id)];
  };
  std::ranges::sort(order, [&](int32_t a, int32_t b) { return score(a) == score(b) ? a < b : score(a) > score(b); });
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && score(order[i]) != score(order[i - 1])) ++rank;
    const std::string_view text = vocabulary.text(order[i]);
    for (size_t cut = utf8_length(text); cut < text.size(); cut += utf8_length(text.substr(cut)))
      add_merge(source, text.substr(0, cut), text.substr(cut), rank);
  }
  return {};
}

// A longer token that no merge makes can only ever have been an added one (the HTML tags, [multimodal]).
void mark_unreachable_tokens(TokenizerSource& source) {
  Vocabulary& vocabulary = source.vocabulary;
  std::vector<bool> reachable(static_cast<size_t>(vocabulary.size()), false);
  source.merges.for_each_result([&](int32_t id) { reachable[static_cast<size_t>(id)] = true; });
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    const bool longer = text.size() > utf8_length(text);
    if (vocabulary.kind(id) == TokenKind::normal && longer && !reachable[static_cast<size_t>(id)])
      vocabulary.set_kind(id, TokenKind::added);
  }
}

// In raw text, runs of spaces are left to the merges, as tokenizer.json leaves them; only U+2581 itself is matched.
void list_matched_tokens(TokenizerSource& source) {
  const Vocabulary& vocabulary = source.vocabulary;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenKind kind = vocabulary.kind(id);
    std::string text(vocabulary.text(id));
    if (kind == TokenKind::added) {
      if (repeats_one(text, ' ')) {
        std::string symbols;
        for (size_t i = 0; i < text.size(); ++i) symbols += space_symbol;
        text = std::move(symbols);
      }
      source.added_tokens.push_back({std::move(text), id});
    } else if (kind == TokenKind::control || kind == TokenKind::visible || kind == TokenKind::unknown) {
      source.special_tokens.push_back({std::move(text), id});
    }
  }
}

}  // namespace

Result<TokenizerSource> read_tokenizer_gguf(const Gguf& file) {
  LAPIDARY_TRY(const auto model, file.string("tokenizer.ggml.model"));
  if (!model) return fail(ErrorKind::not_found, "tokenizer.ggml.model", "expected a tokenizer, found nothing");
  if (*model != "gemma4" && *model != "llama")
    return fail(ErrorKind::unsupported, "tokenizer.ggml.model",
                fmt::format("expected \"gemma4\" or \"llama\" (SentencePiece), found \"{}\"", model->substr(0, 80)));
  LAPIDARY_TRY(const auto space_prefix, file.boolean("tokenizer.ggml.add_space_prefix"));
  if (space_prefix.value_or(false))
    return fail(ErrorKind::unsupported, "tokenizer.ggml.add_space_prefix",
                "no Gemma vocabulary puts a space before the text");
  LAPIDARY_TRY(const auto tokens, file.strings(tokens_key));
  if (!tokens || tokens->empty()) return fail(ErrorKind::not_found, tokens_key, "expected the tokens, found nothing");
  if (tokens->size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    return fail(ErrorKind::limit, tokens_key, "too many tokens");
  LAPIDARY_TRY(const auto types,
               file.integers(types_key, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
  if (!types || types->size() != tokens->size())
    return malformed(types_key, fmt::format("{} token types", tokens->size()),
                     fmt::format("{}", types ? types->size() : 0));
  TokenizerSource source;
  LAPIDARY_CHECK(fill_vocabulary(*tokens, *types, source.vocabulary));
  if (*model == "gemma4") {
    LAPIDARY_CHECK(add_ranked_merges(file, source));
    mark_unreachable_tokens(source);
    source.model_name = "gemma4 BPE";
  } else {
    LAPIDARY_CHECK(add_scored_merges(file, source));
    source.model_name = "gemma3 SentencePiece";
  }
  list_matched_tokens(source);
  return source;
}

}  // namespace lapidary
