// tokenizer.json of Hugging Face's `tokenizers`, in the one form that Gemma's have.
//
// The file is read as a stream of parser events, because a tree of it would take ten times its 33 MB: the vocabulary,
// the merges and the added tokens go straight into tables, every other value is noted under its path
// ("decoder.decoders[0].type") and compared at the end with what this program does.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "tokenizer/source.h"

namespace lapidary {
namespace {

using Json = nlohmann::json;

constexpr size_t depth_max = 64;
constexpr size_t settings_max = 10'000;  // values outside the three big tables
constexpr size_t path_bytes_max = 4'096;
constexpr size_t setting_bytes_max = 200;  // what an error shows of a value

// Texts one behind the other, without an allocation each.
class TextPool {
 public:
  struct Place {
    uint64_t offset;
    uint32_t size;
  };
  Place add(std::string_view text) {
    const Place place{bytes_.size(), static_cast<uint32_t>(text.size())};
    bytes_ += text;
    return place;
  }
  std::string_view view(Place place) const { return std::string_view(bytes_).substr(place.offset, place.size); }

 private:
  std::string bytes_;
};

struct AddedToken {
  std::string content;
  int64_t id = -1;
  bool special = false, normalized = false;
};

class Reader : public nlohmann::json_sax<Json> {
 public:
  struct Entry {
    TextPool::Place text;
    int32_t id;
  };
  struct Rule {
    TextPool::Place left, right;
  };
  TextPool pool;
  std::vector<Entry> entries;
  std::vector<Rule> rules;
  std::vector<AddedToken> added;
  std::map<std::string, std::string, std::less<>> settings;  // path -> the value as JSON
  bool has_vocabulary = false;
  Error problem;  // set when an event was answered with false

  bool null() override { return value("null"); }
  bool boolean(bool flag) override {
    return place_ == Place::added_token ? flag_of_added(flag) : value(flag ? "true" : "false");
  }
  bool number_integer(int64_t number) override { return integer(number); }
  bool number_unsigned(uint64_t number) override {
    return integer(number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ? -1
                                                                                       : static_cast<int64_t>(number));
  }
  bool number_float(double number, const std::string&) override { return value(fmt::format("{}", number)); }
  bool string(std::string& text) override;
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(false); }
  bool start_array(size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& text) override {
    key_ = std::move(text);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    if (problem.message.empty())
      problem = {ErrorKind::refused, fmt::format("byte {}", position),
                 "expected well-formed JSON, found something else"};
    return false;
  }

 private:
  enum class Place : uint8_t { other, vocabulary, merges, merge_pair, added_tokens, added_token };
  struct Scope {
    bool is_array;
    size_t path_size;  // of the path to this scope
    uint64_t index;    // of the next element
    Place outer;
  };

  bool integer(int64_t number);
  bool value(std::string_view text);
  bool open(bool is_array);
  bool close();
  bool flag_of_added(bool flag);
  bool add_rule(std::string_view left, std::string_view right);
  bool enter_place(bool is_array);
  std::string path() const;
  bool stop(ErrorKind kind, std::string where, std::string message) {
    problem = {kind, std::move(where), std::move(message)};
    return false;
  }

