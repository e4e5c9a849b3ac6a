#include "serve/handlers.h"

#include <fmt/format.h>

#include "serve/routes.h"

namespace lapidary {

HttpReply json_reply(const OrderedJson& value, int status) {
  HttpReply reply;
  reply.status = status;
  reply.body = dump(value);
  return reply;
}

void answer(const std::shared_ptr<Exchange>& exchange, ApiResult<OrderedJson> value) {
  exchange->reply(value ? json_reply(*value) : shape_error(dialect_of(exchange->request().path), value.error()));
}

void run_plan(Context& context, const std::shared_ptr<Exchange>& exchange, Planner planner) {
  auto plan = planner(context, exchange->request());
  if (!plan) return exchange->reply(shape_error(dialect_of(exchange->request().path), plan.error()));
  auto shared = std::make_shared<GenerationPlan>(std::move(*plan));
  exchange->post([&context, exchange, shared] {
    Generation::start(context.service, context.generations, exchange, std::move(*shared));
  });
}

ApiResult<RequestStart> start_request(Context& context, const HttpRequest& http, const std::string& model) {
  RequestStart start;
  start.request.model = model;
  auto found = context.service.model(model);
  if (!found) return std::unexpected(submission_error(found.error(), 0));
  start.model = std::move(*found);
  LAPIDARY_TRY(start.request.request_class, request_class(http));
  return start;
}

Result<RequestClass> request_class(const HttpRequest& request) {
  const std::string_view word = request.header("x-lapidary-class");
  if (word.empty()) return request.caller.background ? RequestClass::background : RequestClass::interactive;
  if (word == "background") return RequestClass::background;
  if (word == "interactive") return RequestClass::interactive;
  return fail(ErrorKind::wrong_use, "X-Lapidary-Class", "expected interactive or background");
}

void handle_health(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, OrderedJson{{"status", context.draining ? "ending" : "ok"}});
}

void handle_keys(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson list = OrderedJson::array();
  for (const Key& key : context.keys.keys())
    list.push_back(
        {{"id", key.id}, {"scope", scope_name(key.scope)}, {"class", key.background ? "background" : "interactive"}});
  answer(exchange, OrderedJson{{"keys", list}});
}

namespace {

ApiResult<OrderedJson> add_key(Context& context, const HttpRequest& request) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(request.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const std::string id, fields.required_text("id"));
  LAPIDARY_TRY(const auto scope_word, fields.text("scope"));
  LAPIDARY_TRY(const auto class_word, fields.text("class"));
  Scope scope = Scope::infer;
  if (scope_word) {
    for (scope = Scope::infer; scope_name(scope) != *scope_word;
         scope = static_cast<Scope>(static_cast<int>(scope) + 1))
      if (scope == Scope::admin) return api_fail(400, "scope: expected infer, manage or admin");
  }
  if (class_word && *class_word != "background" && *class_word != "interactive")
    return api_fail(400, "class: expected interactive or background");
  LAPIDARY_TRY(const Key key, context.keys.add(id, scope, class_word == "background"));
  return OrderedJson{{"id", key.id}, {"key", key.key}, {"scope", scope_name(key.scope)}};
}

}  // namespace

void handle_add_key(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, add_key(context, exchange->request()));
}

void handle_revoke_key(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const std::string& id = exchange->request().parameter;
  if (const auto revoked = context.keys.revoke(id); !revoked) return answer(exchange, std::unexpected(revoked.error()));
  answer(exchange, OrderedJson{{"id", id}, {"revoked", true}});
  context.keys_changed();
}

void handle_not_there_yet(Context& /*context*/, const std::shared_ptr<Exchange>& exchange) {
  const std::string& path = exchange->request().path;
  const char* what = "this is not available yet";
  if (path.find("mbed") != std::string::npos)
    what = "embeddings are not available: the models that this server runs generate text, and give no embeddings";
  else if (path.starts_with("/api/"))
    what = "models are files here: start `lapidary serve` with those that it should serve";
  else if (path.find("image") != std::string::npos || path.ends_with(":predict"))
    what = "pictures cannot be generated: the models that this server runs read them and write text";
  else if (path.find("speech") != std::string::npos)
    what = "speech cannot be generated: the models that this server runs hear it and write text";
  answer(exchange, std::unexpected(ApiError(501, what, "not_implemented")));
}

}  // namespace lapidary
