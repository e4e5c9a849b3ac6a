#include "chat/render.h"

#include <fmt/format.h>

#include <optional>

#include "chat/prompt_writer.h"
#include "chat/render_formats.h"

namespace lapidary {
namespace {

bool has_special(const Tokenizer& tokenizer, std::string_view name) {
  return tokenizer.is_special(tokenizer.find(name));
}

std::optional<MediaKind> media_of(std::string_view name) {
  if (name == "<|image|>") return MediaKind::image;
  if (name == "<|audio|>") return MediaKind::audio;
  if (name == "<|video|>") return MediaKind::video;
  return std::nullopt;
}

}  // namespace

ChatFormat chat_format(const Tokenizer& tokenizer) {
  if (has_special(tokenizer, "<|turn>") && has_special(tokenizer, "<turn|>")) return ChatFormat::gemma4;
  if (has_special(tokenizer, "<start_of_turn>") && has_special(tokenizer, "<end_of_turn>")) return ChatFormat::gemma3;
  return ChatFormat::none;
}

Result<Prompt> render(const Conversation& conversation, ChatFormat format) {
  switch (format) {
    case ChatFormat::gemma3:
      return render_gemma3(conversation);
    case ChatFormat::gemma4:
      return render_gemma4(conversation);
    default:
      return fail(ErrorKind::unsupported, "",
                  "this model has no chat format (no turn tokens in its vocabulary); it can only continue text");
  }
}

std::string prompt_text(const Prompt& prompt) {
  std::string text;
  for (const PromptItem& item : prompt) text += item.text;
  return text;
}

Result<std::vector<int32_t>> prompt_ids(const Prompt& prompt, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  std::string text;
  for (const PromptItem& item : prompt) {
    if (item.kind == PromptItem::Kind::text) {
      text += item.text;
      continue;
    }
    tokenizer.encode(text, SpecialParsing::off, ids);
    text.clear();
    if (item.kind == PromptItem::Kind::ids) {
      ids.insert(ids.end(), item.ids.begin(), item.ids.end());
      continue;
    }
    const int32_t id = tokenizer.find(item.text);
    if (!tokenizer.is_special(id))
      return fail(ErrorKind::unsupported, "",
                  fmt::format("this model's vocabulary has no special token {}", item.text));
    ids.push_back(id);
  }
  tokenizer.encode(text, SpecialParsing::off, ids);
  return ids;
}

Prompt prompt_from_text(std::string_view text, const Tokenizer& tokenizer) {
  PromptWriter out;
  for (const TextFragment& fragment : tokenizer.split_at_specials(text)) {
    if (fragment.special < 0) {
      out.text(fragment.text);
    } else if (const auto media = media_of(fragment.text)) {
      out.media(fragment.text, MediaPart{*media, {}});
    } else {
      out.special(fragment.text);
    }
  }
  return out.take();
}

}  // namespace lapidary
