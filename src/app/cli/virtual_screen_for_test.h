// A small terminal in memory, for tests: what the escape sequences of the editor would show.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "cli/line_editor.h"

namespace lapidary {

class VirtualScreen : public EditorScreen {
 public:
  VirtualScreen(int columns, int rows) : size_{columns, rows}, lines_(static_cast<size_t>(rows)) {}

  // Input comes in these pieces, each after a wait; then the terminal is closed.
  std::deque<TerminalInput> input;
  void type(std::string bytes) { input.push_back({std::move(bytes)}); }

  TerminalInput wait(int timeout_ms) override {
    if (input.empty()) return {"", false, false, true};
    if (timeout_ms >= 0 && pause_before_rest) {
      pause_before_rest = false;
      return {};
    }
    TerminalInput next = input.front();
    input.pop_front();
    if (next.resized) size_.columns = resize_to;
    return next;
  }
  void write(std::string_view bytes) override {
    written += bytes;
    for (size_t at = 0; at < bytes.size();) at += put(bytes.substr(at));
  }
  TerminalSize size() override { return size_; }
  void suspend() override { ++suspended; }

  // The screen without trailing blanks and empty rows.
  std::string shown() const {
    std::string all;
    for (const auto& line : lines_) {
      std::string row;
      for (const std::string& cell : line) row += cell;
      row.erase(row.find_last_not_of(' ') + 1);
      all += row + "\n";
    }
    all.erase(all.find_last_not_of('\n') + 1);
    return all;
  }
  int cursor_row() const { return row_; }
  int cursor_column() const { return column_; }

  std::string written;
  int suspended = 0;
  int resize_to = 0;
  bool pause_before_rest = false;  // the next wait with a timeout runs out

 private:
  size_t put(std::string_view bytes) {
    if (bytes.starts_with("\x1b[")) return control(bytes);
    const size_t length = std::max<size_t>(1, utf8_length(bytes));
    if (bytes[0] == '\r') {
      column_ = 0;
    } else if (bytes[0] == '\n') {
      down();
    } else {
      const int width = std::max(0, character_columns(utf8_decode(bytes, length)));
      if (column_ + width > size_.columns) {  // a full row wraps with the next character only
        down();
        column_ = 0;
      }
      auto& line = lines_[static_cast<size_t>(row_)];
      const size_t end = static_cast<size_t>(column_) + static_cast<size_t>(width);
      if (line.size() < end) line.resize(end, " ");
      if (width == 0 && column_ > 0) line[static_cast<size_t>(column_) - 1] += bytes.substr(0, length);
      if (width > 0) line[static_cast<size_t>(column_)] = bytes.substr(0, length);
      if (width == 2) line[static_cast<size_t>(column_) + 1] = "";
      column_ += width;
    }
    return length;
  }
  size_t control(std::string_view bytes) {
    size_t end = 2;
    while (end < bytes.size() && static_cast<unsigned char>(bytes[end]) < 0x40) ++end;
    const int number = std::atoi(std::string(bytes.substr(2, end - 2)).c_str());
    switch (bytes[end]) {
      case 'A':
        row_ = std::max(0, row_ - std::max(1, number));
        break;
      case 'C':
        column_ = std::min(size_.columns - 1, column_ + std::max(1, number));
        break;
      case 'H':
        row_ = column_ = 0;
        break;
      case 'J':
        if (number == 2) lines_.assign(lines_.size(), {});
        if (lines_[static_cast<size_t>(row_)].size() > static_cast<size_t>(column_))
          lines_[static_cast<size_t>(row_)].resize(static_cast<size_t>(column_));
        for (size_t i = static_cast<size_t>(row_) + 1; i < lines_.size(); ++i) lines_[i].clear();
        break;
      default:
        break;
    }
    return end + 1;
  }
  void down() {
    if (row_ + 1 < size_.rows) {
      ++row_;
      return;
    }
    lines_.erase(lines_.begin());
    lines_.emplace_back();
  }

  TerminalSize size_;
  std::vector<std::vector<std::string>> lines_;
  int row_ = 0, column_ = 0;
};

}  // namespace lapidary
