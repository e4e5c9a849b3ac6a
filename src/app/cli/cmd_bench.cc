// bench: what things cost.
#include "cli/bench_grammar.h"
#include "cli/commands.h"
#include "cli/open_model.h"

namespace lapidary {
namespace {

Result<void> bench(const BenchOptions& options, Console& console) {
  LAPIDARY_TRY(const std::string path, model_path(options.model));
  LAPIDARY_TRY(const Tokenizer tokenizer, open_tokenizer(path));
  LAPIDARY_TRY(const std::string report,
               bench_grammar(tokenizer, {options.grammar_file, options.details_file, options.json}));
  console.print(report);
  return {};
}

}  // namespace

ExitStatus bench_command(const BenchOptions& options, Console& console) {
  const auto done = bench(options, console);
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
