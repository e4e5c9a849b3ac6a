// Gemma 4's chat format: the rules of the canonical template of 2026-07-09 (gemma4.md 6.2).
#include <fmt/format.h>

#include "chat/prompt_writer.h"
#include "chat/python_text.h"
#include "chat/render_formats.h"
#include "chat/tool_text.h"

namespace lapidary {
namespace {

std::string_view placeholder(MediaKind kind) {
  switch (kind) {
    case MediaKind::image:
      return "<|image|>";
    case MediaKind::audio:
      return "<|audio|>";
    default:
      return "<|video|>";
  }
}

// What is left of a reply's text without the thoughts in it, from <|channel> to <channel|> or to the end.
std::string without_thoughts(std::string_view text) {
  constexpr std::string_view open = "<|channel>", close = "<channel|>";
  std::string kept;
  while (true) {
    const size_t end = text.find(close);
    const std::string_view part = text.substr(0, end);
    kept += part.substr(0, part.find(open));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + close.size());
  }
  return std::string(python_strip(kept));
}

bool is_system(const Message& message) { return message.role == "system" || message.role == "developer"; }
bool is_model(const Message& message) { return message.role == "assistant" || message.role == "model"; }

class Renderer {
 public:
  explicit Renderer(const Conversation& conversation) : conversation_(conversation), messages_(conversation.messages) {}
  Result<Prompt> run();

 private:
  enum class Open : uint8_t { none, call, response };  // what the model's turn waits for, after the latest message

  Result<void> first_turn();
  Result<void> system_text(const Message& message);
  Result<void> message(size_t index);
  bool tool_responses(size_t index);
  void tool_message(std::string_view name, size_t index);
  Result<bool> content(size_t index);
  const Message* next_message(size_t index) const;
  void end_turn();

  const Conversation& conversation_;
  const std::vector<Message>& messages_;
  PromptWriter out_;
  Open open_ = Open::none;
  size_t last_user_ = 0;
  bool has_user_ = false;
  std::string_view previous_role_;
};

std::string place_of(size_t index) { return fmt::format("messages[{}]", index); }

void Renderer::end_turn() {
  out_.special("<turn|>");
  out_.text("\n");
}

// The system turn: thinking switch, instructions, tools. Written if there is any of them.
Result<void> Renderer::first_turn() {
  const bool has_system = !messages_.empty() && is_system(messages_[0]);
  if (!has_system && !conversation_.think && conversation_.tools.empty()) return {};
  out_.special("<|turn>");
  out_.text("system\n");
  if (conversation_.think) {
    out_.special("<|think|>");
    out_.text("\n");
  }
  if (has_system) LAPIDARY_CHECK(system_text(messages_[0]));
  for (size_t i = 0; i < conversation_.tools.size(); ++i)
    LAPIDARY_CHECK(write_declaration(out_, conversation_.tools[i], fmt::format("tools[{}]", i)));
  end_turn();
  return {};
}

Result<void> Renderer::system_text(const Message& message) {
  if (const auto* text = std::get_if<std::string>(&message.content)) out_.text(python_strip(*text));
  const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content);
  if (parts == nullptr) return {};
  for (size_t i = 0; i < parts->size(); ++i) {
    const auto* text = std::get_if<TextPart>(&(*parts)[i]);
    if (text == nullptr)  // the official template drops it without a word
      return fail(ErrorKind::unsupported, fmt::format("messages[0].content[{}]", i),
                  "the first system message can hold only text");
    out_.text(python_strip(text->text));
    out_.text(" ");
  }
  return {};
}

const Message* Renderer::next_message(size_t index) const {
  for (size_t i = index + 1; i < messages_.size(); ++i)
    if (messages_[i].role != "tool") return &messages_[i];
  return nullptr;
}

