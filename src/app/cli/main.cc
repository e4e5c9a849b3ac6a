// lapidary: what was asked for, done, and its exit status.
#include <filesystem>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/options.h"

namespace lapidary {
namespace {

ExitStatus perform(const Command& command, Console& console) {
  struct Perform {
    Console& console;
    ExitStatus operator()(const RunOptions& options) { return run_command(options, console); }
    ExitStatus operator()(const ShowOptions& options) { return show_command(options, console); }
    ExitStatus operator()(const TokenizeOptions& options) { return tokenize_command(options, console); }
    ExitStatus operator()(const RenderOptions& options) { return render_command(options, console); }
    ExitStatus operator()(const LogitsOptions& options) { return logits_command(options, console); }
    ExitStatus operator()(const PerplexityOptions& options) { return perplexity_command(options, console); }
    ExitStatus operator()(const ServeOptions& options) { return serve_command(options, console); }
    ExitStatus operator()(const BenchOptions& options) { return bench_command(options, console); }
    ExitStatus operator()(const DoctorOptions& options) { return doctor_command(options, console); }
    ExitStatus operator()(const TextToPrint& print) {
      console.print(print.text);
      return ExitStatus::done;
    }
  };
  return std::visit(Perform{console}, command);
}

bool file_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  using namespace lapidary;
  take_over_signals();
  Console console;
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const auto command = parse_command_line(words, file_exists);
  const ExitStatus status = command ? perform(*command, console) : console.fail(command.error());
  return static_cast<int>(console.finish(status));
}
