// Conversation -> prompt, by the rules of the model's chat format, written natively: no template language is run.
//
// Gemma 4: gemma4.md section 6, the canonical template of 2026-07-09. Gemma 3: <start_of_turn> turns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

// A prompt is a sequence of special tokens, plain text, ids and media. Text that anybody wrote can only ever become
// plain text: special tokens are items of their own, so there is nothing to escape.
struct PromptItem {
  enum class Kind : uint8_t { special, text, media, ids } kind = Kind::text;
  std::string text;                    // special: the token's name; text: the text; media: the placeholder's name
  MediaKind media = MediaKind::image;  // media only
  std::string path;                    // media only
  std::shared_ptr<const std::string> bytes = {};  // media only: the content, if it is in memory
  std::vector<int32_t> ids = {};                  // ids only: tokens as they are, such as those of an earlier reply
};
using Prompt = std::vector<PromptItem>;

enum class ChatFormat : uint8_t { none, gemma3, gemma4 };

// By the special tokens that the vocabulary has: <|turn> and <turn|>, or <start_of_turn> and <end_of_turn>.
ChatFormat chat_format(const Tokenizer& tokenizer);

Result<Prompt> render(const Conversation& conversation, ChatFormat format);

// The prompt as text, special tokens and placeholders by name.
std::string prompt_text(const Prompt& prompt);

// The prompt as ids, every medium as its one placeholder token. Neighbouring texts are tokenised as one.
// An error if the vocabulary lacks a special token.
Result<std::vector<int32_t>> prompt_ids(const Prompt& prompt, const Tokenizer& tokenizer);

// The text of `logits --text`: special tokens parsed wherever they stand.
Prompt prompt_from_text(std::string_view text, const Tokenizer& tokenizer);

}  // namespace lapidary
