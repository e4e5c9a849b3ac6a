// What a schema asks of a number: whether a value satisfies it, and whether the beginning of one still can.
#include <algorithm>
#include <limits>

#include "grammar/decimal.h"

namespace lapidary::grammar {
namespace {

using Wide = __int128;

constexpr int64_t places_max = 12;  // behind the point, when computing with scaled integers
constexpr int64_t places_written_max = number_bytes_max;
constexpr size_t stepped_digits_max = 22;  // before it, where there are divisors; so that scaled() bears both
const Wide wide_max = static_cast<Wide>(1) << 120;

bool in_bounds(const NumberRule& rule, const Decimal& value) {
  if (rule.min) {
    const int order = compare(value, *rule.min);
    if (order < 0 || (order == 0 && rule.min_open)) return false;
  }
  if (rule.max) {
    const int order = compare(value, *rule.max);
    if (order > 0 || (order == 0 && rule.max_open)) return false;
  }
  return true;
}

// value · 10^places, exactly; nothing if it has more places or is too large.
std::optional<Wide> scaled(const Decimal& value, int64_t places) {
  const int64_t zeros = value.exponent + places;
  if (value.zero()) return Wide{0};
  if (zeros < 0 || static_cast<int64_t>(value.digits.size()) + zeros > 35) return std::nullopt;
  Wide result = 0;
  for (const char c : value.digits) result = result * 10 + (c - '0');
  for (int64_t i = 0; i < zeros; ++i) result *= 10;
  return value.negative ? -result : result;
}

Wide floor_divide(Wide a, Wide b) { return a / b - static_cast<Wide>(a % b != 0 && (a < 0) != (b < 0)); }

Wide greatest_divisor(Wide a, Wide b) {
  while (b != 0) {
    const Wide rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

Decimal step_decimal(Wide value, int64_t places) {
  std::string text;
  for (Wide rest = value < 0 ? -value : value; rest > 0; rest /= 10)
    text += static_cast<char>('0' + static_cast<int>(rest % 10));
  std::ranges::reverse(text);
  if (text.empty()) text = "0";
  return Decimal::parse((value < 0 ? "-" : "") + text + "e-" + std::to_string(places)).value_or(Decimal{});
}

// What the numbers of a rule with divisors are multiples of, scaled; 0: too large to say, or there are no divisors.
Wide common_step(const NumberRule& rule, int64_t places) {
  std::vector<Decimal> steps = rule.multiples;
  if (rule.integer) steps.push_back(Decimal::of(1));
  Wide step = 0;
  for (const Decimal& one : steps) {
    const auto value = scaled(one, places);
    if (!value || *value <= 0) return 0;
    if (step == 0) {
      step = *value;
      continue;
    }
    const Wide factor = *value / greatest_divisor(step, *value);
    if (factor > wide_max / step) return 0;
    step *= factor;
  }
  return step;
}

// The numbers from first to last, which include the first and, if `closed`, the last, with at most `places` digits
// behind the point.
struct Interval {
  Decimal first, last;
  bool closed = true;
  int64_t places = 0;
};

Decimal with_sign(bool negative, std::string_view digits, int64_t exponent) {
  std::string text = negative ? "-" : "";
  text += digits;
  text += "e" + std::to_string(exponent);
  return Decimal::parse(text).value_or(Decimal{});
}

// digits + 1, one digit longer if it has to be.
std::string incremented(std::string digits) {
  size_t i = digits.size();
  while (i > 0 && digits[i - 1] == '9') digits[--i] = '0';
  if (i == 0) return "1" + digits;
  ++digits[i - 1];
  return digits;
}

// The multiples of 10^-places from low to high, towards which numbers are looked at one by one; both of one sign.
bool any_on_grid(const NumberRule& rule, const Decimal& low, const Decimal& high, int64_t places) {
  const bool negative = low.negative || high.negative;
  const Decimal& near = negative ? high : low;  // zero
  const Decimal& far = negative ? low : high;
  const int64_t zeros = near.exponent + places;
  std::string digits = near.digits;
  if (zeros >= 0) {
    digits.append(near.zero() ? 0 : static_cast<size_t>(zeros), '0');
  } else {
    const auto cut = static_cast<size_t>(-zeros);
    digits = incremented(digits.size() > cut ? digits.substr(0, digits.size() - cut) : "0");
  }
  if (digits.empty()) digits = "0";
  // One is open, one may be whole, and those that are taken out.
  const size_t tries = 4 + rule.excluded.size() + 64 * rule.not_multiples.size();
  for (size_t i = 0; i < tries; ++i, digits = incremented(std::move(digits))) {
    const Decimal value = with_sign(negative, digits, -places);
    const int order = compare(value, far);
    if (negative ? order < 0 : order > 0) return false;
    if (rule.accepts(value)) return true;
  }
  return false;
}

bool any_dense(const NumberRule& rule, const Interval& interval) {
  if (interval.places < 0) return false;
  Decimal low = interval.first, high = interval.last;
  bool low_open = false, high_open = !interval.closed;
  if (low.negative || high.negative) {  // written towards zero
    std::swap(low, high);
    std::swap(low_open, high_open);
  }
  if (rule.min) {
    const int order = compare(*rule.min, low);
    if (order > 0) low = *rule.min, low_open = rule.min_open;
    if (order == 0) low_open |= rule.min_open;
  }
  if (rule.max) {
    const int order = compare(*rule.max, high);
    if (order < 0) high = *rule.max, high_open = rule.max_open;
    if (order == 0) high_open |= rule.max_open;
  }
  const int order = compare(low, high);
  if (order > 0 || (order == 0 && (low_open || high_open))) return false;
  const auto places_of = [](const Decimal& value) { return std::max<int64_t>(0, -value.exponent); };
  constexpr size_t few = 20;
  // Two digits more than both have, and there are a hundred between them.
  if (order < 0 && std::max(places_of(low), places_of(high)) + 2 <= interval.places && rule.not_multiples.empty() &&
      rule.excluded.size() < few)
    return true;
  // The interval's own open end is nothing that the rule excludes.
  NumberRule within = rule;
  if (low_open) within.min = low, within.min_open = true;
  if (high_open) within.max = high, within.max_open = true;
  return any_on_grid(within, low, high, interval.places);
}

// Behind the point, so that divisors are whole numbers of them.
int64_t places_of(const NumberRule& rule) {
  int64_t places = 0;
  for (const Decimal& value : rule.multiples) places = std::max(places, value.zero() ? 0 : -value.exponent);
  return places;
}

// bound · 10^places, rounded inwards: `direction` 1 for a lower bound, -1 for an upper one; nothing: further out than
// can be computed with.
std::optional<Wide> scaled_inwards(const Decimal& bound, int64_t places, bool open, int direction) {
  const int64_t zeros = bound.exponent + places;
  if (zeros >= 0 || bound.zero()) {
    const auto value = scaled(bound, places);
    if (!value) return std::nullopt;
    return *value + (open ? direction : 0);
  }
  const auto cut = static_cast<size_t>(-zeros);
  Decimal kept = bound;
  kept.digits = bound.digits.size() > cut ? bound.digits.substr(0, bound.digits.size() - cut) : "";
  kept.exponent = -places;
  const auto value = kept.digits.empty() ? std::optional<Wide>(0) : scaled(kept, places);
  if (!value) return std::nullopt;
  // What was cut off is not zero.
  const bool away = bound.negative == (direction < 0);
  return away ? *value + direction : *value;
}

bool any_whole(const NumberRule& rule, const Interval& interval) {
  Interval whole = interval;
  whole.places = 0;
  return any_dense(rule, whole);
}

bool any_stepped(const NumberRule& rule, const Interval& interval) {
  const int64_t places = places_of(rule);
  const bool negative = interval.last.negative || interval.first.negative;  // written towards zero
  const bool open = !interval.closed && interval.first != interval.last;
  const auto first = scaled_inwards(interval.first, places, false, negative ? -1 : 1);
  const auto last = scaled_inwards(interval.last, places, open, negative ? 1 : -1);
  if (rule.multiples.empty() && (!first || !last)) return any_whole(rule, interval);
  const Wide step = places > places_max ? 0 : common_step(rule, places);
  if (step == 0 || !first || !last) return false;
  // Of the multiples of a multiple of it, none is left.
  for (const Decimal& divisor : rule.not_multiples) {
    const auto other = scaled(divisor, places);
    if (other && *other > 0 && step % *other == 0) return false;
    if (!other && divisor.exponent < -places && step_decimal(step, places).multiple_of(divisor) != false) return false;
  }
  Wide low = negative ? *last : *first, high = negative ? *first : *last;
  if (rule.min) {
    const auto min = scaled_inwards(*rule.min, places, rule.min_open, 1);
    if (!min && !rule.min->negative) return false;
    if (min) low = std::max(low, *min);
  }
  if (rule.max) {
    const auto max = scaled_inwards(*rule.max, places, rule.max_open, -1);
    if (!max && rule.max->negative) return false;
    if (max) high = std::min(high, *max);
  }
  // A few steps on, if values are excluded.
  const size_t tries = 1 + rule.excluded.size() + 64 * rule.not_multiples.size();
  Wide value = -floor_divide(-low, step) * step;
  for (size_t i = 0; i < tries && value <= high; ++i, value += step) {
    if (rule.excluded.empty() && rule.not_multiples.empty()) return true;
    if (rule.accepts(step_decimal(value, places))) return true;
  }
  return value <= high && !rule.not_multiples.empty();
}

bool any_in(const NumberRule& rule, const Interval& interval) {
  if (rule.allowed)
    return std::ranges::any_of(*rule.allowed, [&](const Decimal& value) {
      const bool downward = interval.first.negative || interval.last.negative;
      const int from = compare(value, interval.first), to = compare(value, interval.last);
      const bool inside = downward ? from <= 0 && (to > 0 || (to == 0 && interval.closed))
                                   : from >= 0 && (to < 0 || (to == 0 && interval.closed));
      return inside && -value.exponent <= interval.places && rule.accepts(value);
    });
  return rule.integer || !rule.multiples.empty() ? any_stepped(rule, interval) : any_dense(rule, interval);
}

}  // namespace

bool NumberRule::accepts(const Decimal& value) const {
  if ((integer && !value.integer()) || (fraction_required && value.integer()) || !in_bounds(*this, value)) return false;
  for (const Decimal& divisor : multiples)
    if (value.multiple_of(divisor) != true) return false;
  for (const Decimal& divisor : not_multiples)
    if (value.multiple_of(divisor) != false) return false;
  if (std::ranges::find(excluded, value) != excluded.end()) return false;
  return !allowed || std::ranges::find(*allowed, value) != allowed->end();
}

bool NumberRule::free() const {
  const auto sign_only = [](const std::optional<Decimal>& bound) { return !bound || bound->zero(); };
  return !integer && !fraction_required && multiples.empty() && not_multiples.empty() && !allowed && excluded.empty() &&
         sign_only(min) && sign_only(max) && !(min && max);
}

bool NumberRule::plainly_empty() const {
  if (allowed) return std::ranges::none_of(*allowed, [&](const Decimal& value) { return accepts(value); });
  if (integer && fraction_required) return true;
  if (!min || !max) return false;
  const int order = compare(*min, *max);
  if (order == 0) return min_open || max_open || !accepts(*min);
  if (order > 0) return true;
  const bool signs_differ = min->negative != max->negative;
  if (!integer && multiples.empty()) return false;
  if (signs_differ)
    return !accepts(Decimal{}) && !any_in(*this, {Decimal{}, *max, true, places_written_max}) &&
           !any_in(*this, {Decimal{}, *min, true, places_written_max});
  return !any_in(*this, min->negative ? Interval{*max, *min, true, places_written_max}
                                      : Interval{*min, *max, true, places_written_max});
}

bool NumberRule::may_begin(std::string_view prefix) const {
  const bool negative = prefix.starts_with('-');
  const std::string_view body = prefix.substr(negative ? 1 : 0);
  if (free()) {
    const Decimal probe = Decimal::of(negative ? -1 : 1);
    if (in_bounds(*this, probe)) {
      // All but a zero that is not allowed can still become a number of this sign.
      const size_t e = body.find_first_of("eE");
      if (e == std::string_view::npos) return true;
      return body.substr(0, e).find_first_of("123456789") != std::string_view::npos || in_bounds(*this, Decimal{});
    }
    return body.find_first_of("123456789") == std::string_view::npos && in_bounds(*this, Decimal{});
  }
  if (body.find_first_of("eE") != std::string_view::npos) return false;
  if (no_point && body.find('.') != std::string_view::npos) return false;
  const size_t point = body.find('.');
  // Digits behind the point, where there are so many before it.
  const auto places_behind = [&](size_t digits) {
    return static_cast<int64_t>(number_bytes_max) - static_cast<int64_t>(digits + (negative ? 2 : 1));
  };
  if (body.empty()) {  // a minus
    if (accepts(Decimal{})) return true;
    return std::ranges::any_of(std::string_view("0123456789"),
                               [&](char digit) { return may_begin(std::string(prefix) + digit); });
  }
  std::string digits(body.substr(0, point));
  const bool stepped = !multiples.empty() || !not_multiples.empty();
  if (stepped && digits.size() > stepped_digits_max) return false;
  const int64_t places_max_here = places_behind(digits.size());
  if (point != std::string_view::npos) {
    const std::string_view fraction = body.substr(point + 1);
    digits += fraction;
    const auto places = -static_cast<int64_t>(fraction.size());
    // Behind the point of a whole number, and beyond the divisors' places, there are zeros or nothing.
    if (integer || (!multiples.empty() && fraction.size() > static_cast<size_t>(places_max)))
      return accepts(with_sign(negative, digits, places));
    if (negative && digits.find_first_not_of('0') == std::string::npos && accepts(Decimal{})) return true;
    return any_in(*this, {with_sign(negative, digits, places), with_sign(negative, incremented(digits), places), false,
                          places_max_here});
  }
  if (digits == "0")
    return (negative && accepts(Decimal{})) ||
           any_in(*this, {Decimal{}, with_sign(negative, "1", 0), false, places_max_here});
  const size_t most = stepped ? stepped_digits_max : number_bytes_max - (negative ? 1 : 0);
  for (size_t zeros = 0; zeros <= 24 && digits.size() + zeros <= most; ++zeros) {
    const auto exponent = static_cast<int64_t>(zeros);
    if (any_in(*this, {with_sign(negative, digits, exponent), with_sign(negative, incremented(digits), exponent), false,
                       std::max<int64_t>(0, places_behind(digits.size() + zeros))}))
      return true;
  }
  return false;
}

bool NumberRule::any() const {
  return std::ranges::any_of(std::string_view("-0123456789"), [&](char first) { return may_begin({&first, 1}); });
}

bool restrict(NumberRule& rule, const NumberRule& other) {
  rule.integer |= other.integer;
  rule.no_point |= other.no_point;
  rule.fraction_required |= other.fraction_required;
  const auto tighten = [](std::optional<Decimal>& bound, bool& open, const std::optional<Decimal>& with, bool with_open,
                          int sign) {
    if (!with) return;
    const int order = bound ? sign * compare(*with, *bound) : 1;
    if (order > 0) bound = with, open = with_open;
    if (order == 0) open |= with_open;
  };
  tighten(rule.min, rule.min_open, other.min, other.min_open, 1);
  tighten(rule.max, rule.max_open, other.max, other.max_open, -1);
  const auto add = [](std::vector<Decimal>& to, const std::vector<Decimal>& from) {
    for (const Decimal& value : from)
      if (std::ranges::find(to, value) == to.end()) to.push_back(value);
  };
  add(rule.multiples, other.multiples);
  add(rule.not_multiples, other.not_multiples);
  add(rule.excluded, other.excluded);
  if (other.allowed && !rule.allowed) rule.allowed = other.allowed;
  if (rule.allowed) {
    const NumberRule both = rule;
    std::erase_if(*rule.allowed, [&](const Decimal& value) { return !both.accepts(value) || !other.accepts(value); });
    if (rule.allowed->empty()) return false;
  }
  return !rule.plainly_empty();
}

std::vector<NumberRule> complement(const NumberRule& rule) {
  std::vector<NumberRule> result;
  const auto add = [&](auto&& change) {
    NumberRule one;
    change(one);
    result.push_back(std::move(one));
  };
  if (rule.integer) add([](NumberRule& one) { one.fraction_required = true; });
  if (rule.fraction_required) add([](NumberRule& one) { one.integer = true; });
  if (rule.min) add([&](NumberRule& one) { one.max = rule.min, one.max_open = !rule.min_open; });
  if (rule.max) add([&](NumberRule& one) { one.min = rule.max, one.min_open = !rule.max_open; });
  for (const Decimal& divisor : rule.multiples) add([&](NumberRule& one) { one.not_multiples = {divisor}; });
  for (const Decimal& divisor : rule.not_multiples) add([&](NumberRule& one) { one.multiples = {divisor}; });
  if (!rule.excluded.empty()) add([&](NumberRule& one) { one.allowed = rule.excluded; });
  if (rule.allowed) add([&](NumberRule& one) { one.excluded = *rule.allowed; });
  return result;
}

}  // namespace lapidary::grammar
