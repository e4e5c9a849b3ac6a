// tokenize: text to ids and back.
#include <fmt/format.h>

#include "base/json.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/id_list.h"
#include "cli/open_model.h"

namespace lapidary {
namespace {

constexpr uint64_t text_bytes_max = 1ULL << 30;

Result<void> tokenize(const TokenizeOptions& options, Console& console) {
  LAPIDARY_TRY(const std::string path, model_path(options.model));
  LAPIDARY_TRY(const Tokenizer tokenizer, open_tokenizer(path));
  LAPIDARY_TRY(const std::string text, read_standard_input(text_bytes_max));
  const SpecialParsing special = options.special ? SpecialParsing::on : SpecialParsing::off;
  if (!options.decode) {
    console.print(format_ids(tokenizer.encode(text, special)) + "\n");
    return {};
  }
  LAPIDARY_TRY(const std::vector<int32_t> ids, parse_ids(text, "standard input", tokenizer.size()));
  console.print_safe(tokenizer.decode(ids, special));
  if (console.output_is_terminal()) console.print("\n");
  return {};
}

}  // namespace

ExitStatus tokenize_command(const TokenizeOptions& options, Console& console) {
  const auto done = tokenize(options, console);
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
