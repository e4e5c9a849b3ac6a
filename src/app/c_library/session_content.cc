#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "base/mapped_file.h"
#include "c_library/calls.h"
#include "c_library/session.h"

namespace lapidary {
namespace {

constexpr uint64_t medium_bytes_max = 256 << 20;

Result<Message*> open_message(SessionContent& content) {
  if (!content.turn_open) return wrong_use("session", "there is no open turn: begin one");
  return &content.conversation.messages.back();
}

// The message's parts, to be added to.
std::vector<ContentPart>& parts_of(Message& message) {
  if (const auto* text = std::get_if<std::string>(&message.content)) {
    std::vector<ContentPart> parts;
    parts.emplace_back(TextPart{*text});
    message.content = std::move(parts);
  } else if (!std::holds_alternative<std::vector<ContentPart>>(message.content)) {
    message.content = std::vector<ContentPart>();
  }
  return std::get<std::vector<ContentPart>>(message.content);
}

// One text is a text, as in a chat file; beside media it is a part.
void add_text(Message& message, std::string_view text) {
  if (auto* parts = std::get_if<std::vector<ContentPart>>(&message.content)) {
    auto* last = parts->empty() ? nullptr : std::get_if<TextPart>(&parts->back());
    if (last != nullptr)
      last->text += text;
    else
      parts->emplace_back(TextPart{std::string(text)});
  } else if (auto* before = std::get_if<std::string>(&message.content)) {
    *before += text;
  } else {
    message.content = std::string(text);
  }
}

// The content of every picture and sound that the messages name.
Result<void> read_media(Conversation& conversation, const char* folder) {
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    auto* parts = std::get_if<std::vector<ContentPart>>(&conversation.messages[i].content);
    if (parts == nullptr) continue;
    for (ContentPart& part : *parts) {
      auto* medium = std::get_if<MediaPart>(&part);
      if (medium == nullptr) continue;
      if (folder == nullptr)
        return fail(ErrorKind::refused, fmt::format("messages[{}]", i),
                    "it names a file, and no folder was given from which files may be read");
      const std::filesystem::path path(medium->path);
      LAPIDARY_TRY(
          std::string bytes,
          read_file((path.is_absolute() ? path : std::filesystem::path(folder) / path).string(), medium_bytes_max));
      medium->bytes = std::make_shared<const std::string>(std::move(bytes));
    }
  }
  return {};
}

}  // namespace

Result<void> begin_turn(SessionContent& content, const std::string& role) {
  constexpr std::array<std::string_view, 4> roles = {"system", "developer", "user", "assistant"};
  if (std::ranges::find(roles, role) == roles.end())
    return wrong_use("role",
                     fmt::format("expected system, developer, user or assistant, found \"{}\" (results of tools "
                                 "come by lapidary_session_append_json)",
                                 role.substr(0, 60)));
  if (content.kind == SessionContent::Kind::text) return wrong_use("session", "it is a text, not a conversation");
  Message message;
  message.role = role;
  content.conversation.messages.push_back(std::move(message));
  content.kind = SessionContent::Kind::conversation;
  content.turn_open = true;
  return {};
}

Result<void> append_text(SessionContent& content, std::string_view text) {
  if (content.kind == SessionContent::Kind::conversation) {
    LAPIDARY_TRY(Message* const message, open_message(content));
    add_text(*message, text);
    return {};
  }
  if (text.empty()) return {};
  PromptItem item;
  item.text = text;
  content.prompt.push_back(std::move(item));
  content.kind = SessionContent::Kind::text;
  return {};
}

Result<void> append_tokens(SessionContent& content, std::vector<int32_t> ids) {
  if (content.kind == SessionContent::Kind::conversation)
    return wrong_use("session", "it is a conversation, whose turns are no tokens");
  if (ids.empty()) return {};
  PromptItem item;
  item.kind = PromptItem::Kind::ids;
  item.ids = std::move(ids);
  content.prompt.push_back(std::move(item));
  content.kind = SessionContent::Kind::text;
  return {};
}

Result<void> append_medium(SessionContent& content, MediaPart medium) {
  if (content.kind == SessionContent::Kind::conversation) {
    LAPIDARY_TRY(Message* const message, open_message(content));
    parts_of(*message).emplace_back(std::move(medium));
    return {};
  }
  PromptItem item;
  item.kind = PromptItem::Kind::media;
  item.text = medium.kind == MediaKind::image ? "<|image|>" : "<|audio|>";
  item.media = medium.kind;
  item.path = std::move(medium.path);
  item.bytes = std::move(medium.bytes);
  content.prompt.push_back(std::move(item));
  content.kind = SessionContent::Kind::text;
  return {};
}

Result<void> append_json(SessionContent& content, std::string_view json, const char* folder) {
  if (content.kind == SessionContent::Kind::text) return wrong_use("session", "it is a text, not a conversation");
  LAPIDARY_TRY(Conversation more, parse_conversation(json, "conversation"));
  LAPIDARY_CHECK(read_media(more, folder));
  Conversation& all = content.conversation;
  all.messages.reserve(all.messages.size() + more.messages.size());
  std::ranges::move(more.messages, std::back_inserter(all.messages));
  if (!more.tools.empty()) all.tools = std::move(more.tools);
  all.think = all.think || more.think;
  all.preserve_thinking = all.preserve_thinking || more.preserve_thinking;
  content.kind = SessionContent::Kind::conversation;
  content.turn_open = false;
  return {};
}

}  // namespace lapidary
