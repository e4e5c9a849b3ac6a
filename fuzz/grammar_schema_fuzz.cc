// JSON Schema -> grammar: refused with a reason, or masks that agree with single tokens, and texts that are JSON.
#include "grammar_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text = fuzz::text_of(data, size);
  const auto grammar = Grammar::from_schema(text, "schema");
  if (!grammar) {
    fuzz::require(!grammar.error().message.empty());
    return 0;
  }
  bool ended = false;
  const std::string written = fuzz::walk_grammar(*grammar, size, 12, ended);
  if (!ended) return 0;
  fuzz::require(parse_json(written, "text").has_value());
  Matcher again(*grammar, fuzz::small_tokens());
  fuzz::require(again.accept_text(written) && again.may_stop());
  return 0;
}
