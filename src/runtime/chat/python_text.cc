#include "chat/python_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <tuple>

#include "base/utf8.h"

namespace lapidary {
namespace {

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// repr(float): the shortest digits that read back the same, plain between 1e-4 and 1e16.
std::string python_float(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::abs(value), std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));  // d.ddde+XX
  const size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  const auto count = static_cast<int>(digits.size());
  std::string result = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    result += digits[0];
    if (count > 1) result += "." + digits.substr(1);
    return result + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return result + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return result + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return result + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string python_number(const OrderedJson& value) {
  if (value.is_number_float()) return python_float(value.get<double>());
  return value.is_number_unsigned() ? std::to_string(value.get<uint64_t>()) : std::to_string(value.get<int64_t>());
}

// repr(str): in single quotes, or double ones where that saves escapes. Of the characters that cannot be printed only
// those below U+0100 are escaped.
std::string python_quoted(std::string_view text) {
  const bool doubled = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  std::string result(1, quote);
  while (!text.empty()) {
    const size_t length = std::max<size_t>(utf8_length(text), 1);
    const char32_t c = utf8_decode(text, length);
    if (c == '\\' || c == static_cast<unsigned char>(quote)) {
      result += '\\';
      result += text[0];
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\r') {
      result += "\\r";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return result + quote;
}

std::string python_repr(const OrderedJson& value) {
  if (value.is_string()) return python_quoted(value.get_ref<const std::string&>());
  std::string result;
  if (value.is_array()) {
    for (const OrderedJson& element : value) result += (result.empty() ? "" : ", ") + python_repr(element);
    return "[" + result + "]";
  }
  if (value.is_object()) {
    for (const auto& [key, element] : value.items())
      result += (result.empty() ? "" : ", ") + python_quoted(key) + ": " + python_repr(element);
    return "{" + result + "}";
  }
  return python_str(value);
}

char32_t lower(char32_t c) {
  if (c >= 'A' && c <= 'Z') return c + 32;
  if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) || (c >= 0x410 && c <= 0x42F)) return c + 32;
  if (c >= 0x400 && c <= 0x40F) return c + 80;
  // Latin Extended-A: capital and small letters in turn, in three stretches.
  if ((c >= 0x100 && c <= 0x137 && c != 0x130) || (c >= 0x14A && c <= 0x177)) return c | 1;
  if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) return c + (c & 1);
  return c;
}

std::string lowered(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) {
      result += text[0];
    } else {
      utf8_append(result, lower(utf8_decode(text, length)));
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

}  // namespace

std::string_view python_strip(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0 || !is_space(utf8_decode(text, length))) break;
    text.remove_prefix(length);
  }
  while (!text.empty()) {
    size_t length = 1;
    while (length < 4 && length < text.size() &&
           (static_cast<unsigned char>(text[text.size() - length]) & 0xC0) == 0x80)
      ++length;
    const std::string_view last = text.substr(text.size() - length);
    if (utf8_length(last) != length || !is_space(utf8_decode(last, length))) break;
    text.remove_suffix(length);
  }
  return text;
}

std::string python_str(const OrderedJson& value) {
  switch (value.type()) {
    case OrderedJson::value_t::string:
      return value.get<std::string>();
    case OrderedJson::value_t::boolean:
      return value.get<bool>() ? "True" : "False";
    case OrderedJson::value_t::number_integer:
    case OrderedJson::value_t::number_unsigned:
    case OrderedJson::value_t::number_float:
      return python_number(value);
    case OrderedJson::value_t::array:
    case OrderedJson::value_t::object:
      return python_repr(value);
    default:
      return "None";
  }
}

bool python_true(const OrderedJson& value) {
  switch (value.type()) {
    case OrderedJson::value_t::string:
      return !value.get_ref<const std::string&>().empty();
    case OrderedJson::value_t::boolean:
      return value.get<bool>();
    case OrderedJson::value_t::number_integer:
    case OrderedJson::value_t::number_unsigned:
    case OrderedJson::value_t::number_float:
      return value.get<double>() != 0;
    case OrderedJson::value_t::array:
    case OrderedJson::value_t::object:
      return !value.empty();
    default:
      return false;
  }
}

std::string python_upper(const OrderedJson& value) {
  std::string text = python_str(value);
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return text;
}

std::vector<std::pair<std::string_view, const OrderedJson*>> sorted_members(const OrderedJson& object) {
  struct Member {
    std::string sort_key;
    size_t position;
    std::string_view key;
    const OrderedJson* value;
  };
  std::vector<Member> members;
  for (auto it = object.begin(); it != object.end(); ++it)
    members.push_back({lowered(it.key()), members.size(), it.key(), &it.value()});
  std::ranges::sort(members, [](const Member& a, const Member& b) {
    return std::tie(a.sort_key, a.position) < std::tie(b.sort_key, b.position);
  });
  std::vector<std::pair<std::string_view, const OrderedJson*>> result;
  for (const Member& member : members) result.emplace_back(member.key, member.value);
  return result;
}

}  // namespace lapidary
