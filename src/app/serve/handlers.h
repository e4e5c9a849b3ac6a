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

// A request for the model that was named, with its class; 404 if there is none.
struct RequestStart {
  GenerateRequest request;
  ModelInfo model;
};
ApiResult<RequestStart> start_request(Context& context, const HttpRequest& http, const std::string& model);

// Answers with a value, or with its error in the dialect's shape.
void answer(const std::shared_ptr<Exchange>& exchange, ApiResult<OrderedJson> value);

HttpReply json_reply(const OrderedJson& value, int status = 200);

// Interactive or background: the header X-Lapidary-Class, else the key's default.
Result<RequestClass> request_class(const HttpRequest& request);

// OpenAI
void handle_chat_completions(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_completions(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_create_response(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_get_response(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_delete_response(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_cancel_response(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_response_items(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_transcriptions(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_translations(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_models(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_model(Context& context, const std::shared_ptr<Exchange>& exchange);

// Anthropic
void handle_messages(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_count_tokens(Context& context, const std::shared_ptr<Exchange>& exchange);

// Ollama
void handle_ollama_root(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_ollama_chat(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_ollama_generate(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_ollama_tags(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_ollama_show(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_ollama_ps(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_ollama_version(Context& context, const std::shared_ptr<Exchange>& exchange);

// Gemini
void handle_gemini_generate(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_gemini_stream(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_gemini_count(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_gemini_models(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_gemini_model(Context& context, const std::shared_ptr<Exchange>& exchange);

// llama-server
void handle_llama_completion(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_llama_tokenize(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_llama_detokenize(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_llama_template(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_llama_props(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_llama_slots(Context& context, const std::shared_ptr<Exchange>& exchange);

// Operations
void handle_metrics(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_openapi(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_health(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_keys(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_add_key(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_revoke_key(Context& context, const std::shared_ptr<Exchange>& exchange);
void handle_not_there_yet(Context& context, const std::shared_ptr<Exchange>& exchange);

}  // namespace lapidary
