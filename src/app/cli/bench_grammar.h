// How a file of schemas with instances fares: which compile, which judge every instance right, and what a mask costs.
#pragma once

#include <string>

#include "base/result.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

struct GrammarBenchOptions {
  std::string file;          // a line: {"name", "schema", "tests": [{"valid", "data"}]}
  std::string details_file;  // "" or where to write one line a schema: what became of it
  bool json = false;
};

// The report: with `json` {"schemas","compiled","fully_right","false_accepts","false_refusals","mask_us_mean",
// "mask_us_p99","compile_ms_p95"}, else the same for people.
//
// An instance is tokenised as it is written in the file, with a space behind every comma and colon (what Python's json
// module writes), and judged token by token: a mask before each one. Instances of schemas that do not compile count as
// neither accepted nor refused.
Result<std::string> bench_grammar(const Tokenizer& tokenizer, const GrammarBenchOptions& options);

}  // namespace lapidary
