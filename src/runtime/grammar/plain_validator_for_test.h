// JSON Schema as its standard reads, keyword by keyword, on a parsed value: no sets, no automata, nothing in common
// with what it is compared with. Slow and plain. What it does not judge exactly it says so, by giving nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace lapidary {

// Patterns by backtracking: characters, ., classes, \d \w \s, groups, |, quantifiers, ^ and $. Nothing: another
// pattern, or too much work.
class PlainPattern {
 public:
  explicit PlainPattern(std::string_view pattern) : pattern_(points(pattern)) {}

  std::optional<bool> found_in(std::string_view text) {
    text_ = points(text);
    steps_ = 0;
    good_ = true;
    bool found = false;
    for (size_t begin = 0; begin <= text_.size() && !found && good_; ++begin)
      found = alternatives(0, pattern_.size(), begin, [](size_t) { return true; });
    return good_ ? std::optional<bool>(found) : std::nullopt;
  }

 private:
  using Next = std::function<bool(size_t)>;  // the rest, from here in the text

  static std::u32string points(std::string_view text) {
    std::u32string result;
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      char32_t point = length == 1 ? lead : lead & (0x7F >> length);
      for (size_t k = 1; k < length && i + k < text.size(); ++k)
        point = point << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3F);
      result += point;
      i += length;
    }
    return result;
  }
  bool give_up() { return good_ = false; }

  // The end of the group, class or character at `at`.
  size_t unit_end(size_t at, size_t end) {
    const char32_t c = pattern_[at];
    if (c == U'\\') return at + 2 <= end ? at + 2 : (give_up(), end);
    if (c == U'[') {
      for (size_t i = at + 1; i < end; ++i) {
        if (pattern_[i] == U'\\')
          ++i;
        else if (pattern_[i] == U']')
          return i + 1;
      }
      return give_up(), end;
    }
    if (c != U'(') return at + 1;
    size_t depth = 0;
    for (size_t i = at; i < end; i = pattern_[i] == U'(' || pattern_[i] == U')' ? i + 1 : unit_end(i, end)) {
      if (pattern_[i] == U'(') ++depth;
      if (pattern_[i] == U')' && --depth == 0) return i + 1;
    }
    return give_up(), end;
  }

  bool alternatives(size_t at, size_t end, size_t where, const Next& next) {
    size_t begin = at;
    for (size_t i = at; i < end && good_; i = unit_end(i, end))
      if (pattern_[i] == U'|') {
        if (sequence(begin, i, where, next)) return true;
        begin = i + 1;
      }
    return good_ && sequence(begin, end, where, next);
  }

  bool sequence(size_t at, size_t end, size_t where, const Next& next) {
    if (++steps_ > 200'000) return give_up();
    if (at == end) return next(where);
    if (pattern_[at] == U'^') return where == 0 && sequence(at + 1, end, where, next);
    if (pattern_[at] == U'$') return where == text_.size() && sequence(at + 1, end, where, next);
    const size_t unit = unit_end(at, end);
    if (!good_) return false;
    size_t after = unit, min = 1, max = 1;
    if (after < end && std::u32string_view(U"*+?{").find(pattern_[after]) != std::u32string_view::npos)
      if (!quantifier(after, end, min, max)) return give_up();
    return repeat(at, unit, after, end, min, max, where, next);
  }

  bool quantifier(size_t& at, size_t end, size_t& min, size_t& max) {
    const char32_t mark = pattern_[at++];
    constexpr size_t many = 1'000'000;
    min = mark == U'+' ? 1 : 0;
    max = mark == U'?' ? 1 : many;
    if (mark == U'{') {
      const auto number = [&](size_t& value) {
        const size_t begin = at;
        for (value = 0; at < end && pattern_[at] >= U'0' && pattern_[at] <= U'9' && value < many; ++at)
          value = value * 10 + (pattern_[at] - U'0');
        return at > begin;
      };
      if (!number(min)) return false;
      max = min;
      if (at < end && pattern_[at] == U',') {
        ++at;
        if (!number(max)) max = many;
      }
      if (at == end || pattern_[at] != U'}') return false;
      ++at;
    }
    return at == end || std::u32string_view(U"*+?{").find(pattern_[at]) == std::u32string_view::npos;  // none lazy
  }

  bool repeat(size_t unit, size_t unit_end, size_t after, size_t end, size_t min, size_t max, size_t where,
              const Next& next) {
    if (++steps_ > 200'000) return give_up();
    if (max > 0 && one(unit, unit_end, where, [&](size_t to) {
          if (to == where && min == 0) return false;  // an empty round leads nowhere new
          return repeat(unit, unit_end, after, end, min == 0 ? 0 : min - 1, max - 1, to, next);
        }))
      return true;
    return good_ && min == 0 && sequence(after, end, where, next);
  }

  bool one(size_t at, size_t end, size_t where, const Next& next) {
    const char32_t c = pattern_[at];
    if (c == U'(') {
      if (at + 1 < end && pattern_[at + 1] == U'?') {
        if (at + 2 >= end || pattern_[at + 2] != U':') return give_up();
        at += 2;
      }
      return alternatives(at + 1, end - 1, where, next);
    }
    if (std::u32string_view(U")]}*+?{").find(c) != std::u32string_view::npos) return give_up();
    if (where == text_.size()) return false;
    const auto fits = matches(at, end, text_[where]);
    return fits && *fits && next(where + 1);
  }

  std::optional<bool> in_escape(char32_t escape, char32_t c) {
    const bool digit = c >= U'0' && c <= U'9';
    const bool word = digit || c == U'_' || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
    switch (escape) {
      case U'd':
        return digit;
      case U'D':
        return !digit;
      case U'w':
        return word;
      case U'W':
        return !word;
      case U'n':
        return c == U'\n';
      case U't':
        return c == U'\t';
      default:
        break;
    }
    if (std::u32string_view(U"\\^$.|?*+()[]{}/-").find(escape) != std::u32string_view::npos) return c == escape;
    give_up();
    return std::nullopt;
  }

  std::optional<bool> matches(size_t at, size_t end, char32_t c) {
    if (pattern_[at] == U'.') return c != U'\n' && c != U'\r' && c != 0x2028 && c != 0x2029;
    if (pattern_[at] == U'\\') return in_escape(pattern_[at + 1], c);
    if (pattern_[at] != U'[') return pattern_[at] == c;
    size_t i = at + 1;
    const bool inverted = pattern_[i] == U'^';
    i += inverted;
    bool found = false;
    while (i < end - 1) {
      if (pattern_[i] == U'\\') {
        const auto fits = in_escape(pattern_[i + 1], c);
        if (!fits) return fits;
        found |= *fits;
        i += 2;
        if (i < end - 1 && pattern_[i] == U'-') return give_up(), std::nullopt;
      } else if (i + 2 < end - 1 && pattern_[i + 1] == U'-') {
        if (pattern_[i + 2] == U'\\' || pattern_[i + 2] < pattern_[i]) return give_up(), std::nullopt;
        found |= c >= pattern_[i] && c <= pattern_[i + 2];
        i += 3;
      } else {
        found |= c == pattern_[i++];
      }
    }
    return found != inverted;
  }

  std::u32string pattern_, text_;
  uint64_t steps_ = 0;
  bool good_ = true;
};

// A decimal number, digit by digit: ± digits · 10^exponent, no zeros at either end.
struct PlainNumber {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;

  static PlainNumber of(std::string_view text) {
    PlainNumber result;
    const size_t e = std::min(text.find_first_of("eE"), text.size());
    if (e < text.size()) result.exponent = std::stoll(std::string(text.substr(e + 1)));
    bool behind = false;
    for (const char c : text.substr(0, e)) {
      if (c == '-') result.negative = true;
      if (c == '.') behind = true;
      if (c < '0' || c > '9') continue;
      result.digits += c;
      result.exponent -= behind ? 1 : 0;
    }
    result.digits.erase(0, std::min(result.digits.find_first_not_of('0'), result.digits.size()));
    while (result.digits.ends_with('0')) result.digits.pop_back(), ++result.exponent;
    return result.digits.empty() ? PlainNumber() : result;
  }

  // The digits as a whole number of 10^exponent.
  std::string at(int64_t lower) const {
    return digits.empty() ? "" : digits + std::string(static_cast<size_t>(exponent - lower), '0');
  }
  int compare(const PlainNumber& other) const {
    if (digits.empty() && other.digits.empty()) return 0;
    const bool below = negative && !digits.empty(), other_below = other.negative && !other.digits.empty();
    if (below != other_below) return below ? -1 : 1;
    const int64_t lower = std::min(exponent, other.exponent);
    const std::string a = at(lower), b = other.at(lower);
    const int order = a.size() != b.size() ? (a.size() < b.size() ? -1 : 1) : a.compare(b) < 0 ? -1 : a != b;
    return below ? -order : order;
  }
  bool integer() const { return digits.empty() || exponent >= 0; }
  // By long division; `divisor` has at most 17 digits at the common exponent.
  std::optional<bool> multiple_of(const PlainNumber& divisor) const {
    const int64_t lower = std::min(exponent, divisor.exponent);
    const std::string by = divisor.at(lower);
    if (by.empty() || by.size() > 17) return std::nullopt;
    unsigned __int128 rest = 0;
    for (const char c : at(lower)) rest = (rest * 10 + static_cast<unsigned>(c - '0')) % std::stoull(by);
    return rest == 0;
  }
};

// Numbers of more digits than a double keeps stand in a value as an object with this one name, and their text.
inline constexpr const char* long_number_name = "\x01number";

inline std::string with_long_numbers(std::string_view text) {
  constexpr size_t digits_max = 15;
  std::string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (text[i] == '"') {
      for (; end < text.size() && text[end] != '"'; ++end) end += text[end] == '\\' ? 1 : 0;
      result += text.substr(i, ++end - i);
    } else if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
      end = std::min(text.find_first_not_of("0123456789+-.eE", i), text.size());
      const std::string_view number = text.substr(i, end - i);
      if (number.size() > digits_max)
        result += "{\"\\u0001number\":\"" + std::string(number) + "\"}";
      else
        result += number;
    } else {
      result += text[i];
    }
    i = end;
  }
  return result;
}

