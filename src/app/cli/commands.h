// The verbs of the program.
#pragma once

#include "cli/console.h"
#include "cli/exit_status.h"
#include "cli/options.h"

namespace lapidary {

ExitStatus run_command(const RunOptions& options, Console& console);
ExitStatus show_command(const ShowOptions& options, Console& console);
ExitStatus tokenize_command(const TokenizeOptions& options, Console& console);
ExitStatus render_command(const RenderOptions& options, Console& console);
ExitStatus logits_command(const LogitsOptions& options, Console& console);
ExitStatus perplexity_command(const PerplexityOptions& options, Console& console);
ExitStatus serve_command(const ServeOptions& options, Console& console);
ExitStatus bench_command(const BenchOptions& options, Console& console);
ExitStatus doctor_command(const DoctorOptions& options, Console& console);

}  // namespace lapidary
