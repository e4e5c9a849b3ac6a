// From what the user asks of a reply to a constraint.
#pragma once

#include "base/result.h"
#include "chat/conversation.h"
#include "chat/turn.h"
#include "cli/console.h"
#include "cli/options.h"

namespace lapidary {

// Sets turn.constraint and what belongs to it: a schema, grammar or expression, or else the conversation's tools, so
// that calls have the names, keys and types that were declared. Tools that cannot be enforced are an error if a call is
// required; else the reply is free, and the console says why.
Result<void> set_constraint(const ConstraintChoice& choice, const Conversation& conversation,
                            const Tokenizer& tokenizer, TurnOptions& turn, Console& console);

}  // namespace lapidary
