// What requests say about the form of a reply: schemas, grammars, and which tools it may or has to call. Each dialect
// has its words; here they become a ReplyForm. What none of them means is an error that names it.
#pragma once

#include <string>
#include <vector>

#include "chat/conversation.h"
#include "chat/reply_form.h"
#include "serve/api_error.h"
#include "serve/fields.h"

namespace lapidary {

// A JSON schema (an object), which stands at `where`, closed (closed_schema).
ApiResult<void> set_schema(const OrderedJson& schema, const std::string& where, ReplyForm& form);
// Any JSON value; any JSON object.
void set_json_value(const std::string& where, ReplyForm& form);
void set_json_object(const std::string& where, ReplyForm& form);

// OpenAI's format: {"type": "text" | "json_object" | "json_schema", …}, with the schema inside "json_schema" (chat) or
// beside the type (Responses). null: nothing is said.
ApiResult<void> read_openai_format(const OrderedJson* format, const std::string& where, ReplyForm& form);

// OpenAI's tool_choice: none, auto, required, a function, allowed_tools. After the tools themselves.
ApiResult<void> read_openai_tool_choice(const Fields& fields, Conversation& conversation, ReplyForm& form);

// Which of a request's tools are "strict"; `tools` has been read before, so it is sound.
void read_strict(const Fields& fields, ReplyForm& form);

// At least one call, of one of these tools (none: of any). Errors: no such tool; there are none.
ApiResult<void> require_calls(std::vector<std::string> names, const std::string& where,
                              const Conversation& conversation, ReplyForm& form);
// As many calls as there are, but only of these tools.
ApiResult<void> allow_calls(std::vector<std::string> names, const std::string& where, const Conversation& conversation,
                            ReplyForm& form);

// llama-server's "grammar" (GBNF) or "json_schema".
ApiResult<void> read_llama_form(const Fields& fields, ReplyForm& form);

// Other servers' ways to ask for a form: refused by name, since ignoring them would give any text.
ApiResult<void> refuse_foreign_forms(const Fields& fields);

// Gemini's schemas, a subset of OpenAPI's (types in capitals, nullable, counts as texts), as JSON Schema.
Result<OrderedJson> schema_from_gemini(const OrderedJson& schema, const std::string& where);

// One of these texts, bare.
void set_choice(const std::vector<std::string>& values, const std::string& where, ReplyForm& form);

}  // namespace lapidary
