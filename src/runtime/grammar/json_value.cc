#include "grammar/json_value.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "grammar/decimal.h"

namespace lapidary::grammar {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Reader {
 public:
  Reader(std::string_view text, const std::string& where, uint64_t values_max)
      : text_(text), where_(where), values_left_(values_max) {}

  Result<JsonValue> document() {
    JsonValue value;
    LAPIDARY_CHECK(read(value, 0));
    skip_space();
    if (at_ != text_.size()) return expected("the end");
    return value;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool skip(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  std::unexpected<Error> expected(std::string_view what) const {
    const std::string found =
        at_ < text_.size() ? fmt::format("\"{}\"", utf8_repair(text_.substr(at_, 20))) : std::string("the end");
    return malformed(fmt::format("{}: byte {}", where_, at_), what, found);
  }
  Result<void> read(JsonValue& value, uint32_t depth);
  Result<void> members(JsonValue& value, uint32_t depth);
  Result<void> elements(JsonValue& value, uint32_t depth);
  Result<void> string(std::string& text);
  Result<void> escape(std::string& text);
  Result<char32_t> hex();
  Result<void> number(JsonValue& value);
  Result<void> word(std::string_view word);

  std::string_view text_;
  const std::string& where_;
  uint64_t values_left_;
  size_t at_ = 0;
};

Result<void> Reader::read(JsonValue& value, uint32_t depth) {
  if (depth > json_depth_max)
    return fail(ErrorKind::limit, fmt::format("{}: byte {}", where_, at_),
                fmt::format("nested deeper than {}", json_depth_max));
  if (values_left_-- == 0) return fail(ErrorKind::limit, where_, "too many values");
  skip_space();
  const char c = peek();
  if (c == '{') return members(value, depth);
  if (c == '[') return elements(value, depth);
  if (c == '"') {
    value.kind = JsonValue::Kind::string;
    return string(value.text);
  }
  if (c == '-' || is_digit(c)) return number(value);
  if (c == 'n') return word("null");
  if (c != 't' && c != 'f') return expected("a value");
  value.kind = JsonValue::Kind::boolean;
  value.truth = c == 't';
  return word(value.truth ? "true" : "false");
}

Result<void> Reader::members(JsonValue& value, uint32_t depth) {
  value.kind = JsonValue::Kind::object;
  ++at_;
  skip_space();
  if (skip('}')) return {};
  do {
    skip_space();
    if (peek() != '"') return expected("a name in quotes");
    std::string name;
    LAPIDARY_CHECK(string(name));
    skip_space();
    if (!skip(':')) return expected("a colon");
    value.names.push_back(std::move(name));
    value.items.emplace_back();
    LAPIDARY_CHECK(read(value.items.back(), depth + 1));
    skip_space();
  } while (skip(','));
  if (!skip('}')) return expected("a comma or }");
  return {};
}

Result<void> Reader::elements(JsonValue& value, uint32_t depth) {
  value.kind = JsonValue::Kind::array;
  ++at_;
  skip_space();
  if (skip(']')) return {};
  do {
    value.items.emplace_back();
    LAPIDARY_CHECK(read(value.items.back(), depth + 1));
    skip_space();
  } while (skip(','));
  if (!skip(']')) return expected("a comma or ]");
  return {};
}

Result<char32_t> Reader::hex() {
  char32_t value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = peek();
    const bool lower = c >= 'a' && c <= 'f', upper = c >= 'A' && c <= 'F';
    if (!is_digit(c) && !lower && !upper) return expected("four hexadecimal digits");
    value = value * 16 + static_cast<char32_t>(is_digit(c) ? c - '0' : (lower ? c - 'a' : c - 'A') + 10);
  }
  return value;
}

Result<void> Reader::escape(std::string& text) {
  constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
  const char c = peek();
  if (const size_t index = letters.find(c); c != '\0' && index != std::string_view::npos) {
    ++at_;
    text += meanings[index];
    return {};
  }
  if (!skip('u')) return expected("an escape");
  LAPIDARY_TRY(char32_t value, hex());
  if (value >= 0xD800 && value < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
    at_ += 2;
    LAPIDARY_TRY(const char32_t low, hex());
    if (low < 0xDC00 || low > 0xDFFF) return expected("the second half of a surrogate pair before this");
    value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
  }
  if (value >= 0xD800 && value < 0xE000) value = 0xFFFD;
  utf8_append(text, value);
  return {};
}

Result<void> Reader::string(std::string& text) {
  ++at_;
  while (true) {
    const char c = peek();
    if (at_ >= text_.size() || static_cast<unsigned char>(c) < 0x20) return expected("the end of the string");
    if (skip('"')) return {};
    if (skip('\\')) {
      LAPIDARY_CHECK(escape(text));
      continue;
    }
    const size_t length = utf8_length(text_.substr(at_));
    if (length == 0) return expected("UTF-8");
    text.append(text_, at_, length);
    at_ += length;
  }
}

Result<void> Reader::number(JsonValue& value) {
  value.kind = JsonValue::Kind::number;
  const size_t begin = at_;
  const auto digits = [&] {
    const size_t first = at_;
    while (is_digit(peek())) ++at_;
    return at_ > first;
  };
  skip('-');
  if (!skip('0') && !digits()) return expected("a digit");
  if (skip('.') && !digits()) return expected("a digit");
  if (skip('e') || skip('E')) {
    if (!skip('-')) skip('+');
    if (!digits()) return expected("a digit");
  }
  value.text = std::string(text_.substr(begin, at_ - begin));
  return {};
}

Result<void> Reader::word(std::string_view word) {
  if (!text_.substr(at_).starts_with(word)) return expected("a value");
  at_ += word.size();
  return {};
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += c;
    }
  }
  out += '"';
}

