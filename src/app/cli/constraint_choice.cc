#include "cli/constraint_choice.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/mapped_file.h"
#include "grammar/constraint.h"

namespace lapidary {
namespace {

constexpr uint64_t file_bytes_max = 16 << 20;

Result<std::shared_ptr<const Grammar>> chosen_grammar(const ConstraintChoice& choice) {
  if (!choice.regex.empty()) return Grammar::from_regex(choice.regex, "--regex");
  const bool schema = !choice.schema_file.empty();
  const std::string& file = schema ? choice.schema_file : choice.grammar_file;
  if (file.empty()) return std::shared_ptr<const Grammar>();
  LAPIDARY_TRY(const std::string text, read_file(file, file_bytes_max));
  return schema ? Grammar::from_schema(text, file) : Grammar::from_gbnf(text, file);
}

Result<std::shared_ptr<const Grammar>> tool_grammar(const std::string& choice, const Conversation& conversation) {
  std::vector<ToolDeclaration> tools;
  for (const OrderedJson& tool : conversation.tools) {
    const OrderedJson& function = tool.contains("function") ? tool["function"] : tool;
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) continue;
    const auto parameters = function.find("parameters");
    // A function without parameters takes none.
    const std::string schema = parameters == function.end() || parameters->is_null()
                                   ? R"({"type": "object", "additionalProperties": false})"
                                   : dump(*parameters);
    tools.push_back({function["name"].get<std::string>(), schema});
  }
  ToolOptions options;
  if (choice == "none") {
    options.choice = ToolChoice::none;
  } else if (choice != "auto") {
    options.choice = ToolChoice::required;
    if (choice != "required") options.only = choice;
  }
  return Grammar::from_tools(tools, options);
}

}  // namespace

Result<void> set_constraint(const ConstraintChoice& choice, const Conversation& conversation,
                            const Tokenizer& tokenizer, TurnOptions& turn, Console& console) {
  LAPIDARY_TRY(turn.constraint, chosen_grammar(choice));
  const bool calls = !turn.constraint && !turn.raw && chat_format(tokenizer) == ChatFormat::gemma4;
  if (calls && !conversation.tools.empty()) {
    auto grammar = tool_grammar(choice.tool_choice, conversation);
    if (grammar) {
      turn.constraint = std::move(*grammar);
    } else if (choice.tool_choice != "auto" || grammar.error().kind == ErrorKind::wrong_use) {
      return std::unexpected(std::move(grammar).error());
    } else {
      console.warn(fmt::format("calls are not held to their schemas: {}", grammar.error().text()));
    }
  }
  if (!turn.constraint) return {};
  turn.constraint_tokens = TokenTable::create(tokenizer);
  turn.thought_first = conversation.think;
  return {};
}

}  // namespace lapidary
