// GBNF -> grammars.
#include "grammar_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const auto grammar = Grammar::from_gbnf(fuzz::text_of(data, size), "grammar");
  if (grammar)
    fuzz::walk_and_check(*grammar, size);
  else
    fuzz::require(!grammar.error().message.empty());
  return 0;
}
