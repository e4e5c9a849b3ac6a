#include "cli/keys.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace lapidary {
namespace {

constexpr std::string_view paste_end = "\x1b[201~";
constexpr char escape_byte = '\x1b';

KeyKind control_key(unsigned char byte) {
  switch (byte) {
    case 1:
      return KeyKind::home;  // A
    case 2:
      return KeyKind::left;  // B
    case 3:
      return KeyKind::interrupt;  // C
    case 4:
      return KeyKind::end_of_input;  // D
    case 5:
      return KeyKind::end;  // E
    case 6:
      return KeyKind::right;  // F
    case 7:
      return KeyKind::cancel;  // G
    case 8:
      return KeyKind::backspace;  // H
    case 10:
      return KeyKind::enter;  // J
    case 11:
      return KeyKind::erase_to_end;  // K
    case 12:
      return KeyKind::clear_screen;  // L
    case 13:
      return KeyKind::enter;  // M
    case 14:
      return KeyKind::down;  // N
    case 16:
      return KeyKind::up;  // P
    case 18:
      return KeyKind::search;  // R
    case 20:
      return KeyKind::transpose;  // T
    case 21:
      return KeyKind::erase_to_start;  // U
    case 23:
      return KeyKind::erase_word_left_blank;  // W
    case 25:
      return KeyKind::yank;  // Y
    case 26:
      return KeyKind::suspend;  // Z
    case 127:
      return KeyKind::backspace;
    default:
      return KeyKind::ignored;
  }
}

KeyKind alt_key(char byte) {
  switch (byte) {
    case 'b':
    case 'B':
      return KeyKind::word_left;
    case 'f':
    case 'F':
      return KeyKind::word_right;
    case 'd':
    case 'D':
      return KeyKind::erase_word_right;
    case '\r':
    case '\n':
      return KeyKind::new_line;
    case '\b':
    case '\x7f':
      return KeyKind::erase_word_left;
    default:
      return KeyKind::ignored;
  }
}

// The last letter of ESC [ … or ESC O …
KeyKind letter_key(char letter, bool by_word) {
  switch (letter) {
    case 'A':
      return KeyKind::up;
    case 'B':
      return KeyKind::down;
    case 'C':
      return by_word ? KeyKind::word_right : KeyKind::right;
    case 'D':
      return by_word ? KeyKind::word_left : KeyKind::left;
    case 'H':
      return KeyKind::home;
    case 'F':
      return KeyKind::end;
    default:
      return KeyKind::ignored;
  }
}

// ESC [ NUMBER ~
KeyKind number_key(std::string_view number, bool by_word) {
  if (number == "1" || number == "7") return KeyKind::home;
  if (number == "4" || number == "8") return KeyKind::end;
  if (number == "3") return by_word ? KeyKind::erase_word_right : KeyKind::erase;
  return KeyKind::ignored;
}

// "\r\n" and "\r" -> "\n": terminals turn line breaks into what the Enter key sends.
std::string normal_line_breaks(std::string_view text) {
  std::string normal;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    normal += text[i] == '\r' ? '\n' : text[i];
  }
  return utf8_repair(normal);
}

}  // namespace

Key KeyParser::take(size_t length, KeyKind kind, std::string text) {
  pending_.erase(0, length);
  return {kind, std::move(text)};
}

std::optional<Key> KeyParser::next(bool nothing_follows) {
  if (pasting_) return paste();
  if (pending_.empty()) return std::nullopt;
  const auto first = static_cast<unsigned char>(pending_[0]);
  if (first == escape_byte) return escape(nothing_follows);
  if (first < 0x20 || first == 0x7F) return take(1, control_key(first));
  const size_t length = utf8_length(pending_);
  if (length > 0) return take(length, KeyKind::text, pending_.substr(0, length));
  if (!nothing_follows && utf8_incomplete_tail(pending_) == pending_.size()) return std::nullopt;
  return take(1, KeyKind::text, "\xEF\xBF\xBD");
}

std::optional<Key> KeyParser::paste() {
  const size_t end = pending_.find(paste_end);
  if (end == std::string::npos) {
    // Keep what may be the beginning of the end mark.
    const size_t keep = std::min(pending_.size(), paste_end.size() - 1);
    pasted_.append(pending_, 0, pending_.size() - keep);
    pending_.erase(0, pending_.size() - keep);
    return std::nullopt;
  }
  pasted_.append(pending_, 0, end);
  pending_.erase(0, end + paste_end.size());
  pasting_ = false;
  return Key{KeyKind::paste, normal_line_breaks(std::exchange(pasted_, {}))};
}

std::optional<Key> KeyParser::escape(bool nothing_follows) {
  size_t at = 1;
  const bool alt = pending_.size() > 2 && pending_[1] == escape_byte;  // ESC ESC [ D: Alt-Left of some terminals
  if (alt) at = 2;
  if (at >= pending_.size()) return nothing_follows ? std::optional(take(1, KeyKind::cancel)) : std::nullopt;
  if (pending_[at] == '[') return control_sequence(at + 1, alt, nothing_follows);
  if (pending_[at] == 'O') {
    if (at + 1 >= pending_.size())
      return nothing_follows ? std::optional(take(at + 1, KeyKind::ignored)) : std::nullopt;
    return take(at + 2, letter_key(pending_[at + 1], alt));
  }
  const size_t length = std::max<size_t>(1, utf8_length(std::string_view(pending_).substr(at)));
  return take(at + length, length == 1 ? alt_key(pending_[at]) : KeyKind::ignored);
}

// ESC [ PARAMETERS LETTER (ECMA-48 5.4).
std::optional<Key> KeyParser::control_sequence(size_t begin, bool alt, bool nothing_follows) {
  size_t end = begin;
  while (end < pending_.size() && pending_[end] >= 0x20 && pending_[end] < 0x40) ++end;
  if (end >= pending_.size()) return nothing_follows ? std::optional(take(end, KeyKind::ignored)) : std::nullopt;
  const std::string parameters = pending_.substr(begin, end - begin);
  const char letter = pending_[end];
  if (letter == '~' && parameters == "200") {
    take(end + 1, KeyKind::ignored);
    pasting_ = true;
    return paste();
  }
  // "1;5": key 1 with modifiers 5 - 1: 1 Shift, 2 Alt, 4 Ctrl.
  const size_t semicolon = parameters.find(';');
  const std::string number = parameters.substr(0, semicolon);
  const bool by_word =
      alt || (semicolon != std::string::npos && parameters.size() > semicolon + 1 && parameters[semicolon + 1] > '2');
  if (letter == '~' && parameters.starts_with("27;") && parameters.ends_with(";13"))
    return take(end + 1, KeyKind::new_line);
  if (letter == 'u' && number == "13")
    return take(end + 1, semicolon == std::string::npos ? KeyKind::enter : KeyKind::new_line);
  return take(end + 1, letter == '~' ? number_key(number, by_word) : letter_key(letter, by_word));
}

}  // namespace lapidary