Result<void> Renderer::message(size_t index) {
  const Message& message = messages_[index];
  const bool model = is_model(message);
  open_ = Open::none;
  if (!model || previous_role_ != "assistant") {
    out_.special("<|turn>");
    out_.text(model ? "model" : message.role);
    out_.text("\n");
  }
  const bool after_last_user = !has_user_ || index > last_user_;
  if (!message.reasoning.empty() &&
      (after_last_user || (conversation_.preserve_thinking && !message.tool_calls.empty()))) {
    out_.special("<|channel>");
    out_.text("thought\n" + message.reasoning + "\n");
    out_.special("<channel|>");
  }
  for (size_t i = 0; i < message.tool_calls.size(); ++i) {
    LAPIDARY_CHECK(write_call(out_, message.tool_calls[i], fmt::format("{}.tool_calls[{}]", place_of(index), i)));
    open_ = Open::call;
  }
  const bool answered = tool_responses(index);
  if (answered) open_ = Open::response;
  LAPIDARY_TRY(const bool has_text, content(index));
  const Message* next = next_message(index);
  if (open_ == Open::call) {
    out_.special("<|tool_response>");
  } else if (model && next != nullptr && next->role == "assistant") {
    // the next message continues this turn
  } else if (!answered || has_text || next != nullptr) {
    end_turn();
  }
  previous_role_ = message.role;
  return {};
}

// The responses to the message's calls: its own, or the tool messages that follow. False if there are none.
bool Renderer::tool_responses(size_t index) {
  const Message& message = messages_[index];
  for (const ToolResponse& response : message.tool_responses)
    write_response(out_, response.name.empty() ? "unknown" : response.name, response.response);
  if (!message.tool_responses.empty()) return true;
  if (message.tool_calls.empty()) return false;
  size_t i = index + 1;
  for (; i < messages_.size() && messages_[i].role == "tool"; ++i) {
    std::string name = messages_[i].name.empty() ? "unknown" : messages_[i].name;
    for (const ToolCall& call : message.tool_calls)
      if (call.id == messages_[i].tool_call_id) name = call.name;
    tool_message(name, i);
  }
  return i > index + 1;
}

void Renderer::tool_message(std::string_view name, size_t index) {
  const auto& body = messages_[index].content;
  const auto* parts = std::get_if<std::vector<ContentPart>>(&body);
  if (parts == nullptr) {
    const auto* text = std::get_if<std::string>(&body);
    const auto* value = std::get_if<OrderedJson>(&body);
    write_response(out_, name, text != nullptr ? OrderedJson(*text) : value != nullptr ? *value : OrderedJson());
    return;
  }
  std::string joined;
  for (const ContentPart& part : *parts)
    if (const auto* text = std::get_if<TextPart>(&part)) joined += text->text;
  write_response(out_, name, OrderedJson(joined));
  for (const ContentPart& part : *parts)
    if (const auto* media = std::get_if<MediaPart>(&part)) out_.media(placeholder(media->kind), *media);
}

// Text and media of a message. False if there was nothing but space.
Result<bool> Renderer::content(size_t index) {
  const Message& message = messages_[index];
  bool any = false;
  const auto write_text = [&](std::string_view text) {
    const std::string trimmed = is_model(message) ? without_thoughts(text) : std::string(python_strip(text));
    out_.text(trimmed);
    any = any || !trimmed.empty();
  };
  if (std::holds_alternative<OrderedJson>(message.content))
    return malformed(place_of(index) + ".content", "a text or a list of parts", "another value");
  if (const auto* text = std::get_if<std::string>(&message.content)) write_text(*text);
  if (const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content))
    for (const ContentPart& part : *parts) {
      if (const auto* text = std::get_if<TextPart>(&part)) {
        write_text(text->text);
      } else {
        const auto& media = std::get<MediaPart>(part);
        out_.media(placeholder(media.kind), media);
        any = true;
      }
    }
  return any;
}

Result<Prompt> Renderer::run() {
  out_.special("<bos>");
  LAPIDARY_CHECK(first_turn());
  const size_t first = !messages_.empty() && is_system(messages_[0]) ? 1 : 0;
  for (size_t i = first; i < messages_.size(); ++i)
    if (messages_[i].role == "user") {
      last_user_ = i;
      has_user_ = true;
    }
  for (size_t i = first; i < messages_.size(); ++i)
    if (messages_[i].role != "tool") LAPIDARY_CHECK(message(i));
  if (!conversation_.generation_prompt) return out_.take();
  if (open_ == Open::none) {
    out_.special("<|turn>");
    out_.text("model\n");
  }
  const bool empty_thought = open_ == Open::none && !conversation_.think;
  if (empty_thought || (open_ == Open::response && conversation_.think)) {
    out_.special("<|channel>");
    out_.text("thought\n");
  }
  if (empty_thought) out_.special("<channel|>");
  return out_.take();
}

}  // namespace

Result<Prompt> render_gemma4(const Conversation& conversation) { return Renderer(conversation).run(); }

}  // namespace lapidary
