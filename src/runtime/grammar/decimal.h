// Exact decimal numbers, and what a schema may ask of a number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary::grammar {

// ± digits · 10^exponent, the digits without zeros at either end; no digits: zero.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;

  // A number as JSON writes it; nothing if it is none, or its exponent has more than six digits.
  static std::optional<Decimal> parse(std::string_view text);
  static Decimal of(int64_t value);
  bool zero() const { return digits.empty(); }
  bool integer() const { return zero() || exponent >= 0; }
  bool operator==(const Decimal&) const = default;
  // Nothing: not decided (a divisor of more than 17 digits, or a number of more than 400).
  std::optional<bool> multiple_of(const Decimal& divisor) const;
  std::string text() const;
};

int compare(const Decimal& a, const Decimal& b);  // < 0, 0, > 0

struct NumberRule {
  bool integer = false;
  std::optional<Decimal> min, max;
  bool min_open = false, max_open = false;  // the bound itself is not allowed
  std::vector<Decimal> multiples;           // of each of these
  std::vector<Decimal> not_multiples;       // of none of these
  std::vector<Decimal> excluded;
  bool no_point = false;                        // written without a point: draft 4 takes 1.0 for no integer
  bool fraction_required = false;               // no integer
  std::optional<std::vector<Decimal>> allowed;  // one of these

  bool accepts(const Decimal& value) const;
  bool any() const;  // there is a number that it accepts, and a spelling of at most number_bytes_max
  // Whether a spelling of an accepted number may begin with `prefix`: an optional sign, digits, a point, more digits,
  // and, where exponents are written (see `free`), an exponent. Spellings have at most number_bytes_max bytes, and
  // where there are divisors few enough digits to compute with; among these it is exact.
  bool may_begin(std::string_view prefix) const;
  // Bounds nothing but the sign, so that exponents may be written. Where a number is bounded they are not: a value too
  // large would have to be rescued by e-5.
  bool free() const;
  bool plainly_empty() const;  // the bounds exclude each other
};

inline constexpr size_t number_bytes_max = 64;

// Adds what `other` asks. False: the two exclude each other.
bool restrict(NumberRule& rule, const NumberRule& other);
// What `rule` does not accept.
std::vector<NumberRule> complement(const NumberRule& rule);

}  // namespace lapidary::grammar
