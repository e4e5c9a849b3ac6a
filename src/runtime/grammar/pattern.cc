// ECMA-262 patterns -> expressions.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "grammar/regex.h"

namespace lapidary::grammar {
namespace {

constexpr uint32_t depth_max = 100;
constexpr size_t pattern_bytes_max = 8'000;
constexpr uint32_t count_max = 100'000;

const CodePointSet digits = {{'0', '9'}};
const CodePointSet word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePointSet space = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                            {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodePointSet line_ends = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

// A pattern as it is written. What a look-ahead says depends on all that follows, so it is resolved afterwards.
struct Part {
  enum class Kind : uint8_t { set, begin, end, sequence, either, repeat, ahead };
  Kind kind = Kind::sequence;
  CodePointSet set;
  std::vector<Part> parts;
  uint32_t min = 0, max = 0;
  bool negative = false;  // ahead
  bool looks = false;     // holds a look-ahead
};

class Reader {
 public:
  Reader(std::string_view text, size_t at, const std::string& where) : text_(text), at_(at), where_(where) {}

  Result<Part> pattern() {
    LAPIDARY_TRY(Part part, either(0));
    if (!at_end()) return error("a ) without its (");
    return part;
  }
  Result<CodePointSet> bracket();
  size_t at() const { return at_; }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool skip(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  std::unexpected<Error> error(std::string_view what) const {
    return fail(ErrorKind::unsupported, where_,
                fmt::format("the pattern cannot be enforced: {} at character {}", what, at_));
  }
  Result<char32_t> character();
  Result<Part> either(uint32_t depth);
  Result<Part> sequence(uint32_t depth);
  Result<Part> atom(uint32_t depth);
  Result<Part> group(uint32_t depth);
  Result<Part> quantified(Part part);
  std::optional<std::pair<uint32_t, uint32_t>> braces();
  Result<CodePointSet> escape(bool in_class);
  Result<char32_t> hex(size_t digits_wanted);
  Result<char32_t> unicode();

  std::string_view text_;
  size_t at_;
  const std::string& where_;
};

Part set_part(CodePointSet set) {
  Part part;
  part.kind = Part::Kind::set;
  part.set = std::move(set);
  return part;
}

Result<char32_t> Reader::character() {
  const size_t length = utf8_length(text_.substr(at_));
  if (length == 0) return error("bytes that are not UTF-8");
  const char32_t result = utf8_decode(text_.substr(at_), length);
  at_ += length;
  return result;
}

Result<Part> Reader::either(uint32_t depth) {
  if (depth > depth_max) return error(fmt::format("groups nested deeper than {}", depth_max));
  Part result;
  result.kind = Part::Kind::either;
  do {
    LAPIDARY_TRY(Part part, sequence(depth));
    result.looks |= part.looks;
    result.parts.push_back(std::move(part));
  } while (skip("|"));
  if (result.parts.size() == 1) return std::move(result.parts[0]);
  return result;
}

Result<Part> Reader::sequence(uint32_t depth) {
  Part result;
  while (!at_end() && peek() != '|' && peek() != ')') {
    LAPIDARY_TRY(Part part, atom(depth));
    LAPIDARY_TRY(part, quantified(std::move(part)));
    result.looks |= part.looks;
    result.parts.push_back(std::move(part));
  }
  return result;
}

Result<Part> Reader::atom(uint32_t depth) {
  const char c = peek();
  if (c == '(') return group(depth);
  if (c == '[') {
    LAPIDARY_TRY(CodePointSet set, bracket());
    return set_part(std::move(set));
  }
  if (c == '.' || c == '^' || c == '$') {
    ++at_;
    Part part = set_part(c == '.' ? inverted(line_ends) : CodePointSet{});
    if (c != '.') part.kind = c == '^' ? Part::Kind::begin : Part::Kind::end;
    return part;
  }
  if (c == '\\') {
    LAPIDARY_TRY(CodePointSet set, escape(false));
    return set_part(std::move(set));
  }
  if (c == '*' || c == '+' || c == '?') return error("a quantifier that follows nothing");
  LAPIDARY_TRY(const char32_t literal, character());
  return set_part({{literal, literal}});
}

Result<Part> Reader::group(uint32_t depth) {
  ++at_;
  Part ahead;
  bool looks = false;
  if (skip("?=") || skip("?!")) {
    looks = true;
    ahead.negative = text_[at_ - 1] == '!';
  } else if (skip("?<")) {
    if (peek() == '=' || peek() == '!') return error("look-behind");
    const size_t end = text_.find('>', at_);
    if (end == std::string_view::npos) return error("the name of a group");
    at_ = end + 1;
  } else if (peek() == '?' && !skip("?:")) {
    return error("a kind of group that ECMA-262 does not have");
  }
  LAPIDARY_TRY(Part inner, either(depth + 1));
  if (!skip(")")) return error("a ( without its )");
  if (!looks) return inner;
  if (inner.looks) return error("a look-ahead within another");
  ahead.kind = Part::Kind::ahead;
  ahead.looks = true;
  ahead.parts.push_back(std::move(inner));
  return ahead;
}

// {n}, {n,} or {n,m}; anything else is text.
std::optional<std::pair<uint32_t, uint32_t>> Reader::braces() {
  const size_t begin = at_++;
  const auto number = [&]() -> std::optional<uint32_t> {
    const size_t first = at_;
    uint64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_)
      value = std::min<uint64_t>(value * 10 + (peek() - '0'), unbounded - 1);
    return at_ == first ? std::nullopt : std::optional<uint32_t>(static_cast<uint32_t>(value));
  };
  if (const auto min = number()) {
    std::optional<uint32_t> max = min;
    if (skip(",")) {
      max = number();
      if (!max) max = unbounded;
    }
    if (skip("}")) return std::pair{*min, *max};
  }
  at_ = begin;
  return std::nullopt;
}

Result<Part> Reader::quantified(Part part) {
  std::optional<std::pair<uint32_t, uint32_t>> range;
  if (skip("*")) {
    range = {0, unbounded};
  } else if (skip("+")) {
    range = {1, unbounded};
  } else if (skip("?")) {
    range = {0, 1};
  } else if (peek() == '{') {
    range = braces();
    if (!range) return part;
  }
  if (!range) return part;
  skip("?");
  if (peek() == '+' || peek() == '*') return error("a quantifier that follows a quantifier");
  if (range->first > range->second) return error("a range whose first number is larger than its second");
  if (range->first > count_max || (range->second != unbounded && range->second > count_max))
    return error(fmt::format("a repetition of more than {} times", count_max));
  if (part.looks) return error("a look-ahead that is repeated");
  Part result;
  result.kind = Part::Kind::repeat;
  result.min = range->first;
  result.max = range->second;
  result.parts.push_back(std::move(part));
  return result;
}

Result<char32_t> Reader::hex(size_t digits_wanted) {
  char32_t value = 0;
  for (size_t i = 0; i < digits_wanted; ++i, ++at_) {
    const char c = peek();
    const bool digit = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'f', upper = c >= 'A' && c <= 'F';
    if (!digit && !lower && !upper) return error("an escape without its hexadecimal digits");
    value = value * 16 + static_cast<char32_t>(digit ? c - '0' : (lower ? c - 'a' : c - 'A') + 10);
  }
  return value;
}

Result<char32_t> Reader::unicode() {
  if (skip("{")) {
    const size_t end = text_.find('}', at_);
    if (end == std::string_view::npos || end - at_ == 0 || end - at_ > 6)
      return error("a \\u{…} without 1 to 6 digits");
    LAPIDARY_TRY(const char32_t value, hex(end - at_));
    if (value > code_point_max) return error("a code point that does not exist");
    ++at_;
    return value;
  }
  LAPIDARY_TRY(char32_t value, hex(4));
  if (value >= 0xD800 && value < 0xDC00 && skip("\\u")) {
    LAPIDARY_TRY(const char32_t low, hex(4));
    if (low < 0xDC00 || low > 0xDFFF) return error("half of a surrogate pair");
    value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
  }
  return value;
}

Result<CodePointSet> Reader::escape(bool in_class) {
  ++at_;
  if (at_end()) return error("a backslash at the end");
  const auto one = [](char32_t c) { return CodePointSet{{c, c}}; };
  const char c = text_[at_];
  if (static_cast<unsigned char>(c) >= 0x80) {
    LAPIDARY_TRY(const char32_t literal, character());
    return one(literal);
  }
  ++at_;
  switch (c) {
    case 'd':
      return digits;
    case 'D':
      return inverted(digits);
    case 'w':
      return word;
    case 'W':
      return inverted(word);
    case 's':
      return space;
    case 'S':
      return inverted(space);
    case 't':
      return one('\t');
    case 'n':
      return one('\n');
    case 'r':
      return one('\r');
    case 'f':
      return one('\f');
    case 'v':
      return one('\v');
    case 'b':
      if (in_class) return one('\b');
      return error("a word boundary");
    case 'x': {
      LAPIDARY_TRY(const char32_t value, hex(2));
      return one(value);
    }
    case 'u': {
      LAPIDARY_TRY(const char32_t value, unicode());
      return one(value);
    }
    case '0':
      if (peek() < '0' || peek() > '9') return one(0);
      return error("an octal escape");
    case 'c': {
      const char letter = peek();
      if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')))
        return error("a \\c without a letter");
      ++at_;
      return one(static_cast<char32_t>(letter % 32));
    }
    default:
      break;
  }
  if (c >= '1' && c <= '9') return error("a backward reference");
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return error(fmt::format("the escape \\{}", c));
  return one(static_cast<char32_t>(c));
}

Result<CodePointSet> Reader::bracket() {
  ++at_;
  const bool negative = skip("^");
  CodePointSet set;
  while (!skip("]")) {
    if (at_end()) return error("a [ without its ]");
    const auto member = [&]() -> Result<CodePointSet> {
      if (peek() == '\\') return escape(true);
      LAPIDARY_TRY(const char32_t literal, character());
      return CodePointSet{{literal, literal}};
    };
    LAPIDARY_TRY(const CodePointSet first, member());
    const bool range = peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
    set.insert(set.end(), first.begin(), first.end());
    if (!range) continue;
    ++at_;
    LAPIDARY_TRY(const CodePointSet last, member());
    const auto single = [](const CodePointSet& of) { return of.size() == 1 && of[0].first == of[0].last; };
    if (!single(first) || !single(last)) {  // [\w-.]: the dash stands for itself
      set.push_back({'-', '-'});
      set.insert(set.end(), last.begin(), last.end());
      continue;
    }
    if (first[0].first > last[0].first) return error("a range whose first character is larger than its last");
    set.push_back({first[0].first, last[0].first});
  }
  set = normalized(std::move(set));
  return negative ? inverted(set) : set;
}

class Builder {
 public:
  explicit Builder(RegexArena& arena)
      : arena_(arena),
        rest_(arena.alternation(
            {arena.epsilon(), arena.concat(arena.repeat(arena.any_character(), 0, unbounded), arena.mark(text_end))})) {
  }

  // `part`, and after it `after`, which reaches to the end of the text where `part` looks ahead.
  RegexId build(const Part& part, RegexId after) {
    if (!part.looks) return arena_.concat(plain(part), after);
    switch (part.kind) {
      case Part::Kind::ahead: {
        const RegexId seen = arena_.concat(plain(part.parts[0]), rest_);
        return arena_.intersection({part.negative ? arena_.negation(seen) : seen, after});
      }
      case Part::Kind::either: {
        std::vector<RegexId> parts;
        for (const Part& one : part.parts) parts.push_back(build(one, after));
        return arena_.alternation(std::move(parts));
      }
      default:
        break;
    }
    for (size_t i = part.parts.size(); i-- > 0;) after = build(part.parts[i], after);
    return after;
  }
  RegexId rest() const { return rest_; }

 private:
  RegexId plain(const Part& part) {
    std::vector<RegexId> parts;
    switch (part.kind) {
      case Part::Kind::set:
        return arena_.set(part.set);
      case Part::Kind::begin:
        return arena_.mark(text_begin);
      case Part::Kind::end:
        return arena_.mark(text_end);
      case Part::Kind::repeat:
        return arena_.repeat(plain(part.parts[0]), part.min, part.max);
      case Part::Kind::either:
        for (const Part& one : part.parts) parts.push_back(plain(one));
        return arena_.alternation(std::move(parts));
      default:
        break;
    }
    RegexId result = arena_.epsilon();
    for (size_t i = part.parts.size(); i-- > 0;) {
      const Part& one = part.parts[i];
      // "^^" says no more than "^".
      if (one.kind == Part::Kind::begin && i + 1 < part.parts.size() && part.parts[i + 1].kind == one.kind) continue;
      if (one.kind == Part::Kind::end && i > 0 && part.parts[i - 1].kind == one.kind) continue;
      result = arena_.concat(plain(one), result);
    }
    return result;
  }

  RegexArena& arena_;
  RegexId rest_;  // what may follow a match that ends before the end, or at it
};

}  // namespace

// The text is seen as BEGIN characters END; `^` and `$` are these marks. A match may begin at the mark or anywhere
// behind it, and the same at the end.
Result<RegexId> parse_pattern(RegexArena& arena, std::string_view pattern, PatternUse use, const std::string& where) {
  if (pattern.size() > pattern_bytes_max)
    return fail(ErrorKind::limit, where,
                fmt::format("a pattern of {} bytes; at most {}", pattern.size(), pattern_bytes_max));
  Reader reader(pattern, 0, where);
  LAPIDARY_TRY(const Part part, reader.pattern());
  Builder builder(arena);
  const RegexId begin = arena.mark(text_begin);
  const RegexId any = arena.repeat(arena.any_character(), 0, unbounded);
  RegexId lead = arena.epsilon(), trail = builder.rest();
  if (use == PatternUse::search) {
    lead = arena.alternation({arena.epsilon(), arena.concat(begin, any)});
  } else {
    lead = arena.alternation({arena.epsilon(), begin});
    trail = arena.alternation({arena.epsilon(), arena.mark(text_end)});
  }
  const RegexId marked = arena.concat(lead, builder.build(part, trail));
  return arena.intersection({arena.derivative(marked, text_begin), arena.everything()});
}

Result<CodePointSet> parse_character_class(std::string_view pattern, size_t& at, const std::string& where) {
  Reader reader(pattern, at, where);
  auto set = reader.bracket();
  at = reader.at();
  return set;
}

}  // namespace lapidary::grammar
