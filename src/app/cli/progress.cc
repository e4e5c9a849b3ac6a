#include "cli/progress.h"

#include <fmt/format.h>

#include "base/system.h"
#include "base/terminal.h"
#include "cli/screen_text.h"

namespace lapidary {
namespace {

constexpr int64_t tokens_worth_showing = 48;

}  // namespace

ProgressLine::ProgressLine(Console& console, bool wanted)
    : console_(console), on_(wanted && console.error_is_terminal() && environment("TERM").value_or("dumb") != "dumb") {}

void ProgressLine::show(std::string_view what) {
  if (!on_) return;
  std::string line = safe_text(what);
  // A line that wraps could not be taken back.
  while (text_columns(line) >= terminal_size().columns && !line.empty()) line.erase(previous_border(line, line.size()));
  console_.print_error(fmt::format("\r\x1b[K{}{}{}", console_.error_style().dim, line, console_.error_style().off));
  shown_ = true;
}

void ProgressLine::show(std::string_view what, int64_t done, int64_t total) {
  if (total < tokens_worth_showing) return;
  if (done >= total) return clear();
  show(fmt::format("{} {} % ({} of {} tokens)", what, 100 * done / total, done, total));
}

void ProgressLine::clear() {
  if (shown_) console_.print_error("\r\x1b[K");
  shown_ = false;
}

}  // namespace lapidary