class PlainValidator {
 public:
  explicit PlainValidator(const Json& root) : root_(root) {}
  // For values whose numbers were read as doubles: what rounding may have changed is not held against them.
  void numbers_are_rounded() { rounded_ = true; }

  // Whether the value is valid; nothing: this cannot say.
  std::optional<bool> judge(const Json& value) {
    sure_ = true;
    steps_ = depth_ = 0;
    blurred_ = false;
    const bool valid = check(root_, value) || blurred_;
    return sure_ ? std::optional<bool>(valid) : std::nullopt;
  }

 private:
  bool unsure() {
    sure_ = false;
    return true;
  }

  bool check(const Json& schema, const Json& value) {
    if (schema.is_boolean()) return schema.get<bool>();
    if (!schema.is_object() || ++steps_ > 500'000 || depth_ > 100) return unsure();
    for (const char* key : {"$id", "id", "$anchor", "$dynamicRef", "$recursiveRef", "$schema", "format", "extends",
                            "disallow", "unevaluatedProperties", "unevaluatedItems", "$vocabulary", "dependencies"})
      if (schema.contains(key)) return unsure();
    ++depth_;
    const bool valid = check_reference(schema, value) && check_type(schema, value) && check_values(schema, value) &&
                       check_number(schema, value) && check_string(schema, value) && check_array(schema, value) &&
                       check_object(schema, value) && check_combinations(schema, value);
    --depth_;
    return valid;
  }

  bool check_reference(const Json& schema, const Json& value) {
    const auto reference = schema.find("$ref");
    if (reference == schema.end()) return true;
    if (!reference->is_string()) return unsure();
    const auto& text = reference->get_ref<const std::string&>();
    if (text.empty() || text[0] != '#' || text.find('%') != std::string::npos) return unsure();
    try {
      return check(root_.at(Json::json_pointer(text.substr(1))), value);
    } catch (const Json::exception&) {
      return unsure();
    }
  }

  static bool is_long(const Json& value) { return value.is_object() && value.contains(long_number_name); }
  static bool is_number(const Json& value) { return value.is_number() || is_long(value); }
  static bool is_object(const Json& value) { return value.is_object() && !is_long(value); }
  static PlainNumber number_of(const Json& value) {
    return PlainNumber::of(is_long(value) ? value[long_number_name].get<std::string>() : dump(value));
  }
  static bool is_integer(const Json& value) { return number_of(value).integer(); }
  static bool equal(const Json& a, const Json& b) {
    if (is_number(a) && is_number(b)) return number_of(a).compare(number_of(b)) == 0;
    if (a.is_array() && b.is_array()) return std::ranges::equal(a, b, equal);
    if (!is_object(a) || !is_object(b)) return a == b;
    return a.size() == b.size() && std::ranges::all_of(a.items(), [&](const auto& item) {
             return b.contains(item.key()) && equal(item.value(), b[item.key()]);
           });
  }

  bool of_type(const Json& type, const Json& value) {
    if (!type.is_string()) return unsure();
    if (type == "null") return value.is_null();
    if (type == "boolean") return value.is_boolean();
    if (type == "string") return value.is_string();
    if (type == "array") return value.is_array();
    if (type == "object") return is_object(value);
    if (type == "number") return is_number(value);
    if (type == "integer") {
      const bool whole = is_number(value) && is_integer(value);
      blurred_ |= rounded_ && whole && value.is_number_float();
      return whole;
    }
    return unsure();
  }

  bool check_type(const Json& schema, const Json& value) {
    const auto type = schema.find("type");
    if (type == schema.end()) return true;
    if (!type->is_array()) return of_type(*type, value);
    return std::ranges::any_of(*type, [&](const Json& one) { return of_type(one, value); });
  }

  bool check_values(const Json& schema, const Json& value) {
    if (const auto list = schema.find("enum"); list != schema.end()) {
      if (!list->is_array()) return unsure();
      if (std::ranges::none_of(*list, [&](const Json& one) { return equal(one, value); })) return false;
    }
    const auto constant = schema.find("const");
    return constant == schema.end() || equal(*constant, value);
  }

  // A limit and what it says of the value.
  template <typename Holds>
  bool bound(const Json& schema, const char* key, const Holds& holds) {
    const auto found = schema.find(key);
    if (found == schema.end()) return true;
    if (!is_number(*found)) return unsure();
    return holds(number_of(*found));
  }

  bool check_number(const Json& schema, const Json& value) {
    if (!is_number(value)) return true;
    const PlainNumber number = number_of(value);
    if (number.exponent > 400 || number.exponent < -400) return unsure();
    const bool rounded = rounded_ && value.is_number_float();
    const auto order = [&](const PlainNumber& limit) {
      const int result = number.compare(limit);
      blurred_ |= rounded && result == 0;
      return result;
    };
    return bound(schema, "minimum", [&](const PlainNumber& limit) { return order(limit) >= 0; }) &&
           bound(schema, "maximum", [&](const PlainNumber& limit) { return order(limit) <= 0; }) &&
           bound(schema, "exclusiveMinimum", [&](const PlainNumber& limit) { return order(limit) > 0; }) &&
           bound(schema, "exclusiveMaximum", [&](const PlainNumber& limit) { return order(limit) < 0; }) &&
           bound(schema, "multipleOf", [&](const PlainNumber& divisor) {
             blurred_ |= rounded && std::abs(value.get<double>()) >= 1e15;
             const auto fits = number.multiple_of(divisor);
             return fits ? *fits : unsure();
           });
  }

  static uint64_t length_of(const std::string& text) {
    return static_cast<uint64_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
  }

  // A count that is a keyword's value, or `absent`.
  uint64_t count(const Json& schema, const char* key, uint64_t absent) {
    const auto value = schema.find(key);
    if (value == schema.end()) return absent;
    if (!value->is_number() || value->get<double>() < 0) return unsure(), absent;
    return value->is_number_float() ? static_cast<uint64_t>(std::min(value->get<double>(), 1e18))
                                    : value->get<uint64_t>();
  }
  bool within(const Json& schema, const char* min, const char* max, uint64_t size) {
    return size >= count(schema, min, 0) && size <= count(schema, max, ~uint64_t{0});
  }

  bool matches(const Json& pattern, const std::string& text) {
    if (!pattern.is_string()) return unsure();
    const auto found = PlainPattern(pattern.get<std::string>()).found_in(text);
    return found ? *found : unsure();
  }

  bool check_string(const Json& schema, const Json& value) {
    if (!value.is_string()) return true;
    const auto& text = value.get_ref<const std::string&>();
    if (!within(schema, "minLength", "maxLength", length_of(text))) return false;
    const auto pattern = schema.find("pattern");
    return pattern == schema.end() || matches(*pattern, text);
  }

  bool check_array(const Json& schema, const Json& value) {
    if (!value.is_array()) return true;
    if (!within(schema, "minItems", "maxItems", value.size())) return false;
    auto prefix = schema.find("prefixItems");
    auto rest = schema.find("items");
    if (prefix == schema.end() && rest != schema.end() && rest->is_array()) {
      prefix = rest;
      rest = schema.find("additionalItems");
    }
    const size_t fixed = prefix == schema.end() ? 0 : prefix->size();
    for (size_t i = 0; i < value.size(); ++i) {
      if (i < fixed ? !check((*prefix)[i], value[i]) : rest != schema.end() && !check(*rest, value[i])) return false;
    }
    if (const auto contains = schema.find("contains"); contains != schema.end()) {
      const auto found =
          static_cast<uint64_t>(std::ranges::count_if(value, [&](const Json& item) { return check(*contains, item); }));
      if (found < count(schema, "minContains", 1) || found > count(schema, "maxContains", ~uint64_t{0})) return false;
    }
    if (schema.value("uniqueItems", Json(false)) != true) return true;
    for (size_t i = 0; i < value.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (equal(value[i], value[j])) return false;
    return true;
  }

  bool check_member(const Json& schema, const std::string& name, const Json& value) {
    bool known = false;
    if (const auto properties = schema.find("properties"); properties != schema.end() && properties->contains(name)) {
      known = true;
      if (!check((*properties)[name], value)) return false;
    }
    if (const auto patterns = schema.find("patternProperties"); patterns != schema.end()) {
      if (!patterns->is_object()) return unsure();
      for (const auto& [pattern, inner] : patterns->items())
        if (matches(pattern, name)) {
          known = true;
          if (!check(inner, value)) return false;
        }
    }
    const auto additional = schema.find("additionalProperties");
    return known || additional == schema.end() || check(*additional, value);
  }

  bool check_object(const Json& schema, const Json& value) {
    if (!is_object(value)) return true;
    if (!within(schema, "minProperties", "maxProperties", value.size())) return false;
    const auto all_there = [&](const Json& names) {
      if (!names.is_array()) return unsure();
      return std::ranges::all_of(names, [&](const Json& name) {
        return name.is_string() ? value.contains(name.get<std::string>()) : unsure();
      });
    };
    if (const auto required = schema.find("required"); required != schema.end() && !all_there(*required)) return false;
    for (const auto& [name, inner] : value.items()) {
      if (const auto names = schema.find("propertyNames"); names != schema.end() && !check(*names, Json(name)))
        return false;
      if (!check_member(schema, name, inner)) return false;
    }
    if (const auto map = schema.find("dependentRequired"); map != schema.end())
      for (const auto& [name, names] : map->items())
        if (value.contains(name) && !all_there(names)) return false;
    if (const auto map = schema.find("dependentSchemas"); map != schema.end())
      for (const auto& [name, inner] : map->items())
        if (value.contains(name) && !check(inner, value)) return false;
    return true;
  }

  bool check_combinations(const Json& schema, const Json& value) {
    const auto valid = [&](const Json& one) { return check(one, value); };
    if (const auto list = schema.find("allOf"); list != schema.end() && !std::ranges::all_of(*list, valid))
      return false;
    if (const auto list = schema.find("anyOf"); list != schema.end() && !std::ranges::any_of(*list, valid))
      return false;
    if (const auto list = schema.find("oneOf"); list != schema.end() && std::ranges::count_if(*list, valid) != 1)
      return false;
    if (const auto opposite = schema.find("not"); opposite != schema.end() && check(*opposite, value)) return false;
    const auto condition = schema.find("if");
    if (condition == schema.end()) return true;
    const auto branch = schema.find(check(*condition, value) ? "then" : "else");
    return branch == schema.end() || check(*branch, value);
  }

  const Json& root_;
  bool sure_ = true, rounded_ = false, blurred_ = false;
  uint64_t steps_ = 0, depth_ = 0;
};

}  // namespace lapidary
