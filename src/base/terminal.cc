#include "base/terminal.h"

#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include <cerrno>
#include <cstring>

namespace lapidary {
namespace {

constexpr std::string_view paste_on = "\x1b[?2004h", paste_off = "\x1b[?2004l";

int descriptor(Stream stream) { return static_cast<int>(stream); }

// What signal handlers need: plain values and atomics only.
std::atomic<bool> interrupted{false};
std::atomic<bool> second_interrupt_exits{true};
std::atomic<bool> resized{false};
int wake_pipe[2] = {-1, -1};  // a handler writes, wait_for_input() wakes up

termios normal_mode;                // as the terminal was when the first guard came
std::atomic<int> current_mode{-1};  // a TerminalMode, or -1: normal

void wake() {
  const char byte = 0;
  if (wake_pipe[1] >= 0 && ::write(wake_pipe[1], &byte, 1) < 0) return;  // full: it wakes up anyway
}

termios attributes_of(int mode) {
  termios attributes = normal_mode;
  if (mode < 0) return attributes;
  attributes.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  attributes.c_iflag &= ~static_cast<tcflag_t>(IXON | ICRNL | INLCR | IGNCR | ISTRIP | BRKINT);
  attributes.c_cc[VMIN] = 1;
  attributes.c_cc[VTIME] = 0;
  if (mode == static_cast<int>(TerminalMode::editing)) attributes.c_lflag &= ~static_cast<tcflag_t>(ISIG);
  return attributes;
}

// Safe in a signal handler.
void apply_mode(int mode) {
  const termios attributes = attributes_of(mode);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &attributes);
  const std::string_view paste = mode == static_cast<int>(TerminalMode::editing) ? paste_on : paste_off;
  if (::write(STDOUT_FILENO, paste.data(), paste.size()) < 0) return;
}

void on_interrupt(int) {
  const int error = errno;
  if (interrupted.exchange(true) && second_interrupt_exits.load()) {
    if (current_mode.load() >= 0) apply_mode(-1);
    ::_exit(130);
  }
  wake();
  errno = error;
}

void on_resize(int) {
  const int error = errno;
  resized = true;
  wake();
  errno = error;
}

void on_continue(int) {
  const int error = errno;
  if (current_mode.load() >= 0) apply_mode(current_mode);
  resized = true;  // draws the line anew
  wake();
  errno = error;
}

void on_end(int signal) {
  if (current_mode.load() >= 0) apply_mode(-1);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action{};
  ::sigaction(signal, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;  // as nohup and background jobs want it
  action = {};
  action.sa_handler = handler;
  action.sa_flags = signal == SIGINT ? 0 : SA_RESTART;  // a read of standard input gives way to Ctrl-C
  ::sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

bool is_terminal(Stream stream) { return ::isatty(descriptor(stream)) == 1; }

TerminalSize terminal_size() {
  TerminalSize size;
  winsize window{};
  for (const int fd : {STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO}) {
    if (::ioctl(fd, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) continue;
    size.columns = window.ws_col;
    if (window.ws_row > 0) size.rows = window.ws_row;
    break;
  }
  return size;
}

int character_columns(char32_t character) {
  if (character < 0x20 || (character >= 0x7F && character < 0xA0)) return -1;
  if (character < 0x300) return 1;
  // The C library's own table, whatever the user's locale is.
  static const locale_t unicode = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (unicode == nullptr) return 1;
  const locale_t previous = ::uselocale(unicode);
  const int columns = ::wcwidth(static_cast<wchar_t>(character));
  ::uselocale(previous);
  return columns < 0 ? 1 : columns;
}

WriteResult write_stream(Stream stream, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor(stream), bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd ready{descriptor(stream), POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno == EPIPE || errno == EIO ? WriteResult::closed : WriteResult::failed;
    }
  }
  return WriteResult::written;
}

Result<std::string> read_standard_input(uint64_t bytes_max) {
  std::string text;
  char buffer[65536];
  while (true) {
    if (interrupted.load()) return fail(ErrorKind::cancelled, "standard input", "stopped");
    const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EBADF) return text;  // closed by whoever started the program
    if (count < 0) return fail(ErrorKind::io, "standard input", std::strerror(errno));
    if (text.size() + static_cast<size_t>(count) > bytes_max)
      return fail(ErrorKind::limit, "standard input", "more than " + std::to_string(bytes_max) + " bytes");
    text.append(buffer, static_cast<size_t>(count));
  }
}

void take_over_signals() {
  if (wake_pipe[0] < 0 && ::pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) wake_pipe[0] = wake_pipe[1] = -1;
  handle(SIGINT, on_interrupt);
  handle(SIGWINCH, on_resize);
  handle(SIGCONT, on_continue);
  handle(SIGTERM, on_end);
  handle(SIGHUP, on_end);
  ::signal(SIGPIPE, SIG_IGN);
}

void on_second_interrupt(SecondInterrupt what) { second_interrupt_exits = what == SecondInterrupt::exits; }

std::atomic<bool>& interrupt_flag() { return interrupted; }

void suspend_program() {
  const int mode = current_mode.load();
  if (mode >= 0) apply_mode(-1);
  ::raise(SIGTSTP);
  if (mode >= 0) apply_mode(mode);
}

TerminalInput wait_for_input(int timeout_ms) {
  TerminalInput input;
  pollfd sources[2] = {{STDIN_FILENO, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}};
  if (::poll(sources, wake_pipe[0] >= 0 ? 2 : 1, timeout_ms) < 0 && errno != EINTR) input.closed = true;
  if (sources[1].revents != 0) {
    char bytes[64];
    while (::read(wake_pipe[0], bytes, sizeof bytes) > 0) {
    }
  }
  input.resized = resized.exchange(false);
  input.interrupted = interrupted.exchange(false);
  if (sources[0].revents != 0) {
    char buffer[4096];
    const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count > 0)
      input.bytes.assign(buffer, static_cast<size_t>(count));
    else if (count == 0 || errno != EINTR)
      input.closed = true;
  }
  return input;
}

TerminalGuard::TerminalGuard(TerminalMode mode) : previous_(current_mode.load()) {
  if (!is_terminal(Stream::input)) return;
  if (previous_ < 0) ::tcgetattr(STDIN_FILENO, &normal_mode);
  current_mode = static_cast<int>(mode);
  apply_mode(static_cast<int>(mode));
}

TerminalGuard::~TerminalGuard() {
  if (current_mode.load() < 0) return;
  current_mode = previous_;
  apply_mode(previous_);
}

}  // namespace lapidary
