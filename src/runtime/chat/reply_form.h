// What a request asks of the form of a reply, and the grammar that makes the reply have it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/constraint.h"

namespace lapidary {

struct ReplyForm {
  enum class Kind : uint8_t { any, schema, regex, gbnf };
  Kind kind = Kind::any;  // of the text
  std::string text;       // the schema, expression or grammar
  std::string where;      // who asks for it: the field of a request, an option, a file; for errors

  // Calls of the conversation's tools, if it has any. Without `required` a reply is text of the kind above, or calls.
  ToolChoice tool_choice = ToolChoice::automatic;
  std::vector<std::string> callable;  // the only tools that may be called; empty: all
  bool parallel_calls = true;         // several calls, one behind the other
  bool strict_calls = false;          // a tool whose schema cannot be enforced is an error, …
  std::vector<std::string> strict;    // … or only if it is one of these
};

struct ReplyGrammar {
  std::shared_ptr<const Grammar> grammar;  // null: nothing is asked for
  // Tools that are held to their name and the syntax of calls, but not to their schema, and why. Only under
  // ToolChoice::automatic, and never those that have to be strict.
  std::vector<std::string> warnings;
};

// `tools` as in Conversation. Errors: ErrorKind::wrong_use (a tool that is not declared, a call that nobody can make),
// refused (no schema), unsupported (what cannot be enforced, and what takes more than the budgets).
Result<ReplyGrammar> compile_form(const ReplyForm& form, const std::vector<OrderedJson>& tools);

// The same schema, whose objects have no other properties than those that it lists, where it says nothing of others: a
// model that may add any name sooner or later does. Whatever satisfies the result satisfies `schema`. Calls of tools
// are held to this.
OrderedJson closed_schema(const OrderedJson& schema);

// Everything that the result depends on, as one text: equal if and only if the same is asked for.
std::string form_key(const ReplyForm& form, const std::vector<OrderedJson>& tools);

}  // namespace lapidary
