// Where the program's words go: answers to standard output, everything else to standard error.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/terminal.h"
#include "cli/exit_status.h"

namespace lapidary {

// Escape sequences, or nothing where there is no colour.
struct Style {
  std::string_view dim, bold, red, off;
};

class Console {
 public:
  // The standard streams. Colour where there is a terminal, unless NO_COLOR is set or TERM is "dumb".
  Console();
  // What is written goes to `write` instead: for tests.
  struct Setup {
    bool output_is_terminal = false, error_is_terminal = false, colour = false;
    std::function<WriteResult(Stream stream, std::string_view bytes)> write;
  };
  explicit Console(Setup setup);

  // To standard output, as it is. Once the reader is gone or the disk is full, nothing more is written.
  void print(std::string_view bytes);
  // The same for text that others wrote: what could drive a terminal is made visible if there is one.
  void print_safe(std::string_view text);
  // To standard error: "lapidary: …"
  void complain(const Error& error);
  void warn(std::string_view message);
  // To standard error, if that is a terminal: dimmed, for those who watch.
  void remark(std::string_view message);
  // To standard error, as it is.
  void print_error(std::string_view bytes);

  bool output_is_terminal() const { return setup_.output_is_terminal; }
  bool error_is_terminal() const { return setup_.error_is_terminal; }
  const Style& output_style() const { return output_style_; }
  const Style& error_style() const { return error_style_; }
  bool output_ended() const { return output_closed_ || output_failed_; }

  // How the program ends if all else went well: a closed pipe ends it quietly, a full disk does not.
  ExitStatus finish(ExitStatus status);
  ExitStatus fail(const Error& error);  // complains

 private:
  Setup setup_;
  Style output_style_, error_style_;
  bool output_closed_ = false, output_failed_ = false;
};

// "7.01 GB", in powers of ten as disks and downloads have it.
std::string format_bytes(double bytes);

}  // namespace lapidary
