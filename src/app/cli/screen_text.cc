#include "cli/screen_text.h"

#include <algorithm>

#include "base/terminal.h"
#include "base/utf8.h"

namespace lapidary {
namespace {

constexpr char32_t replacement = 0xFFFD, joiner = 0x200D;
constexpr int tab_columns = 4;

struct Character {
  char32_t code;
  size_t length;  // in bytes, at least 1
};

Character character_at(std::string_view text, size_t at) {
  const size_t length = utf8_length(text.substr(at));
  if (length == 0) return {replacement, 1};
  return {utf8_decode(text.substr(at), length), length};
}

// The picture of a control character, or the character itself.
char32_t visible(char32_t code) {
  if (code < 0x20) return 0x2400 + code;
  if (code == 0x7F) return 0x2421;
  if (code >= 0x80 && code < 0xA0) return replacement;
  return code;
}

bool extends_previous(char32_t code) { return code >= 0x300 && character_columns(code) == 0; }

// Puts characters on rows as a terminal does: a wide one that does not fit goes to the next row.
class Screen {
 public:
  explicit Screen(int columns) : columns_(std::max(2, columns)) { layout_.rows.emplace_back(); }

  void put(char32_t code) {
    const int width = std::max(0, character_columns(code));
    if (column_ + width > columns_) wrap();
    utf8_append(layout_.rows.back().text, code);
    column_ += width;
  }
  void put(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      const Character character = character_at(text, at);
      put(visible(character.code));
      at += character.length;
    }
  }
  void break_line() {
    layout_.rows.emplace_back();
    column_ = 0;
  }
  // Where a character that comes next will stand: never behind a full row.
  void mark_cursor() {
    if (column_ >= columns_) wrap();
    layout_.cursor_row = static_cast<int>(layout_.rows.size()) - 1;
    layout_.cursor_column = column_;
  }
  ScreenLayout take() { return std::move(layout_); }

 private:
  void wrap() {
    layout_.rows.back().wraps = true;
    break_line();
  }
  int columns_;
  int column_ = 0;
  ScreenLayout layout_;
};

}  // namespace

std::string safe_text(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const bool line_end = character.code == '\r' && at + 1 < text.size() && text[at + 1] == '\n';
    if (character.code == '\n' || character.code == '\t')
      safe += static_cast<char>(character.code);
    else if (!line_end)
      utf8_append(safe, visible(character.code));
    at += character.length;
  }
  return safe;
}

int text_columns(std::string_view text) {
  int columns = 0;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    columns += character.code == '\t' ? 1 : std::max(0, character_columns(character.code));
    at += character.length;
  }
  return columns;
}

size_t next_border(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  Character character = character_at(text, at);
  at += character.length;
  while (at < text.size()) {
    const bool joined = character.code == joiner;
    character = character_at(text, at);
    if (!joined && !extends_previous(character.code)) break;
    at += character.length;
  }
  return at;
}

size_t previous_border(std::string_view text, size_t at) {
  // Borders can only be told from the left: walk from the line's beginning.
  if (at == 0) return 0;
  const size_t line_break = text.rfind('\n', at - 1);
  if (line_break == at - 1) return at - 1;
  size_t border = line_break == std::string_view::npos ? 0 : line_break + 1;
  while (true) {
    const size_t next = next_border(text, border);
    if (next >= at) return border;
    border = next;
  }
}

ScreenLayout lay_out(std::string_view prompt, std::string_view continuation, std::string_view text, size_t cursor,
                     int columns) {
  Screen screen(columns);
  screen.put(prompt);
  for (size_t at = 0; at < text.size();) {
    if (at == cursor) screen.mark_cursor();
    const Character character = character_at(text, at);
    if (character.code == '\n') {
      screen.break_line();
      screen.put(continuation);
    } else if (character.code == '\t') {
      for (int i = 0; i < tab_columns; ++i) screen.put(U' ');
    } else {
      screen.put(visible(character.code));
    }
    at += character.length;
  }
  if (cursor >= text.size()) screen.mark_cursor();
  return screen.take();
}

}  // namespace lapidary
