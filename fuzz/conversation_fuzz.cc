// CHAT.json -> conversation -> prompt: whatever is written in it, the ids say exactly what the prompt's text says, and
// a special token is only ever an item of its own.
#include "chat/conversation.h"
#include "chat/render.h"
#include "small_vocabulary.h"

namespace lapidary {
namespace {

void render_and_check(const Conversation& conversation, ChatFormat format) {
  const auto prompt = render(conversation, format);
  if (!prompt) return;
  const Tokenizer& tokenizer = fuzz::small_tokenizer();
  const auto ids = prompt_ids(*prompt, tokenizer);
  fuzz::require(ids.has_value());
  int64_t items = 0, tokens = 0;
  for (const PromptItem& item : *prompt) items += item.kind != PromptItem::Kind::text;
  for (const int32_t id : *ids) tokens += tokenizer.is_special(id);
  fuzz::require(items == tokens);
  const std::string text = prompt_text(*prompt);
  if (text.find("\xE2\x96\x81") == std::string::npos) fuzz::require(tokenizer.decode(*ids, SpecialParsing::on) == text);
}

}  // namespace
}  // namespace lapidary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto tools = parse_tools(text, "tools.json"); !tools) fuzz::require(!tools.error().message.empty());
  const auto conversation = parse_conversation(text, "chat.json");
  if (!conversation) return 0;
  render_and_check(*conversation, ChatFormat::gemma4);
  render_and_check(*conversation, ChatFormat::gemma3);
  return 0;
}
