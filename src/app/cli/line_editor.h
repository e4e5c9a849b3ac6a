// Editing a line (or several) in a terminal, with the keys of Emacs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/terminal.h"
#include "cli/history.h"
#include "cli/keys.h"
#include "cli/screen_text.h"

namespace lapidary {

// What the editor needs of a terminal; tests put their own in its place.
class EditorScreen {
 public:
  virtual ~EditorScreen() = default;
  virtual TerminalInput wait(int timeout_ms) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual TerminalSize size() = 0;
  virtual void suspend() = 0;
};

// The terminal of the standard streams.
class StandardScreen : public EditorScreen {
 public:
  TerminalInput wait(int timeout_ms) override { return wait_for_input(timeout_ms); }
  void write(std::string_view bytes) override { write_stream(Stream::output, bytes); }
  TerminalSize size() override { return terminal_size(); }
  void suspend() override { suspend_program(); }
};

struct LineRequest {
  std::string prompt = "> ", continuation = "  ";  // plain text
  std::string style_on, style_off;                 // around the prompt: escape sequences, no columns
  History* history = nullptr;                      // not owned; nullptr: no history
  // Whether Enter should begin a new line instead of ending the input, given what is there.
  std::function<bool(std::string_view)> wants_more;
};

enum class LineEnd : uint8_t {
  entered,
  interrupted,  // Ctrl-C; `text` is what was there
  closed,       // Ctrl-D at an empty line, or the terminal is gone
};
struct Line {
  LineEnd end = LineEnd::entered;
  std::string text;
};

// Owns nothing but its state. Keys that were typed ahead wait for the next read().
class LineEditor {
 public:
  explicit LineEditor(EditorScreen& screen) : screen_(screen) {}

  // The terminal should be in TerminalMode::editing.
  Line read(const LineRequest& request);

 private:
  struct Search {
    std::string query;
    size_t found;  // index into the history; its size: nothing
    std::string text_before;
    size_t cursor_before;
  };
  void begin(const LineRequest& request);
  void handle_all(bool nothing_follows);
  void handle(const Key& key);
  bool handle_move(KeyKind kind);
  bool handle_edit(const Key& key);
  void handle_search(const Key& key);
  void handle_end(KeyKind kind);
  void insert(std::string_view text);
  void erase(size_t begin, size_t end, bool keep);
  void transpose();
  void vertical(int direction);
  void recall(size_t entry);
  void search_again(size_t before);
  size_t word_left(bool blanks) const;
  size_t word_right() const;
  size_t line_begin() const;
  size_t line_end() const;

  std::string prompt() const;
  void redraw(bool whole);
  bool draw_typed(const ScreenLayout& layout);
  void after_resize();
  void finish(LineEnd end, std::string_view mark);

  EditorScreen& screen_;
  KeyParser keys_;
  std::string killed_;  // for Ctrl-Y

  // Of the read() that runs:
  LineRequest request_;
  std::string text_;
  size_t cursor_ = 0;
  size_t recalled_ = 0;  // which entry of the history is shown; its size: none
  std::string draft_;    // what was typed before an entry was recalled
  std::optional<Search> search_;
  std::optional<Line> result_;
  // What is on the screen:
  bool changed_ = false;
  int top_ = 0;                            // first row of the layout that is visible
  int drawn_cursor_row_ = 0;               // rows below the first visible one
  std::optional<std::string> drawn_text_;  // if the cursor stands behind it and nothing else was drawn
  int drawn_column_ = 0, drawn_rows_ = 1;
};

}  // namespace lapidary
