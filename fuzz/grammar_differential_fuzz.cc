// JSON Schema -> grammar -> a text that the masks let through -> a plain validator, which shares nothing with the
// grammar, accepts it.
#include "grammar/plain_validator_for_test.h"
#include "grammar_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  // The first byte chooses the tokens; keys that come twice are gone once the schema is written anew.
  if (size == 0) return 0;
  JsonLimits limits;
  limits.depth_max = 60;
  const auto schema = parse_json(fuzz::text_of(data + 1, size - 1), "schema", limits);
  if (!schema) return 0;
  const auto grammar = Grammar::from_schema(dump(*schema), "schema");
  if (!grammar) return 0;
  for (uint64_t seed = data[0], walk = 0; walk < 4; ++walk) {
    bool ended = false;
    const std::string written = fuzz::walk_grammar(*grammar, seed + walk * 256, 30, ended, walk + 1);
    if (!ended) continue;
    const auto value = parse_json(with_long_numbers(written), "text");
    fuzz::require(value.has_value());
    if (const auto valid = PlainValidator(*schema).judge(*value)) fuzz::require(*valid);
  }
  return 0;
}
