#include "service/prompt_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>

#include "base/sha256.h"

namespace lapidary {
namespace {

// Tokens that a reply should still have room for after the oldest turns were dropped.
int64_t reply_room(const GenerateRequest& request, int64_t context) {
  const int64_t wanted = request.options.tokens_max > 0 ? request.options.tokens_max : 256;
  return std::min(wanted, context / 4);
}

// Drops the oldest turn: from the first message that is no system text to the next user's. False if that would be the
// last one.
bool drop_oldest(Conversation& conversation, int64_t& dropped) {
  auto& messages = conversation.messages;
  const auto is_system = [](const Message& message) { return message.role == "system" || message.role == "developer"; };
  const auto first = std::ranges::find_if_not(messages, is_system);
  if (first == messages.end()) return false;
  const auto next =
      std::find_if(first + 1, messages.end(), [](const Message& message) { return message.role == "user"; });
  if (next == messages.end()) return false;
  dropped += next - first;
  messages.erase(first, next);
  return true;
}

Result<void> check_media(const Prompt& prompt) {
  for (const PromptItem& item : prompt)
    if (item.kind == PromptItem::Kind::media && item.bytes == nullptr)
      return fail(ErrorKind::refused, item.path.substr(0, 200),
                  "a picture or sound must come with its content; files of this machine are not read");
  return {};
}

Result<void> check_ids(const std::vector<int32_t>& ids, const LoadedModel& model) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= model.config().vocabulary)
      return fail(ErrorKind::wrong_use, fmt::format("prompt[{}]", i),
                  fmt::format("expected a token id below {}, found {}", model.config().vocabulary, ids[i]));
  return {};
}

// The prompt of a request; `conversation`: its own, or what was left of it.
Result<Prompt> rendered(const GenerateRequest& request, const Conversation& conversation, ChatFormat format,
                        const LoadedModel& model) {
  if (request.prompt.empty() || format != ChatFormat::none)
    return turn_prompt(conversation, request.text, format, model.tokenizer());
  for (const PromptItem& item : request.prompt) LAPIDARY_CHECK(check_ids(item.ids, model));
  Prompt prompt;
  if (request.prompt.front().kind != PromptItem::Kind::ids && model.tokenizer().find("<bos>") >= 0)
    prompt.push_back({PromptItem::Kind::special, "<bos>"});
  prompt.insert(prompt.end(), request.prompt.begin(), request.prompt.end());
  return prompt;
}

// Of what is embedded, so that it does not matter how a picture was stored.
uint64_t content_hash(const DecodedMedium& medium) {
  Sha256 hash;
  hash.add_value(medium.event.kind);
  hash.add_value(medium.patches.grid.columns);
  hash.add_value(medium.patches.grid.rows);
  hash.add_values(std::span<const uint8_t>(medium.patches.values));
  hash.add_values(std::span<const float>(medium.sound.samples));
  return hash.finish_64() | 1;
}

}  // namespace

Result<ReadPrompt> read_prompt(const GenerateRequest& request, const LoadedModel& model, int64_t context) {
  const Tokenizer& tokenizer = model.tokenizer();
  ReadPrompt read;
  if (!request.ids.empty()) {
    LAPIDARY_CHECK(check_ids(request.ids, model));
    read.decoded.ids = request.ids;
    read.format = request.options.raw ? ChatFormat::none : chat_format(tokenizer);
  } else {
    LAPIDARY_TRY(read.format, turn_format(request.options, tokenizer, model.path()));
  }

  // A medium is decoded once, however often the prompt is cut anew.
  std::map<const std::string*, std::shared_ptr<const DecodedMedium>> decoded;
  const auto decode = [&](const PromptItem& item) -> Result<std::shared_ptr<const DecodedMedium>> {
    auto& known = decoded[item.bytes.get()];
    if (known == nullptr) {
      LAPIDARY_TRY(DecodedMedium medium, decode_medium(item, "", model.config(), request.options.image_tokens));
      known = std::make_shared<const DecodedMedium>(std::move(medium));
    }
    return known;
  };
  Conversation conversation = request.conversation;
  while (request.ids.empty()) {
    LAPIDARY_TRY(const Prompt prompt, rendered(request, conversation, read.format, model));
    LAPIDARY_CHECK(check_media(prompt));
    LAPIDARY_TRY(read.decoded, decode_prompt(prompt, tokenizer, decode));
    read.inside_thought = ends_in_thought(prompt);
    if (context <= 0 || !request.drop_oldest_turns || read.format == ChatFormat::none) break;
    if (read.tokens() + reply_room(request, context) <= context) break;
    if (!drop_oldest(conversation, read.dropped_messages)) break;
  }
  if (read.tokens() == 0) return fail(ErrorKind::wrong_use, "prompt", "it is empty");
  if (context > 0 && read.tokens() > context)
    return fail(ErrorKind::limit, "prompt",
                fmt::format("it is {} tokens long, but the context holds {}", read.tokens(), context));
  for (const DecodedPrompt::Medium& medium : read.decoded.media)
    read.media_hashes.push_back(content_hash(*medium.decoded));
  return read;
}

Result<std::string> read_prompt_text(const GenerateRequest& request, const LoadedModel& model) {
  const Tokenizer& tokenizer = model.tokenizer();
  if (!request.ids.empty()) {
    LAPIDARY_CHECK(check_ids(request.ids, model));
    return tokenizer.decode(request.ids, SpecialParsing::on);
  }
  LAPIDARY_TRY(const ChatFormat format, turn_format(request.options, tokenizer, model.path()));
  LAPIDARY_TRY(const Prompt prompt, rendered(request, request.conversation, format, model));
  std::string text;
  for (const PromptItem& item : prompt)
    text += item.kind == PromptItem::Kind::ids ? tokenizer.decode(item.ids, SpecialParsing::on) : item.text;
  return text;
}

}  // namespace lapidary
