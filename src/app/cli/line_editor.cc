#include "cli/line_editor.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary {
namespace {

constexpr int rest_of_key_ms = 50;  // how long the rest of an escape sequence may take

bool in_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         byte == '_';
}

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

}  // namespace

Line LineEditor::read(const LineRequest& request) {
  begin(request);
  handle_all(false);  // what was typed ahead
  while (!result_) {
    if (changed_) redraw(false);
    const bool waiting = keys_.waiting();
    const TerminalInput input = screen_.wait(waiting ? rest_of_key_ms : -1);
    if (input.resized) after_resize();
    if (input.interrupted) handle({KeyKind::interrupt, ""});
    if (result_) break;
    keys_.feed(input.bytes);
    handle_all(waiting && input.bytes.empty());
    if (input.closed && !result_) finish(LineEnd::closed, "");
  }
  return std::move(*result_);
}

void LineEditor::begin(const LineRequest& request) {
  request_ = request;
  text_.clear();
  draft_.clear();
  cursor_ = 0;
  recalled_ = request_.history != nullptr ? request_.history->entries().size() : 0;
  search_.reset();
  result_.reset();
  top_ = drawn_cursor_row_ = 0;
  drawn_text_.reset();
  redraw(false);
}

void LineEditor::handle_all(bool nothing_follows) {
  while (!result_) {
    const auto key = keys_.next(nothing_follows);
    if (!key) return;
    handle(*key);
  }
}

void LineEditor::handle(const Key& key) {
  changed_ = true;
  if (search_) return handle_search(key);
  if (handle_move(key.kind) || handle_edit(key)) return;
  handle_end(key.kind);
}

bool LineEditor::handle_move(KeyKind kind) {
  switch (kind) {
    case KeyKind::left:
      cursor_ = previous_border(text_, cursor_);
      return true;
    case KeyKind::right:
      cursor_ = next_border(text_, cursor_);
      return true;
    case KeyKind::word_left:
      cursor_ = word_left(false);
      return true;
    case KeyKind::word_right:
      cursor_ = word_right();
      return true;
    case KeyKind::home:
      cursor_ = line_begin();
      return true;
    case KeyKind::end:
      cursor_ = line_end();
      return true;
    case KeyKind::up:
      vertical(-1);
      return true;
    case KeyKind::down:
      vertical(1);
      return true;
    default:
      return false;
  }
}

bool LineEditor::handle_edit(const Key& key) {
  switch (key.kind) {
    case KeyKind::text:
    case KeyKind::paste:
      insert(key.text);
      return true;
    case KeyKind::new_line:
      insert("\n");
      return true;
    case KeyKind::backspace:
      erase(previous_border(text_, cursor_), cursor_, false);
      return true;
    case KeyKind::erase:
      erase(cursor_, next_border(text_, cursor_), false);
      return true;
    case KeyKind::erase_word_left:
      erase(word_left(false), cursor_, true);
      return true;
    case KeyKind::erase_word_left_blank:
      erase(word_left(true), cursor_, true);
      return true;
    case KeyKind::erase_word_right:
      erase(cursor_, word_right(), true);
      return true;
    case KeyKind::erase_to_end:
      erase(cursor_, std::max(line_end(), std::min(cursor_ + (line_end() == cursor_), text_.size())), true);
      return true;
    case KeyKind::erase_to_start:
      erase(line_begin(), cursor_, true);
      return true;
    case KeyKind::yank:
      insert(killed_);
      return true;
    case KeyKind::transpose:
      transpose();
      return true;
    default:
      return false;
  }
}

void LineEditor::handle_end(KeyKind kind) {
  switch (kind) {
    case KeyKind::enter:
      if (request_.wants_more && request_.wants_more(text_))
        insert("\n");
      else
        finish(LineEnd::entered, "");
      break;
    case KeyKind::interrupt:
      finish(LineEnd::interrupted, "^C");
      break;
    case KeyKind::end_of_input:
      if (text_.empty())
        finish(LineEnd::closed, "");
      else
        erase(cursor_, next_border(text_, cursor_), false);
      break;
    case KeyKind::search:
      if (request_.history != nullptr) search_ = Search{"", request_.history->entries().size(), text_, cursor_};
      break;
    case KeyKind::clear_screen:
      screen_.write("\x1b[H\x1b[2J");
      drawn_cursor_row_ = 0;
      drawn_text_.reset();
      break;
    case KeyKind::suspend:
      screen_.write("\r\n");
      screen_.suspend();
      drawn_cursor_row_ = 0;
      drawn_text_.reset();
      break;
    default:
      break;
  }
}

