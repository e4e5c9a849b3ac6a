// Text as a terminal shows it: what is safe to print, how wide it is, and where it wraps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

// Text from a model or a file, made unable to drive the terminal: control characters but line breaks and tabs become
// visible pictures of themselves (ESC: U+241B), bytes that are not UTF-8 become U+FFFD. Never longer in columns than in
// characters.
std::string safe_text(std::string_view text);

// Columns of a line that safe_text made, tabs counted as one.
int text_columns(std::string_view text);

// Borders of what a user takes for one character: a character with the combining ones and joined ones after it.
size_t next_border(std::string_view text, size_t at);
size_t previous_border(std::string_view text, size_t at);

struct ScreenRow {
  std::string text;
  bool wraps = false;  // full: the terminal goes on in the next row by itself
};

struct ScreenLayout {
  std::vector<ScreenRow> rows;  // at least one
  int cursor_row = 0, cursor_column = 0;
};

// Lays `text` out on a screen of `columns`, behind `prompt` (and `continuation` after each line break), with the cursor
// before byte `cursor` of the text. Styles are not part of it: prompts are plain.
ScreenLayout lay_out(std::string_view prompt, std::string_view continuation, std::string_view text, size_t cursor,
                     int columns);

}  // namespace lapidary
