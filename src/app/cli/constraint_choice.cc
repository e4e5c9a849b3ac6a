#include "cli/constraint_choice.h"

#include <fmt/format.h>

#include "base/mapped_file.h"
#include "chat/reply_form.h"

namespace lapidary {
namespace {

constexpr uint64_t file_bytes_max = 16 << 20;

// A schema, a grammar or an expression, if one was named.
Result<void> read_text_form(const ConstraintChoice& choice, ReplyForm& form) {
  if (!choice.regex.empty()) {
    form.kind = ReplyForm::Kind::regex;
    form.text = choice.regex;
    form.where = "--regex";
    return {};
  }
  const bool schema = !choice.schema_file.empty();
  form.where = schema ? choice.schema_file : choice.grammar_file;
  if (form.where.empty()) return {};
  form.kind = schema ? ReplyForm::Kind::schema : ReplyForm::Kind::gbnf;
  LAPIDARY_TRY(form.text, read_file(form.where, file_bytes_max));
  return {};
}

void read_tool_choice(const std::string& choice, ReplyForm& form) {
  if (choice == "auto") return;
  form.tool_choice = choice == "none" ? ToolChoice::none : ToolChoice::required;
  if (choice != "none" && choice != "required") form.callable.push_back(choice);
}

}  // namespace

Result<void> set_constraint(const ConstraintChoice& choice, const Conversation& conversation,
                            const Tokenizer& tokenizer, TurnOptions& turn, Console& console) {
  ReplyForm form;
  LAPIDARY_CHECK(read_text_form(choice, form));
  const bool calls = form.kind == ReplyForm::Kind::any && !turn.raw && chat_format(tokenizer) == ChatFormat::gemma4;
  if (calls) read_tool_choice(choice.tool_choice, form);
  LAPIDARY_TRY(ReplyGrammar made, compile_form(form, calls ? conversation.tools : std::vector<OrderedJson>{}));
  for (const std::string& warning : made.warnings)
    console.warn(fmt::format("calls are not held to a schema: {}", warning));
  turn.constraint = std::move(made.grammar);
  if (!turn.constraint) return {};
  turn.constraint_tokens = TokenTable::create(tokenizer);
  turn.thought_first = conversation.think;
  return {};
}

}  // namespace lapidary