  std::vector<Scope> scopes_;
  std::string prefix_;  // the path to the innermost scope
  std::string key_;     // of the next value, in an object
  Place place_ = Place::other;
  std::vector<std::string> pair_;
};

// The path of the value that comes now.
std::string Reader::path() const {
  if (scopes_.empty()) return "";
  if (scopes_.back().is_array) return fmt::format("{}[{}]", prefix_, scopes_.back().index);
  return prefix_.empty() ? key_ : prefix_ + "." + key_;
}

bool Reader::flag_of_added(bool flag) {
  AddedToken& token = added.back();
  if (key_ == "special") {
    token.special = flag;
  } else if (key_ == "normalized") {
    token.normalized = flag;
  } else if (flag) {  // single_word, lstrip, rstrip
    return stop(ErrorKind::unsupported, path(), "only added tokens that match anywhere and as they are can be read");
  }
  return true;
}

bool Reader::integer(int64_t number) {
  if (place_ == Place::vocabulary) {
    if (number < 0 || number > std::numeric_limits<int32_t>::max())
      return stop(ErrorKind::refused, fmt::format("model.vocab[\"{}\"]", key_.substr(0, 80)),
                  "expected an id from 0 on, found another number");
    if (key_.size() > token_bytes_max)
      return stop(ErrorKind::refused, "model.vocab",
                  fmt::format("a token of {} bytes, the limit is {}", key_.size(), token_bytes_max));
    entries.push_back({pool.add(key_), static_cast<int32_t>(number)});
    return true;
  }
  if (place_ == Place::added_token && key_ == "id") {
    added.back().id = number;
    return true;
  }
  return value(std::to_string(number));
}

bool Reader::string(std::string& text) {
  if (place_ == Place::merge_pair) {
    if (pair_.size() == 2) return stop(ErrorKind::refused, path(), "expected two pieces, found more");
    pair_.push_back(std::move(text));
    ++scopes_.back().index;
    return true;
  }
  if (place_ == Place::merges) {
    const size_t space = text.find(' ', 1);  // a piece itself holds none: it is spelled U+2581
    if (text.empty() || space == std::string::npos || space + 1 == text.size())
      return stop(ErrorKind::refused, path(), "expected two pieces with a space between them");
    if (!add_rule(std::string_view(text).substr(0, space), std::string_view(text).substr(space + 1))) return false;
    ++scopes_.back().index;
    return true;
  }
  if (place_ == Place::added_token && key_ == "content") {
    if (text.size() > token_bytes_max)
      return stop(ErrorKind::refused, path(),
                  fmt::format("a token of {} bytes, the limit is {}", text.size(), token_bytes_max));
    added.back().content = std::move(text);
    return true;
  }
  return value('"' + text.substr(0, setting_bytes_max) + '"');
}

bool Reader::add_rule(std::string_view left, std::string_view right) {
  if (rules.size() == no_rank - 1) return stop(ErrorKind::limit, path(), "too many merges");
  rules.push_back({pool.add(with_plain_spaces(left)), pool.add(with_plain_spaces(right))});
  return true;
}

// A value that goes into none of the tables.
bool Reader::value(std::string_view text) {
  if (place_ != Place::other && place_ != Place::added_token)
    return stop(ErrorKind::refused, path(), fmt::format("expected another type of value, found {}", text));
  if (place_ == Place::other) {
    if (settings.size() >= settings_max) return stop(ErrorKind::limit, path(), "more settings than a tokenizer has");
    settings[path()] = text;
  }
  if (!scopes_.empty()) ++scopes_.back().index;
  return true;
}

// The three tables begin at known paths; a table of another shape belongs to another kind of model.
bool Reader::enter_place(bool is_array) {
  const std::string at = path();
  if (at == "model.vocab" && scopes_.size() == 2) {
    if (is_array)
      return stop(ErrorKind::unsupported, at, "expected an object of token ids, found a list (a Unigram model)");
    if (has_vocabulary) return stop(ErrorKind::refused, at, "given twice");
    has_vocabulary = true;
    place_ = Place::vocabulary;
  } else if (at == "model.merges" && scopes_.size() == 2) {
    place_ = Place::merges;
  } else if (at == "added_tokens" && scopes_.size() == 1) {
    place_ = Place::added_tokens;
  }
  if (!is_array && (place_ == Place::merges || place_ == Place::added_tokens))
    return stop(ErrorKind::refused, at, "expected a list, found an object");
  return true;
}

bool Reader::open(bool is_array) {
  if (scopes_.size() >= depth_max)
    return stop(ErrorKind::limit, prefix_, fmt::format("nested deeper than {}", depth_max));
  if (scopes_.empty() && is_array) return stop(ErrorKind::refused, "", "expected an object, found a list");
  const Place outer = place_;
  if (outer == Place::other) {
    if (!enter_place(is_array)) return false;
  } else if (outer == Place::merges && is_array) {
    place_ = Place::merge_pair;
    pair_.clear();
  } else if (outer == Place::added_tokens && !is_array) {
    place_ = Place::added_token;
    added.emplace_back();
  } else {
    return stop(ErrorKind::refused, path(), "expected another type of value, found a list or an object");
  }
  const size_t path_size = prefix_.size();
  if (outer == Place::other || outer == Place::added_tokens) {
    prefix_ = path();
    if (prefix_.size() > path_bytes_max) return stop(ErrorKind::limit, "", "keys longer than a tokenizer has");
  }
  scopes_.push_back({is_array, path_size, 0, outer});
  return true;
}

bool Reader::close() {
  const Scope scope = scopes_.back();
  scopes_.pop_back();
  if (place_ == Place::merge_pair) {
    if (pair_.size() != 2 || pair_[0].empty() || pair_[1].empty())
      return stop(ErrorKind::refused, path(), "expected two pieces, found fewer");
    if (!add_rule(pair_[0], pair_[1])) return false;
  }
  place_ = scope.outer;
  prefix_.resize(scope.path_size);
  if (!scopes_.empty()) ++scopes_.back().index;
  return true;
}

struct Expected {
  const char* path;
  std::initializer_list<std::string_view> values;  // as JSON; "" stands for: not there
};

// The pre-tokenizer cuts at spaces, of which the normalizer has left none: it does nothing, and may be missing.
// The post-processor adds <bos>, which is not this library's business. Truncation and padding are no part of a
// vocabulary.
const Expected expected_settings[] = {
    {"model.type", {"\"BPE\"", ""}},
    {"model.byte_fallback", {"true"}},
    {"model.dropout", {"null", "0", ""}},
    {"model.continuing_subword_prefix", {"null", "\"\"", ""}},
    {"model.end_of_word_suffix", {"null", "\"\"", ""}},
    {"model.ignore_merges", {"false", ""}},
    {"normalizer.type", {"\"Replace\""}},
    {"normalizer.pattern.String", {"\" \""}},
    {"normalizer.content", {"\"\xE2\x96\x81\""}},
    {"pre_tokenizer", {"null", ""}},
    {"pre_tokenizer.type", {"\"Split\"", ""}},
    {"pre_tokenizer.pattern.String", {"\" \"", ""}},
    {"pre_tokenizer.behavior", {"\"MergedWithPrevious\"", ""}},
    {"pre_tokenizer.invert", {"false", ""}},
    {"decoder.type", {"\"Sequence\""}},
    {"decoder.decoders[0].type", {"\"Replace\""}},
    {"decoder.decoders[0].pattern.String", {"\"\xE2\x96\x81\""}},
    {"decoder.decoders[0].content", {"\" \""}},
    {"decoder.decoders[1].type", {"\"ByteFallback\""}},
    {"decoder.decoders[2].type", {"\"Fuse\""}},
    {"decoder.decoders[3].type", {""}},
};

Result<void> check_settings(const Reader& reader, const std::string& name) {
  for (const Expected& expected : expected_settings) {
    const auto found = reader.settings.find(expected.path);
    const std::string_view value = found == reader.settings.end() ? std::string_view() : found->second;
    if (std::ranges::find(expected.values, value) != expected.values.end()) continue;
    const std::string_view wanted = *expected.values.begin();
    return fail(ErrorKind::unsupported, fmt::format("{}: {}", name, expected.path),
                fmt::format("only Gemma's kind of tokenizer can be read: expected {}, found {}",
                            wanted.empty() ? "nothing" : wanted, value.empty() ? "nothing" : value));
  }
  if (!reader.has_vocabulary) return malformed(name + ": model.vocab", "an object of token ids", "nothing");
  for (const char* list : {"model.merges", "added_tokens"})  // lists are not noted as settings
    if (const auto found = reader.settings.find(list); found != reader.settings.end())
      return malformed(fmt::format("{}: {}", name, list), "a list", found->second);
  return {};
}

// Ids index tables, so they must be about as many as there are tokens.
Result<void> check_ids(const Reader& reader, const std::string& name) {
  const auto limit = static_cast<int64_t>(2 * (reader.entries.size() + reader.added.size()) + 256);
  for (const Reader::Entry& entry : reader.entries)
    if (entry.id >= limit)
      return malformed(fmt::format("{}: model.vocab[\"{}\"]", name, reader.pool.view(entry.text).substr(0, 80)),
                       fmt::format("an id below {} (twice the number of tokens)", limit), std::to_string(entry.id));
  for (size_t i = 0; i < reader.added.size(); ++i) {
    const AddedToken& token = reader.added[i];
    const std::string where = fmt::format("{}: added_tokens[{}]", name, i);
    if (token.id < 0 || token.id >= limit)
      return malformed(where + ".id", fmt::format("an id from 0 to {}", limit - 1), std::to_string(token.id));
    if (token.content.empty()) return malformed(where + ".content", "the text of the token", "nothing");
    // Matching before or after spaces are rewritten makes a difference only to texts that hold one.
    if (token.normalized &&
        (token.content.find(' ') != std::string::npos || token.content.find(space_symbol) != std::string::npos))
      return fail(ErrorKind::unsupported, where, "an added token with spaces that is matched after normalisation");
  }
  return {};
}

Result<void> fill_vocabulary(const Reader& reader, Vocabulary& vocabulary, const std::string& name) {
  std::vector<bool> taken;
  for (const Reader::Entry& entry : reader.entries) {
    const auto index = static_cast<size_t>(entry.id);
    if (index >= taken.size()) taken.resize(index + 1);
    const std::string_view text = reader.pool.view(entry.text);
    if (taken[index])
      return malformed(fmt::format("{}: model.vocab[\"{}\"]", name, text.substr(0, 80)), "an id of its own",
                       fmt::format("{}, which another token has", entry.id));
    taken[index] = true;
    const int byte = byte_token_value(text);
    const char character = static_cast<char>(byte);
    if (byte >= 0) {
      vocabulary.set(entry.id, {&character, 1}, TokenKind::byte);
    } else {
      vocabulary.set(entry.id, with_plain_spaces(text), TokenKind::normal);
    }
  }
  vocabulary.index();
  return {};
}

// Marks the added tokens and appends those that the vocabulary lacks.
Result<void> apply_added(const Reader& reader, TokenizerSource& source, const std::string& name) {
  bool appended = false;
  for (size_t i = 0; i < reader.added.size(); ++i) {
    const AddedToken& token = reader.added[i];
    const auto id = static_cast<int32_t>(token.id);
    const std::string text = with_plain_spaces(token.content);
    const TokenKind kind = token.special ? TokenKind::control : TokenKind::added;
    const int32_t known = source.vocabulary.find(text);
    const bool free = known < 0 && (!source.vocabulary.contains(id) || source.vocabulary.text(id).empty());
    if (known != id && !free)
      return malformed(fmt::format("{}: added_tokens[{}]", name, i),
                       fmt::format("the id that \"{}\" has in the vocabulary", token.content.substr(0, 80)),
                       std::to_string(id));
    if (free) {
      source.vocabulary.set(id, text, kind);
      appended = true;
    } else {
      source.vocabulary.set_kind(id, kind);
    }
    (token.special ? source.special_tokens : source.added_tokens).push_back({token.content, id});
  }
  if (appended) source.vocabulary.index();
  return {};
}

}  // namespace

Result<TokenizerSource> read_tokenizer_json(std::string_view text, const std::string& name) {
  Reader reader;
  if (!Json::sax_parse(text.begin(), text.end(), &reader)) return std::unexpected(std::move(reader.problem).in(name));
  LAPIDARY_CHECK(check_settings(reader, name));
  LAPIDARY_CHECK(check_ids(reader, name));
  TokenizerSource source;
  source.model_name = "BPE";
  LAPIDARY_CHECK(fill_vocabulary(reader, source.vocabulary, name));
  LAPIDARY_CHECK(apply_added(reader, source, name));
  source.merges.reserve(reader.rules.size());
  for (size_t i = 0; i < reader.rules.size(); ++i)
    add_merge(source, reader.pool.view(reader.rules[i].left), reader.pool.view(reader.rules[i].right),
              static_cast<uint32_t>(i));
  source.model_name = source.vocabulary.find("<|turn>") >= 0 ? "gemma4 BPE" : "gemma3 BPE";
  return source;
}

}  // namespace lapidary
