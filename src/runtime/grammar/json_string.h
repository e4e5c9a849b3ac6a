// The inside of a JSON string, byte by byte: UTF-8 and escapes undone. RFC 8259 section 7; halves of surrogate pairs
// that stand alone are refused, since no text can hold them.
#pragma once

#include <cstdint>

#include "grammar/regex.h"

namespace lapidary::grammar {

class StringLexer {
 public:
  enum class Step : uint8_t {
    dead,       // no string goes on like this
    within,     // a character has begun
    character,  // a character is complete: character()
    closed,     // the closing quote
  };
  Step push(uint8_t byte);
  // The same for text without quotes and escapes: every character stands for itself.
  Step push_raw(uint8_t byte);

  bool between() const { return mode_ == Mode::between; }  // no character has begun
  char32_t character() const { return value_; }
  // While a character has begun: those that it can become, as up to two ranges (the second one empty if first > last).
  struct Possible {
    CodePointRange near, far;
  };
  Possible possible() const;

 private:
  enum class Mode : uint8_t { between, utf8, escape, hex, pair_escape, pair_u, pair_hex };
  Step begin_utf8(uint8_t byte);
  Step continue_utf8(uint8_t byte);
  Step push_escape(uint8_t byte);
  Step push_hex(uint8_t byte);
  Step complete(char32_t character) {
    mode_ = Mode::between;
    value_ = character;
    return Step::character;
  }

  Mode mode_ = Mode::between;
  uint8_t left_ = 0;            // bytes or digits that are missing
  uint8_t low_ = 0, high_ = 0;  // of the next continuation byte
  uint16_t first_half_ = 0;     // of a surrogate pair
  char32_t value_ = 0;
};

}  // namespace lapidary::grammar
