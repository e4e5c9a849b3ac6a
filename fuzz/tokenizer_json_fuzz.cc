// tokenizer.json: any bytes give a tokenizer or an error, and a tokenizer that loads also works.
#include "small_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text = fuzz::text_of(data, size);
  const auto tokenizer = Tokenizer::from_json(text, "tokenizer.json");
  if (!tokenizer) {
    fuzz::require(!tokenizer.error().message.empty());
    return 0;
  }
  for (const SpecialParsing special : {SpecialParsing::off, SpecialParsing::on}) {
    const auto ids = tokenizer->encode("<bos> The cab\n\n  abc \xFF日本", special);
    for (const int32_t id : ids) fuzz::require(id >= 0 && id < tokenizer->size());
    tokenizer->decode(ids, special);
  }
  return 0;
}