void write(std::string& out, const JsonValue& value) {
  switch (value.kind) {
    case JsonValue::Kind::null:
      out += "null";
      return;
    case JsonValue::Kind::boolean:
      out += value.truth ? "true" : "false";
      return;
    case JsonValue::Kind::number:
      out += value.text;
      return;
    case JsonValue::Kind::string:
      write_string(out, value.text);
      return;
    default:
      break;
  }
  const bool object = value.is(JsonValue::Kind::object);
  out += object ? '{' : '[';
  for (size_t i = 0; i < value.items.size(); ++i) {
    if (i > 0) out += ',';
    if (object) {
      write_string(out, value.names[i]);
      out += ':';
    }
    write(out, value.items[i]);
  }
  out += object ? '}' : ']';
}

}  // namespace

const JsonValue* JsonValue::find(std::string_view name) const {
  for (size_t i = names.size(); i-- > 0;)
    if (names[i] == name) return &items[i];
  return nullptr;
}

Result<JsonValue> parse_json_value(std::string_view text, const std::string& where, uint64_t values_max) {
  return Reader(text, where, values_max).document();
}

std::string write_json(const JsonValue& value) {
  std::string out;
  write(out, value);
  return out;
}

bool same_value(const JsonValue& a, const JsonValue& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  switch (a.kind) {
    case JsonValue::Kind::null:
      return true;
    case JsonValue::Kind::boolean:
      return a.truth == b.truth;
    case JsonValue::Kind::string:
      return a.text == b.text;
    case JsonValue::Kind::number: {
      const auto x = Decimal::parse(a.text), y = Decimal::parse(b.text);
      return x && y ? *x == *y : a.text == b.text;
    }
    case JsonValue::Kind::array:
      return std::equal(a.items.begin(), a.items.end(), b.items.begin(), same_value);
    case JsonValue::Kind::object:
      break;
  }
  for (size_t i = 0; i < a.items.size(); ++i) {
    const JsonValue* other = b.find(a.names[i]);
    if (other == nullptr || !same_value(a.items[i], *other)) return false;
  }
  return true;
}

}  // namespace lapidary::grammar
