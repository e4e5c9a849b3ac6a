#include "cli/console.h"

#include <fmt/format.h>

#include "base/system.h"
#include "cli/screen_text.h"

namespace lapidary {
namespace {

constexpr Style colour{"\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[0m"};

bool colour_wanted() {
  const auto no_colour = environment("NO_COLOR");
  return (!no_colour || no_colour->empty()) && environment("TERM").value_or("dumb") != "dumb";
}

}  // namespace

Console::Console()
    : Console(Setup{is_terminal(Stream::output), is_terminal(Stream::error), colour_wanted(), write_stream}) {}

Console::Console(Setup setup) : setup_(std::move(setup)) {
  if (!setup_.colour) return;
  if (setup_.output_is_terminal) output_style_ = colour;
  if (setup_.error_is_terminal) error_style_ = colour;
}

void Console::print(std::string_view bytes) {
  if (output_ended()) return;
  const WriteResult result = setup_.write(Stream::output, bytes);
  output_closed_ = result == WriteResult::closed;
  output_failed_ = result == WriteResult::failed;
}

void Console::print_safe(std::string_view text) {
  if (setup_.output_is_terminal)
    print(safe_text(text));
  else
    print(text);
}

void Console::print_error(std::string_view bytes) { setup_.write(Stream::error, bytes); }

void Console::complain(const Error& error) {
  print_error(fmt::format("{}lapidary:{} {}\n", error_style_.red, error_style_.off, safe_text(error.text())));
}

void Console::warn(std::string_view message) { print_error(fmt::format("lapidary: {}\n", safe_text(message))); }

void Console::remark(std::string_view message) {
  if (setup_.error_is_terminal)
    print_error(fmt::format("{}{}{}\n", error_style_.dim, safe_text(message), error_style_.off));
}

ExitStatus Console::finish(ExitStatus status) {
  if (!output_failed_ || status != ExitStatus::done) return status;
  return fail({ErrorKind::io, "standard output", "it cannot be written (is the disk full?)"});
}

ExitStatus Console::fail(const Error& error) {
  complain(error);
  return exit_status(error.kind);
}

std::string format_bytes(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.0f} kB", bytes / 1e3);
}

}  // namespace lapidary
