#include "chat/call_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/utf8.h"

namespace lapidary {
namespace {

constexpr size_t depth_max = 128;
constexpr size_t members_max = 4'000;  // of one object: inserting into an ordered one is linear

// The text of a call, with the places of the quote tokens, which are not part of the text.
struct MarkedText {
  std::string text;
  std::vector<size_t> quotes;  // a quote stands before text[i]; ascending
};

Result<MarkedText> marked_text(std::span<const int32_t> ids, const Tokenizer& tokenizer) {
  const int32_t quote = tokenizer.find("<|\"|>");
  MarkedText marked;
  StreamingDecoder decoder(tokenizer);
  for (const int32_t id : ids) {
    marked.text += decoder.push(id);
    if (!tokenizer.is_special(id)) continue;
    if (id != quote) return malformed("", "text and <|\"|>", fmt::format("the special token {}", tokenizer.piece(id)));
    marked.quotes.push_back(marked.text.size());
  }
  marked.text += decoder.finish();
  return marked;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?, as in JSON; nothing if `text` is no such number, or too large for a
// double.
std::optional<OrderedJson> number_of(std::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at - begin;
  };
  const auto skip = [&](std::string_view any) {
    const bool found = at < text.size() && any.find(text[at]) != std::string_view::npos;
    if (found) ++at;
    return found;
  };
  const bool negative = skip("-");
  const size_t first = at, whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return std::nullopt;
  bool integer = true;
  if (skip(".")) {
    integer = false;
    if (digits() == 0) return std::nullopt;
  }
  if (skip("eE")) {
    integer = false;
    skip("+-");
    if (digits() == 0) return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  const auto read = [&](auto value) -> std::optional<OrderedJson> {
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    return result.ec == std::errc() ? std::optional<OrderedJson>(value) : std::nullopt;
  };
  if (integer)
    if (auto value = negative ? read(int64_t{}) : read(uint64_t{})) return value;
  return read(double{});
}

class Parser {
 public:
  explicit Parser(const MarkedText& marked) : text_(marked.text), quotes_(marked.quotes) {}
  Result<ToolCall> run();

 private:
  bool at_quote() const { return quote_ < quotes_.size() && quotes_[quote_] == at_; }
  bool at_end() const { return at_ == text_.size() && quote_ == quotes_.size(); }
  // Whether text[at_] is `c`, with no quote before it.
  bool at(char c) const { return !at_quote() && at_ < text_.size() && text_[at_] == c; }
  bool skip(char c) {
    const bool found = at(c);
    if (found) ++at_;
    return found;
  }
  void skip_space() {
    while (!at_quote() && at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  std::string_view take_until(std::string_view marks);
  std::unexpected<Error> expected(std::string_view what) const;

  Result<std::string> quoted();
  Result<std::string> key();
  Result<void> value_into(OrderedJson& slot);
  Result<void> member_or_end();
  Result<void> element_or_end();

  std::string_view text_;
  const std::vector<size_t>& quotes_;
  size_t at_ = 0, quote_ = 0;
  std::vector<OrderedJson*> open_;  // objects and lists that are not closed; only the innermost one grows
  bool first_ = true;               // nothing has been read of the innermost one
};

// The text up to one of `marks`, a quote or the end.
std::string_view Parser::take_until(std::string_view marks) {
  const size_t begin = at_;
  const size_t limit = quote_ < quotes_.size() ? quotes_[quote_] : text_.size();
  at_ = std::min(text_.find_first_of(marks, at_), limit);
  return text_.substr(begin, at_ - begin);
}

std::unexpected<Error> Parser::expected(std::string_view what) const {
  const std::string found = at_quote() ? "<|\"|>"
                            : at_end() ? "the end"
                                       : fmt::format("\"{}\"", utf8_repair(text_.substr(at_, 20)));
  return malformed(fmt::format("byte {}", at_), what, found);
}

Result<std::string> Parser::quoted() {
  ++quote_;
  if (quote_ == quotes_.size()) return expected("<|\"|> at the end of a string");
  const size_t end = quotes_[quote_++];
  std::string value(text_.substr(at_, end - at_));
  at_ = end;
  return value;
}

Result<std::string> Parser::key() {
  skip_space();
  std::string name;
  if (at_quote()) {
    LAPIDARY_TRY(name, quoted());
    skip_space();
  } else {
    name = trimmed(take_until("{},:"));
    if (name.empty()) return expected("a key");
  }
  if (!skip(':')) return expected("a colon after the key");
  return name;
}

// A value that is complete, or the opening of an object or list.
Result<void> Parser::value_into(OrderedJson& slot) {
  skip_space();
  if (at_quote()) {
    LAPIDARY_TRY(slot, quoted());
    return {};
  }
  if (at('{') || at('[')) {
    if (open_.size() >= depth_max)
      return fail(ErrorKind::limit, fmt::format("byte {}", at_), fmt::format("nested deeper than {}", depth_max));
    slot = at('{') ? OrderedJson::object() : OrderedJson::array();
    ++at_;
    open_.push_back(&slot);
    first_ = true;
    return {};
  }
  const size_t begin = at_;
  const std::string_view word = trimmed(take_until("{}[],:"));
  if (word == "true" || word == "false") {
    slot = word == "true";
  } else if (word == "null") {
    slot = nullptr;
  } else if (auto number = number_of(word)) {
    slot = std::move(*number);
  } else {
    at_ = begin;
    return expected("a value");
  }
  return {};
}

Result<void> Parser::member_or_end() {
  OrderedJson& object = *open_.back();
  skip_space();
  if (skip('}')) {
    open_.pop_back();
    first_ = false;
    return {};
  }
  if (!first_ && !skip(',')) return expected("a comma or }");
  if (object.size() >= members_max)
    return fail(ErrorKind::limit, fmt::format("byte {}", at_),
                fmt::format("more than {} members in one object", members_max));
  LAPIDARY_TRY(const std::string name, key());
  first_ = false;
  return value_into(object[name]);
}

Result<void> Parser::element_or_end() {
  OrderedJson& list = *open_.back();
  skip_space();
  if (skip(']')) {
    open_.pop_back();
    first_ = false;
    return {};
  }
  if (!first_ && !skip(',')) return expected("a comma or ]");
  first_ = false;
  list.push_back(nullptr);
  return value_into(list.back());
}

Result<ToolCall> Parser::run() {
  skip_space();
  constexpr std::string_view opening = "call:";
  const bool unbroken = quotes_.empty() || quotes_[0] >= at_ + opening.size();
  if (!unbroken || !text_.substr(at_).starts_with(opening)) return expected("call:NAME{…}");
  at_ += opening.size();
  ToolCall call;
  call.name = trimmed(take_until("{}"));
  if (call.name.empty()) return expected("the name of a function");
  if (!at('{')) return expected("{ after the name");
  LAPIDARY_CHECK(value_into(call.arguments));
  while (!open_.empty()) LAPIDARY_CHECK(open_.back()->is_object() ? member_or_end() : element_or_end());
  skip_space();
  if (!at_end()) return expected("the end of the call");
  return call;
}

}  // namespace

Result<ToolCall> parse_tool_call(std::span<const int32_t> ids, const Tokenizer& tokenizer) {
  LAPIDARY_TRY(const MarkedText marked, marked_text(ids, tokenizer));
  return Parser(marked).run();
}

}  // namespace lapidary
