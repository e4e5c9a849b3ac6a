// The standard streams, the terminal behind them and the signals that come from it: the one place with termios, ioctl,
// poll and sigaction.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary {

enum class Stream : uint8_t { input, output, error };

bool is_terminal(Stream stream);

struct TerminalSize {
  int columns = 80, rows = 24;  // what is taken when nobody knows
};
TerminalSize terminal_size();

// The columns a character takes: 0 (combining, joiners), 1 or 2; -1 for control characters.
int character_columns(char32_t character);

enum class WriteResult : uint8_t {
  written,
  closed,  // nobody reads the other end any more
  failed,  // the disk is full, or the like
};
// Writes everything, unbuffered, whatever signals come in between.
WriteResult write_stream(Stream stream, std::string_view bytes);

// All of standard input, to its end. Refuses more than `bytes_max`; ErrorKind::cancelled after Ctrl-C.
Result<std::string> read_standard_input(uint64_t bytes_max);

enum class SecondInterrupt : uint8_t {
  exits,    // a second Ctrl-C ends the program at once, with status 130
  ignored,  // Ctrl-C only ever raises the flag
};
// To be called once, before other threads start. Ctrl-C (SIGINT) raises the interrupt flag; a closed pipe becomes an
// error of the write; SIGTERM and SIGHUP put the terminal back in order before they end the program; changes of size
// are noticed.
void take_over_signals();
void on_second_interrupt(SecondInterrupt what);
std::atomic<bool>& interrupt_flag();

// Stops the program as Ctrl-Z does, until the shell continues it. The terminal is normal meanwhile.
void suspend_program();

struct TerminalInput {
  std::string bytes;
  bool resized = false;      // the window's size has changed
  bool interrupted = false;  // the interrupt flag was raised, and is lowered now
  bool closed = false;       // there will be no more input
};
// Waits for one of these, or for `timeout_ms` (-1: forever; then all are empty).
TerminalInput wait_for_input(int timeout_ms);

enum class TerminalMode : uint8_t {
  editing,    // every key comes at once, Ctrl-C too; nothing is echoed
  answering,  // keys wait unseen for the next prompt, but Ctrl-C interrupts
};

// Puts the terminal at standard input into a mode, and back into the one it found. Does nothing where there is no
// terminal. Guards may be nested.
class TerminalGuard {
 public:
  explicit TerminalGuard(TerminalMode mode);
  ~TerminalGuard();
  TerminalGuard(const TerminalGuard&) = delete;
  TerminalGuard& operator=(const TerminalGuard&) = delete;

 private:
  int previous_;
};

}  // namespace lapidary
