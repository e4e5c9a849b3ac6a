// Bytes from a terminal -> keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lapidary {

enum class KeyKind : uint8_t {
  text,   // a character
  paste,  // a bracketed paste: line breaks are '\n'
  enter,
  new_line,  // Alt-Enter (Shift-Enter where the terminal tells)
  left,
  right,
  word_left,
  word_right,
  home,
  end,
  up,
  down,
  backspace,
  erase,
  erase_word_left,
  erase_word_left_blank,  // Alt-Backspace: to letters; Ctrl-W: to blanks
  erase_word_right,
  erase_to_end,
  erase_to_start,
  yank,
  transpose,
  clear_screen,
  search,
  cancel,
  interrupt,
  end_of_input,
  suspend,
  ignored,
};

struct Key {
  KeyKind kind = KeyKind::ignored;
  std::string text;
};

// Keys may come in pieces; an ESC alone is a key only once nothing follows it.
class KeyParser {
 public:
  void feed(std::string_view bytes) { pending_ += bytes; }
  // The next whole key. `nothing_follows`: no more bytes came for a while, so what is there is all.
  std::optional<Key> next(bool nothing_follows);
  // In the middle of a key: wait a moment, not forever.
  bool waiting() const { return !pending_.empty() && !pasting_; }

 private:
  std::optional<Key> paste();
  std::optional<Key> escape(bool nothing_follows);
  std::optional<Key> control_sequence(size_t begin, bool alt, bool nothing_follows);
  Key take(size_t length, KeyKind kind, std::string text = "");

  std::string pending_, pasted_;
  bool pasting_ = false;
};

}  // namespace lapidary
