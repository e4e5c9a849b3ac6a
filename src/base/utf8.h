// UTF-8, byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lapidary {

// The length in bytes (1 to 4) of the well-formed character at the start of `text`, or 0 if there is none: an empty
// text, a stray or overlong sequence, a surrogate, or a character cut off by the end.
size_t utf8_length(std::string_view text);

// How many bytes at the end of `text` are the beginning of a character that may still be completed (0 to 3).
size_t utf8_incomplete_tail(std::string_view text);

// The character as a code point; `text` must start with a well-formed one of `length` bytes.
char32_t utf8_decode(std::string_view text, size_t length);

void utf8_append(std::string& text, char32_t code_point);

// Replaces each byte that belongs to no well-formed character by U+FFFD.
std::string utf8_repair(std::string_view text);

}  // namespace lapidary
