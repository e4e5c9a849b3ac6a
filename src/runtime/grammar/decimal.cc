#include "grammar/decimal.h"

#include <algorithm>
#include <charconv>

namespace lapidary::grammar {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int compare_magnitude(const Decimal& a, const Decimal& b) {
  if (a.zero() || b.zero()) return static_cast<int>(!a.zero()) - static_cast<int>(!b.zero());
  const int64_t a_top = static_cast<int64_t>(a.digits.size()) + a.exponent;
  const int64_t b_top = static_cast<int64_t>(b.digits.size()) + b.exponent;
  if (a_top != b_top) return a_top < b_top ? -1 : 1;
  const int order = a.digits.compare(b.digits);  // both are fractions 0.digits
  return order < 0 ? -1 : order > 0;
}

}  // namespace

std::optional<Decimal> Decimal::parse(std::string_view text) {
  Decimal result;
  size_t at = 0;
  if (at < text.size() && text[at] == '-') result.negative = true, ++at;
  bool point = false, any = false;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
    if (text[at] == '.') {
      point = true;
      continue;
    }
    any = true;
    result.digits += text[at];
    if (point) --result.exponent;
  }
  if (!any) return std::nullopt;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && text[at] == '+') ++at;
    int64_t exponent = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), exponent);
    if (error != std::errc() || exponent > 999'999 || exponent < -999'999) return std::nullopt;
    result.exponent += exponent;
    at = static_cast<size_t>(end - text.data());
  }
  if (at != text.size()) return std::nullopt;
  const size_t last = result.digits.find_last_not_of('0');
  result.exponent += static_cast<int64_t>(result.digits.size() - (last == std::string::npos ? 0 : last + 1));
  result.digits.erase(last == std::string::npos ? 0 : last + 1);
  result.digits.erase(0, std::min(result.digits.find_first_not_of('0'), result.digits.size()));
  if (result.zero()) return Decimal{};
  return result;
}

Decimal Decimal::of(int64_t value) { return *parse(std::to_string(value)); }

std::string Decimal::text() const {
  if (zero()) return "0";
  return (negative ? "-" : "") + digits + (exponent == 0 ? "" : "e" + std::to_string(exponent));
}

std::optional<bool> Decimal::multiple_of(const Decimal& divisor) const {
  if (zero()) return true;
  if (divisor.zero() || divisor.digits.size() > 17) return std::nullopt;
  // A last digit that is not zero is in the way of a factor of ten.
  const int64_t zeros = exponent - divisor.exponent;
  if (zeros < 0) return false;
  if (zeros > 400 || digits.size() > 400) return std::nullopt;
  uint64_t modulus = 0, rest = 0;
  std::from_chars(divisor.digits.data(), divisor.digits.data() + divisor.digits.size(), modulus);
  const auto push = [&](uint64_t digit) {
    rest = static_cast<uint64_t>((static_cast<unsigned __int128>(rest) * 10 + digit) % modulus);
  };
  for (const char c : digits) push(static_cast<uint64_t>(c - '0'));
  for (int64_t i = 0; i < zeros; ++i) push(0);
  return rest == 0;
}

int compare(const Decimal& a, const Decimal& b) {
  const int a_sign = a.zero() ? 0 : (a.negative ? -1 : 1), b_sign = b.zero() ? 0 : (b.negative ? -1 : 1);
  if (a_sign != b_sign) return a_sign < b_sign ? -1 : 1;
  return a_sign * compare_magnitude(a, b);
}

}  // namespace lapidary::grammar