// Ctrl-R: letters narrow the search, Ctrl-R goes further back, Enter sends what was found, other keys go on editing it.
void LineEditor::handle_search(const Key& key) {
  const size_t none = request_.history->entries().size();
  switch (key.kind) {
    case KeyKind::text:
    case KeyKind::paste:
      search_->query += key.text;
      search_again(search_->found == none ? none : search_->found + 1);
      return;
    case KeyKind::backspace:
      search_->query.erase(previous_border(search_->query, search_->query.size()));
      search_again(none);
      return;
    case KeyKind::search:
      search_again(search_->found);
      return;
    case KeyKind::cancel:
    case KeyKind::interrupt:
      text_ = search_->text_before;
      cursor_ = search_->cursor_before;
      search_.reset();
      return;
    case KeyKind::ignored:
      return;
    default:
      if (search_->found != none) recalled_ = search_->found;
      search_.reset();
      handle(key);
  }
}

void LineEditor::search_again(size_t before) {
  const auto& entries = request_.history->entries();
  if (search_->query.empty()) return;
  const size_t found = request_.history->find_older(search_->query, before);
  if (found == entries.size()) return;  // what was found before stays
  search_->found = found;
  text_ = entries[found];
  cursor_ = text_.find(search_->query);
}

void LineEditor::insert(std::string_view text) {
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

void LineEditor::erase(size_t begin, size_t end, bool keep) {
  if (keep && end > begin) killed_ = text_.substr(begin, end - begin);
  text_.erase(begin, end - begin);
  cursor_ = begin;
}

// Swaps the characters around the cursor (at the end: the last two).
void LineEditor::transpose() {
  size_t middle = cursor_ == text_.size() ? previous_border(text_, cursor_) : cursor_;
  if (middle == 0) return;
  const size_t begin = previous_border(text_, middle), end = next_border(text_, middle);
  std::rotate(text_.begin() + static_cast<ptrdiff_t>(begin), text_.begin() + static_cast<ptrdiff_t>(middle),
              text_.begin() + static_cast<ptrdiff_t>(end));
  cursor_ = end;
}

// Up and down: within the text where it has another line there, else through the history.
void LineEditor::vertical(int direction) {
  const size_t begin = line_begin(), end = line_end();
  const size_t offset = cursor_ - begin;
  if (direction < 0 && begin > 0) {
    const size_t above = begin >= 2 ? text_.rfind('\n', begin - 2) : std::string::npos;
    const size_t above_begin = above == std::string::npos ? 0 : above + 1;
    cursor_ = std::min(above_begin + offset, begin - 1);
  } else if (direction > 0 && end < text_.size()) {
    cursor_ = std::min(end + 1 + offset, std::min(text_.find('\n', end + 1), text_.size()));
  } else if (request_.history != nullptr) {
    const size_t count = request_.history->entries().size();
    if (direction < 0 && recalled_ > 0) recall(recalled_ - 1);
    if (direction > 0 && recalled_ < count) recall(recalled_ + 1);
    return;
  }
  // An offset in bytes may lie inside a character.
  while (cursor_ < text_.size() && (static_cast<unsigned char>(text_[cursor_]) & 0xC0) == 0x80) ++cursor_;
}

void LineEditor::recall(size_t entry) {
  const auto& entries = request_.history->entries();
  if (recalled_ == entries.size()) draft_ = text_;
  recalled_ = entry;
  text_ = entry == entries.size() ? draft_ : entries[entry];
  cursor_ = text_.size();
}

size_t LineEditor::word_left(bool blanks) const {
  const auto outside = [&](char c) { return blanks ? blank(c) : !in_word(c); };
  size_t at = cursor_;
  while (at > 0 && outside(text_[at - 1])) --at;
  while (at > 0 && !outside(text_[at - 1])) --at;
  return at;
}

size_t LineEditor::word_right() const {
  size_t at = cursor_;
  while (at < text_.size() && !in_word(text_[at])) ++at;
  while (at < text_.size() && in_word(text_[at])) ++at;
  return at;
}

size_t LineEditor::line_begin() const {
  const size_t line_break = cursor_ == 0 ? std::string::npos : text_.rfind('\n', cursor_ - 1);
  return line_break == std::string::npos ? 0 : line_break + 1;
}

size_t LineEditor::line_end() const { return std::min(text_.find('\n', cursor_), text_.size()); }

std::string LineEditor::prompt() const {
  return search_ ? fmt::format("search \"{}\": ", safe_text(search_->query)) : request_.prompt;
}

// A character typed at the end needs no more than itself, as long as it stays in its row.
bool LineEditor::draw_typed(const ScreenLayout& layout) {
  const bool at_end = cursor_ == text_.size() && !search_;
  const bool grown = at_end && drawn_text_ && text_.size() > drawn_text_->size() && text_.starts_with(*drawn_text_);
  if (!grown || static_cast<int>(layout.rows.size()) != drawn_rows_) return false;
  const std::string_view added = std::string_view(text_).substr(drawn_text_->size());
  if (layout.cursor_column <= drawn_column_ || added.find_first_of("\n\t") != std::string_view::npos) return false;
  screen_.write(safe_text(added));
  return true;
}

void LineEditor::redraw(bool whole) {
  changed_ = false;
  const TerminalSize size = screen_.size();
  const std::string shown_prompt = prompt();
  const ScreenLayout layout = lay_out(shown_prompt, request_.continuation, text_, cursor_, size.columns);
  const auto count = static_cast<int>(layout.rows.size());
  if (!whole && draw_typed(layout)) {
    drawn_text_ = text_;
    drawn_column_ = layout.cursor_column;
    return;
  }
  // The part of the rows that fits on the screen, with the cursor in it.
  const int height = whole ? count : std::max(1, size.rows);
  top_ = whole ? 0 : std::clamp(top_, std::max(0, layout.cursor_row - height + 1), layout.cursor_row);
  top_ = std::min(top_, std::max(0, count - height));
  const int bottom = std::min(count, top_ + height);

  std::string out = "\x1b[?25l";
  if (drawn_cursor_row_ > 0) out += fmt::format("\x1b[{}A", drawn_cursor_row_);
  out += "\r\x1b[J";
  for (int i = top_; i < bottom; ++i) {
    const ScreenRow& row = layout.rows[static_cast<size_t>(i)];
    if (i == 0 && row.text.starts_with(shown_prompt))
      out += request_.style_on + shown_prompt + request_.style_off + row.text.substr(shown_prompt.size());
    else
      out += row.text;
    if (i + 1 == bottom) break;
    if (!row.wraps)
      out += "\r\n";
    else if (layout.rows[static_cast<size_t>(i) + 1].text.empty())
      out += " \r";  // the terminal wraps with the next character only
  }
  out += "\r";
  if (bottom - 1 > layout.cursor_row) out += fmt::format("\x1b[{}A", bottom - 1 - layout.cursor_row);
  if (layout.cursor_column > 0) out += fmt::format("\x1b[{}C", layout.cursor_column);
  out += "\x1b[?25h";
  screen_.write(out);
  drawn_cursor_row_ = layout.cursor_row - top_;
  drawn_text_.reset();
  if (cursor_ == text_.size() && !search_) drawn_text_ = text_;
  drawn_column_ = layout.cursor_column;
  drawn_rows_ = count;
}

// Terminals re-wrap what is on the screen when their width changes, so the cursor is as many rows below the prompt as
// the layout for the new width says.
void LineEditor::after_resize() {
  const TerminalSize size = screen_.size();
  const ScreenLayout layout = lay_out(prompt(), request_.continuation, text_, cursor_, size.columns);
  drawn_cursor_row_ = std::min(layout.cursor_row, std::max(1, size.rows) - 1);
  drawn_text_.reset();
  changed_ = true;
}

void LineEditor::finish(LineEnd end, std::string_view mark) {
  search_.reset();
  cursor_ = text_.size();
  redraw(true);
  screen_.write(fmt::format("{}\r\n", mark));
  result_ = Line{end, std::move(text_)};
  text_.clear();
}

}  // namespace lapidary
