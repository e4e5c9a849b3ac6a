// Text -> ids -> text: the same text again, if it is UTF-8 and holds no U+2581 (which is how spaces are written).
#include "base/utf8.h"
#include "small_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const Tokenizer& tokenizer = fuzz::small_tokenizer();
  const std::string_view text = fuzz::text_of(data, size);
  const bool returns = utf8_repair(text) == text && text.find("\xE2\x96\x81") == std::string_view::npos;
  for (const SpecialParsing special : {SpecialParsing::off, SpecialParsing::on}) {
    const auto ids = tokenizer.encode(text, special);
    for (const int32_t id : ids) fuzz::require(special == SpecialParsing::on || !tokenizer.is_special(id));
    const std::string decoded = tokenizer.decode(ids, SpecialParsing::on);
    fuzz::require(utf8_repair(decoded) == decoded);
    fuzz::require(!returns || decoded == text);
    StreamingDecoder decoder(tokenizer);
    std::string streamed;
    for (const int32_t id : ids) streamed += decoder.push(id);
    streamed += decoder.finish();
    fuzz::require(!returns || streamed == tokenizer.decode(ids, SpecialParsing::off));
  }
  std::string joined;
  for (const TextFragment& fragment : tokenizer.split_at_specials(text)) joined += fragment.text;
  fuzz::require(joined == text);
  return 0;
}
