// A reply, token by token. The first byte says how it comes: bit 0, inside a thought; bit 1, the other bytes are ids
// rather than text with special tokens by name.
#include "base/utf8.h"
#include "chat/reply_parser.h"
#include "small_vocabulary.h"

namespace lapidary {
namespace {

void check(const std::vector<ReplyEvent>& events) {
  for (const ReplyEvent& event : events) {
    if (const auto* text = std::get_if<TextDelta>(&event))
      fuzz::require(!text->text.empty() && utf8_repair(text->text) == text->text);
    if (const auto* thinking = std::get_if<ThinkingDelta>(&event))
      fuzz::require(!thinking->text.empty() && utf8_repair(thinking->text) == thinking->text);
    if (const auto* call = std::get_if<ToolCallEvent>(&event))
      fuzz::require(!call->call.name.empty() && call->call.arguments.is_object());
    if (const auto* bad = std::get_if<BadToolCall>(&event)) fuzz::require(!bad->reason.empty());
  }
}

}  // namespace
}  // namespace lapidary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  if (size == 0) return 0;
  const Tokenizer& tokenizer = fuzz::small_tokenizer();
  std::vector<int32_t> ids;
  if ((data[0] & 2) != 0) {
    for (size_t i = 1; i < size; ++i) ids.push_back(data[i] < 200 ? data[i] : tokenizer.size() - (data[i] - 200));
  } else {
    ids = tokenizer.encode(fuzz::text_of(data + 1, size - 1), SpecialParsing::on);
  }
  ReplyParser parser(tokenizer, ChatFormat::gemma4, (data[0] & 1) != 0);
  for (const int32_t id : ids) check(parser.push(id));
  check(parser.finish());
  fuzz::require(!parser.thinking());
  (void)ReplyParser::parse_call(ids, tokenizer);
  return 0;
}
