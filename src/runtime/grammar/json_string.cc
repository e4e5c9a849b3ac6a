#include "grammar/json_string.h"

#include <string_view>

namespace lapidary::grammar {
namespace {

constexpr CodePointRange nothing = {1, 0};

int hex_value(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

}  // namespace

StringLexer::Step StringLexer::begin_utf8(uint8_t byte) {
  mode_ = Mode::utf8;
  low_ = 0x80;
  high_ = 0xBF;
  if (byte >= 0xC2 && byte <= 0xDF) {
    left_ = 1;
    value_ = byte & 0x1F;
  } else if (byte >= 0xE0 && byte <= 0xEF) {
    left_ = 2;
    value_ = byte & 0x0F;
    if (byte == 0xE0) low_ = 0xA0;
    if (byte == 0xED) high_ = 0x9F;
  } else if (byte >= 0xF0 && byte <= 0xF4) {
    left_ = 3;
    value_ = byte & 0x07;
    if (byte == 0xF0) low_ = 0x90;
    if (byte == 0xF4) high_ = 0x8F;
  } else {
    return Step::dead;
  }
  return Step::within;
}

StringLexer::Step StringLexer::continue_utf8(uint8_t byte) {
  if (byte < low_ || byte > high_) return Step::dead;
  low_ = 0x80;
  high_ = 0xBF;
  value_ = value_ << 6 | (byte & 0x3F);
  if (--left_ > 0) return Step::within;
  return complete(value_);
}

StringLexer::Step StringLexer::push_escape(uint8_t byte) {
  constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
  if (byte == 'u') {
    mode_ = Mode::hex;
    left_ = 4;
    value_ = 0;
    return Step::within;
  }
  const size_t index = letters.find(static_cast<char>(byte));
  if (index == std::string_view::npos) return Step::dead;
  return complete(static_cast<char32_t>(meanings[index]));
}

StringLexer::Step StringLexer::push_hex(uint8_t byte) {
  const int digit = hex_value(byte);
  if (digit < 0) return Step::dead;
  value_ = value_ << 4 | static_cast<char32_t>(digit);
  --left_;
  const bool second = mode_ == Mode::pair_hex;
  if (left_ == 3 && second && value_ != 0xD) return Step::dead;
  if (left_ == 2 && (second ? value_ < 0xDC : value_ >= 0xDC && value_ <= 0xDF)) return Step::dead;
  if (left_ > 0) return Step::within;
  if (second) return complete(0x10000 + ((char32_t{first_half_} - 0xD800) << 10) + (value_ - 0xDC00));
  if (value_ < 0xD800 || value_ > 0xDBFF) return complete(value_);
  first_half_ = static_cast<uint16_t>(value_);
  mode_ = Mode::pair_escape;
  return Step::within;
}

StringLexer::Step StringLexer::push(uint8_t byte) {
  switch (mode_) {
    case Mode::between:
      if (byte == '"') return Step::closed;
      if (byte == '\\') {
        mode_ = Mode::escape;
        return Step::within;
      }
      if (byte < 0x20) return Step::dead;
      if (byte < 0x80) return complete(byte);
      return begin_utf8(byte);
    case Mode::utf8:
      return continue_utf8(byte);
    case Mode::escape:
      return push_escape(byte);
    case Mode::hex:
    case Mode::pair_hex:
      return push_hex(byte);
    case Mode::pair_escape:
      mode_ = Mode::pair_u;
      return byte == '\\' ? Step::within : Step::dead;
    case Mode::pair_u:
      mode_ = Mode::pair_hex;
      left_ = 4;
      value_ = 0;
      return byte == 'u' ? Step::within : Step::dead;
  }
  return Step::dead;
}

StringLexer::Step StringLexer::push_raw(uint8_t byte) {
  if (mode_ == Mode::utf8) return continue_utf8(byte);
  return byte < 0x80 ? complete(byte) : begin_utf8(byte);
}

StringLexer::Possible StringLexer::possible() const {
  const auto supplement = [](char32_t first_half, char32_t last_half) {
    return CodePointRange{0x10000 + ((first_half - 0xD800) << 10), 0x10000 + ((last_half - 0xD800) << 10) + 0x3FF};
  };
  switch (mode_) {
    case Mode::utf8: {
      char32_t first = value_ << 6 | (low_ & 0x3F), last = value_ << 6 | (high_ & 0x3F);
      for (int i = 1; i < left_; ++i) first = first << 6, last = last << 6 | 0x3F;
      return {{first, last}, nothing};
    }
    case Mode::hex: {
      const int shift = 4 * left_;
      const char32_t first = value_ << shift, last = ((value_ + 1) << shift) - 1;
      if (last < 0xD800 || first > 0xDFFF) return {{first, last}, nothing};
      // A half of a pair is no character.
      if (last > 0xDFFF) return {{first, 0xD7FF}, {0xE000, code_point_max}};
      return {first < 0xD800 ? CodePointRange{first, 0xD7FF} : nothing,
              supplement(first < 0xD800 ? 0xD800 : first, last > 0xDBFF ? 0xDBFF : last)};
    }
    case Mode::pair_escape:
    case Mode::pair_u:
      return {supplement(first_half_, first_half_), nothing};
    case Mode::pair_hex: {
      const CodePointRange all = supplement(first_half_, first_half_);
      if (left_ > 2) return {all, nothing};
      const int shift = 4 * left_;
      const char32_t low = (value_ << shift) - 0xDC00;
      return {{all.first + low, all.first + low + (1U << shift) - 1}, nothing};
    }
    default:
      return {{0, code_point_max}, nothing};
  }
}

}  // namespace lapidary::grammar
