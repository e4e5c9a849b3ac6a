// The handlers of the route table, and what they have in common.
#pragma once

#include <memory>

#include "serve/api_error.h"
#include "serve/context.h"
#include "serve/fields.h"
#include "serve/generation.h"
#include "serve/http_message.h"

namespace lapidary {

// Reads a request into a plan; then it runs, or the error goes back in the dialect's shape.
using Planner = ApiResult<GenerationPlan> (*)(Context& context, const HttpRequest& request);
void run_plan(Context& context, const std::shared_ptr<Exchange>& exchange, Planner planner);

// Answers with a value, or with its error in the dialect's shape.
void answer(const std::shared_ptr<Exchange>& exchange, ApiResult<OrderedJson> value);

HttpReply json_reply(const OrderedJson& value, int status = 200);

// Interactive or background: the header X-Lapidary-Class, else the key's default.
Result<RequestClass> request_class(const HttpRequest& request);

// OpenAI
void handle_chat_completions(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_completions(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_models(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_model(Context& context, const std::shared_ptr<Exchange>& exchange);

// Operations
void handle_health(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_keys(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_add_key(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_revoke_key(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_not_there_yet(Context& context, const std::shared_ptr<Exchange>& exchange);

}  // namespace lapidary
