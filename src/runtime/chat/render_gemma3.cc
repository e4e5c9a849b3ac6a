// Gemma 3: <start_of_turn>ROLE, text, <end_of_turn>. There is no system turn: its text stands before the first user's.
#include <fmt/format.h>

#include "chat/prompt_writer.h"
#include "chat/python_text.h"
#include "chat/render_formats.h"

namespace lapidary {
namespace {

// The message's text, trimmed part by part.
Result<std::string> text_of(const Message& message, const std::string& where) {
  if (std::holds_alternative<std::monostate>(message.content)) return std::string();
  if (const auto* text = std::get_if<std::string>(&message.content)) return std::string(python_strip(*text));
  const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content);
  if (parts == nullptr)
    return fail(ErrorKind::unsupported, where + ".content", "this model's chat format knows only text");
  std::string text;
  for (size_t i = 0; i < parts->size(); ++i) {
    const auto* part = std::get_if<TextPart>(&(*parts)[i]);
    if (part == nullptr)
      return fail(ErrorKind::unsupported, fmt::format("{}.content[{}]", where, i), "this model takes only text");
    text += python_strip(part->text);
  }
  return text;
}

}  // namespace

Result<Prompt> render_gemma3(const Conversation& conversation) {
  if (!conversation.tools.empty())
    return fail(ErrorKind::unsupported, "tools", "this model's chat format has no tools");
  if (conversation.think) return fail(ErrorKind::unsupported, "think", "this model's chat format has no thinking");
  PromptWriter out;
  out.special("<bos>");
  std::string before_first_user;
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const Message& message = conversation.messages[i];
    const std::string where = fmt::format("messages[{}]", i);
    const bool is_system = message.role == "system" || message.role == "developer";
    const bool is_model = message.role == "assistant" || message.role == "model";
    if (message.role == "tool" || !message.tool_calls.empty() || !message.tool_responses.empty())
      return fail(ErrorKind::unsupported, where, "this model's chat format has no tools");
    if (is_system && i > 0)
      return fail(ErrorKind::unsupported, where,
                  "in this model's chat format only the first message can be a system message");
    LAPIDARY_TRY(const std::string text, text_of(message, where));
    if (is_system) {
      before_first_user = text + "\n\n";
      continue;
    }
    out.special("<start_of_turn>");
    out.text(is_model ? "model\n" : "user\n");
    if (!is_model) out.text(std::exchange(before_first_user, ""));
    out.text(text);
    out.special("<end_of_turn>");
    out.text("\n");
  }
  if (conversation.generation_prompt) {
    out.special("<start_of_turn>");
    out.text("model\n");
  }
  return out.take();
}

}  // namespace lapidary
