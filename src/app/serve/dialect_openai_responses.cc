// /v1/responses: create (also streamed, also in the background), read, delete, cancel, input items.
#include <fmt/format.h>

#include <algorithm>

#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/openai_input.h"
#include "serve/openai_output.h"
#include "serve/response_store.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr size_t items_max = 20'000;
constexpr int64_t logprobs_max = 20;

struct ResponseSettings {
  std::string id;
  bool stream = false, parallel_calls = true, stored = true, background = false, logprobs = false;
  OrderedJson head;  // the response object with everything that is known before the reply
  std::shared_ptr<StoredResponse> record;
  ResponseStore* store = nullptr;
};

OrderedJson usage_json(const UsageEvent& usage) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", usage.reused_tokens}}},
          {"output_tokens", usage.reply_tokens},
          {"output_tokens_details", {{"reasoning_tokens", usage.thinking_tokens}}},
          {"total_tokens", usage.prompt_tokens + usage.reply_tokens}};
}

class ResponseTranslator final : public Translator {
 public:
  explicit ResponseTranslator(ResponseSettings settings) : settings_(std::move(settings)) {}

  bool streams() const override { return settings_.stream; }

  void begin(std::string& out) override {
    emit("response.created", {{"response", settings_.head}}, out);
    emit("response.in_progress", {{"response", settings_.head}}, out);
  }

  void event(size_t /*choice*/, GenerateEvent& event, std::string& out) override {
    const bool call = std::holds_alternative<ToolCallEvent>(event);
    if (call && !settings_.parallel_calls && !reply_.calls.empty()) return;
    const size_t tokens_before = reply_.tokens.size();
    const bool last = std::holds_alternative<UsageEvent>(event);
    reply_.take(event, "call_");
    const std::span fresh = std::span(reply_.tokens).subspan(tokens_before);
    if (const auto* text = std::get_if<TextDelta>(&event))
      add_text(text->text, fresh, out);
    else if (const auto* bad = std::get_if<BadToolCall>(&event))
      add_text(bad->raw, {}, out);
    else if (const auto* thought = std::get_if<ThinkingDelta>(&event))
      add_thought(thought->text, out);
    else if (call)
      add_call(reply_.calls.back(), out);
    else if (last)
      finish(out);
  }

  HttpReply whole() override { return json_reply(final_); }

  HttpReply error(const ApiError& error) override {
    fail_record(error);
    return shape_error(Dialect::openai, error);
  }
  void stream_error(const ApiError& error, std::string& out) override {
    fail_record(error);
    emit("error",
         {{"code", error.code.empty() ? "server_error" : error.code}, {"message", error.message}, {"param", nullptr}},
         out);
    emit("response.failed", {{"response", final_}}, out);
  }

 private:
  enum class Open : uint8_t { none, text, thought };

  void emit(const char* type, OrderedJson data, std::string& out) {
    if (!settings_.stream) return;
    OrderedJson event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(data);
    out += fmt::format("event: {}\ndata: {}\n\n", type, dump(event));
  }

  OrderedJson place() const { return {{"item_id", item_id_}, {"output_index", output_.size()}}; }
  OrderedJson at(std::initializer_list<std::pair<const char*, OrderedJson>> more) const {
    OrderedJson data = place();
    for (const auto& [key, value] : more) data[key] = value;
    return data;
  }

  void add_text(const std::string& text, std::span<const TokenEvent> tokens, std::string& out) {
    if (open_ != Open::text) {
      close(out);
      open_ = Open::text;
      item_id_ = new_id("msg_");
      open_text_.clear();
      open_tokens_ = OrderedJson::array();
      emit("response.output_item.added",
           {{"output_index", output_.size()}, {"item", message_item("in_progress", false)}}, out);
      emit("response.content_part.added", at({{"content_index", 0}, {"part", text_part("")}}), out);
    }
    open_text_ += text;
    OrderedJson fresh = OrderedJson::array();
    if (settings_.logprobs) fresh = logprobs_of(tokens)["content"];
    for (const OrderedJson& token : fresh) open_tokens_.push_back(token);
    emit("response.output_text.delta", at({{"content_index", 0}, {"delta", text}, {"logprobs", fresh}}), out);
  }

  void add_thought(const std::string& text, std::string& out) {
    if (open_ != Open::thought) {
      close(out);
      open_ = Open::thought;
      item_id_ = new_id("rs_");
      open_text_.clear();
      emit("response.output_item.added",
           {{"output_index", output_.size()}, {"item", reasoning_item("in_progress", false)}}, out);
    }
    open_text_ += text;
    emit("response.reasoning_text.delta", at({{"content_index", 0}, {"delta", text}}), out);
  }

  void add_call(const ToolCall& call, std::string& out) {
    close(out);
    item_id_ = new_id("fc_");
    const std::string arguments = arguments_text(call);
    OrderedJson item = {{"id", item_id_},     {"type", "function_call"}, {"status", "in_progress"},
                        {"call_id", call.id}, {"name", call.name},       {"arguments", ""}};
    emit("response.output_item.added", {{"output_index", output_.size()}, {"item", item}}, out);
    emit("response.function_call_arguments.delta", at({{"delta", arguments}}), out);
    emit("response.function_call_arguments.done", at({{"name", call.name}, {"arguments", arguments}}), out);
    item["status"] = "completed";
    item["arguments"] = arguments;
    emit("response.output_item.done", {{"output_index", output_.size()}, {"item", item}}, out);
    output_.push_back(std::move(item));
  }

  void close(std::string& out) {
    if (open_ == Open::none) return;
    OrderedJson item;
    if (open_ == Open::text) {
      emit("response.output_text.done", at({{"content_index", 0}, {"text", open_text_}, {"logprobs", open_tokens_}}),
           out);
      emit("response.content_part.done", at({{"content_index", 0}, {"part", text_part(open_text_)}}), out);
      item = message_item("completed", true);
    } else {
      emit("response.reasoning_text.done", at({{"content_index", 0}, {"text", open_text_}}), out);
      item = reasoning_item("completed", true);
    }
    emit("response.output_item.done", {{"output_index", output_.size()}, {"item", item}}, out);
    output_.push_back(std::move(item));
    open_ = Open::none;
  }

  OrderedJson text_part(const std::string& text) const {
    return {{"type", "output_text"}, {"text", text}, {"annotations", OrderedJson::array()}, {"logprobs", open_tokens_}};
  }

  OrderedJson message_item(const char* status, bool with_content) const {
    OrderedJson content = OrderedJson::array();
    if (with_content) content.push_back(text_part(open_text_));
    return {{"id", item_id_},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }

  OrderedJson reasoning_item(const char* status, bool with_content) const {
    OrderedJson content = OrderedJson::array();
    if (with_content) content.push_back({{"type", "reasoning_text"}, {"text", open_text_}});
    return {{"id", item_id_},
            {"type", "reasoning"},
            {"summary", OrderedJson::array()},
            {"content", std::move(content)},
            {"status", status}};
  }

  void finish(std::string& out) {
    close(out);
    const bool cut = was_cut(reply_.usage.reason);
    final_ = settings_.head;
    final_["status"] = cut ? "incomplete" : "completed";
    if (cut) final_["incomplete_details"] = {{"reason", "max_output_tokens"}};
    final_["output"] = output_;
    final_["usage"] = usage_json(reply_.usage);
    if (reply_.dropped_messages > 0) final_["dropped_messages"] = reply_.dropped_messages;
    keep();
    emit(cut ? "response.incomplete" : "response.completed", {{"response", final_}}, out);
  }

  void keep() {
    if (!settings_.stored) return;
    auto record = std::make_shared<StoredResponse>(*settings_.record);
    record->answer = final_;
    record->running = false;
    record->cancel = nullptr;
    Message& message = record->conversation.emplace_back();
    message.role = "assistant";
    message.content = reply_.text;
    message.reasoning = reply_.thinking;
    message.tool_calls = reply_.calls;
    settings_.store->put(std::move(record));
  }

  void fail_record(const ApiError& error) {
    final_ = settings_.head;
    final_["status"] = "failed";
    final_["error"] = {{"code", error.code.empty() ? "server_error" : error.code}, {"message", error.message}};
    if (!settings_.background || !settings_.stored) return;
    auto record = std::make_shared<StoredResponse>(*settings_.record);
    record->answer = final_;
    record->running = false;
    settings_.store->put(std::move(record));
  }

  ResponseSettings settings_;
  Collected reply_;
  OrderedJson output_ = OrderedJson::array(), open_tokens_ = OrderedJson::array(), final_;
  std::string item_id_, open_text_;
  Open open_ = Open::none;
  int64_t sequence_ = 0;
};

// The exchange of a response that runs in the background: nobody listens, nobody leaves.
class NobodysExchange final : public Exchange {
 public:
  explicit NobodysExchange(std::shared_ptr<Exchange> first) : first_(std::move(first)) {}
  const HttpRequest& request() const override { return first_->request(); }
  void reply(HttpReply) override {}
  void begin_stream(HttpReply) override {}
  void send(std::string) override {}
  void end_stream() override {}
  void on_gone(std::function<void()>) override {}
  void post(std::function<void()> work) override { first_->post(std::move(work)); }

 private:
  std::shared_ptr<Exchange> first_;
};

// A function call, or thoughts, belong to the assistant's turn that is being read.
Message& assistant_turn(std::vector<Message>& messages, bool for_text) {
  if (messages.empty() || messages.back().role != "assistant" ||
      (for_text && !std::holds_alternative<std::monostate>(messages.back().content)))
    messages.emplace_back().role = "assistant";
  return messages.back();
}

Result<void> read_message_item(const Fields& fields, std::vector<Message>& messages, int32_t* image_tokens) {
  LAPIDARY_TRY(const std::string role, fields.required_text("role"));
  if (role != "user" && role != "assistant" && role != "system" && role != "developer")
    return malformed(fields.place("role"), "user, assistant, system or developer",
                     fmt::format("\"{}\"", role.substr(0, 60)));
  const OrderedJson* content = fields.find("content");
  if (content == nullptr) return malformed(fields.place("content"), "a text or a list of parts", "nothing");
  if (role == "assistant")
    return read_content(*content, fields.place("content"), true, assistant_turn(messages, true), image_tokens);
  Message& message = messages.emplace_back();
  message.role = role;
  return read_content(*content, fields.place("content"), role != "user", message, image_tokens);
}

Result<void> read_output_item(const Fields& fields, std::vector<Message>& messages) {
  Message message;
  message.role = "tool";
  LAPIDARY_TRY(message.tool_call_id, fields.required_text("call_id"));
  const OrderedJson* output = fields.find("output");
  if (output == nullptr) return malformed(fields.place("output"), "a text", "nothing");
  LAPIDARY_CHECK(read_content(*output, fields.place("output"), true, message, nullptr));
  messages.push_back(std::move(message));
  return {};
}

Result<void> read_item(const OrderedJson& value, const std::string& where, std::vector<Message>& messages,
                       int32_t* image_tokens) {
  LAPIDARY_TRY(const Fields fields, Fields::of(value, where));
  LAPIDARY_TRY(const auto named, fields.text("type"));
  const std::string type = named.value_or("message");
  if (type == "message") return read_message_item(fields, messages, image_tokens);
  if (type == "function_call_output") return read_output_item(fields, messages);
  if (type == "function_call") {
    ToolCall call;
    LAPIDARY_TRY(call.id, fields.required_text("call_id"));
    LAPIDARY_TRY(call.name, fields.required_text("name"));
    LAPIDARY_TRY(const auto arguments, fields.text("arguments"));
    LAPIDARY_TRY(call.arguments, read_arguments(arguments.value_or(""), fields.place("arguments")));
    assistant_turn(messages, false).tool_calls.push_back(std::move(call));
    return {};
  }
  if (type == "reasoning") {
    LAPIDARY_TRY(const OrderedJson* content, fields.list("content"));
    Message& message = assistant_turn(messages, true);
    if (content != nullptr)
      for (const OrderedJson& part : *content)
        if (part.is_object() && part.contains("text") && part["text"].is_string())
          message.reasoning += part["text"].get<std::string>();
    return {};
  }
  return malformed(fields.place("type"), "message, function_call, function_call_output or reasoning",
                   fmt::format("\"{}\"", type.substr(0, 60)));
}

// The input as a list of items, and as messages.
Result<OrderedJson> read_input(const Fields& fields, std::vector<Message>& messages, int32_t* image_tokens) {
  const OrderedJson* input = fields.find("input");
  if (input == nullptr) return malformed("input", "a text or a list of items", "nothing");
  OrderedJson items = *input;
  if (input->is_string())
    items = OrderedJson::array(
        {{{"role", "user"}, {"content", OrderedJson::array({{{"type", "input_text"}, {"text", *input}}})}}});
  if (!items.is_array() || items.empty()) return malformed("input", "a text or a list of items", shown(*input));
  if (items.size() > items_max) return malformed("input", fmt::format("at most {} items", items_max), "more");
  for (size_t i = 0; i < items.size(); ++i) {
    LAPIDARY_CHECK(read_item(items[i], fmt::format("input[{}]", i), messages, image_tokens));
    if (!items[i].contains("id") || !items[i]["id"].is_string()) items[i]["id"] = new_id("item_");
    if (!items[i].contains("type")) items[i]["type"] = "message";
  }
  return items;
}

ApiResult<void> read_choices(const Fields& fields, GenerateRequest& request) {
  Conversation& conversation = request.conversation;
  if (const OrderedJson* tools = fields.find("tools")) {
    LAPIDARY_TRY(conversation.tools, read_tools(*tools, "tools"));
  }
  read_strict(fields, request.form);
  LAPIDARY_CHECK(read_openai_tool_choice(fields, conversation, request.form));
  LAPIDARY_TRY(const OrderedJson* text, fields.object("text"));
  if (text != nullptr) {
    LAPIDARY_TRY(const OrderedJson* format, Fields(*text, "text").object("format"));
    LAPIDARY_CHECK(read_openai_format(format, "text.format", request.form));
  }
  LAPIDARY_TRY(const OrderedJson* reasoning, fields.object("reasoning"));
  if (reasoning != nullptr) {
    LAPIDARY_TRY(const auto effort, Fields(*reasoning, "reasoning").text("effort"));
    if (effort) conversation.think = *effort != "none" && *effort != "minimal";
  }
  return {};
}

OrderedJson head_of(const Fields& fields, const ResponseSettings& settings, const ModelInfo& model,
                    const SamplerOptions& sampler) {
  const auto echoed = [&](const char* key, OrderedJson fallback) {
    const OrderedJson* value = fields.find(key);
    return value != nullptr ? *value : std::move(fallback);
  };
  return {{"id", settings.id},
          {"object", "response"},
          {"created_at", unix_seconds()},
          {"status", "in_progress"},
          {"background", settings.background},
          {"error", nullptr},
          {"incomplete_details", nullptr},
          {"instructions", echoed("instructions", nullptr)},
          {"max_output_tokens", echoed("max_output_tokens", nullptr)},
          {"model", model.name},
          {"output", OrderedJson::array()},
          {"parallel_tool_calls", settings.parallel_calls},
          {"previous_response_id", echoed("previous_response_id", nullptr)},
          {"reasoning", echoed("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
          {"store", settings.stored},
          {"temperature", sampler.temperature},
          {"text", echoed("text", {{"format", {{"type", "text"}}}})},
          {"tool_choice", echoed("tool_choice", "auto")},
          {"tools", echoed("tools", OrderedJson::array())},
          {"top_p", sampler.top_p},
          {"truncation", echoed("truncation", "disabled")},
          {"usage", nullptr},
          {"user", echoed("user", nullptr)},
          {"metadata", echoed("metadata", OrderedJson::object())}};
}

ApiResult<void> read_limits(const Fields& fields, GenerateRequest& request, ResponseSettings& settings) {
  LAPIDARY_TRY(const auto stream, fields.boolean("stream"));
  LAPIDARY_TRY(const auto stored, fields.boolean("store"));
  LAPIDARY_TRY(const auto background, fields.boolean("background"));
  LAPIDARY_TRY(const auto parallel, fields.boolean("parallel_tool_calls"));
  settings.stream = stream.value_or(false);
  settings.stored = stored.value_or(true);
  settings.background = background.value_or(false);
  request.form.parallel_calls = settings.parallel_calls = parallel.value_or(true);
  if (settings.background && (settings.stream || !settings.stored))
    return api_fail(400, "background: needs store, and cannot be streamed");
  if (settings.background) request.request_class = RequestClass::background;
  LAPIDARY_TRY(request.options.tokens_max, read_tokens_max(fields, "max_output_tokens"));
  LAPIDARY_TRY(const auto best, fields.integer("top_logprobs", 0, logprobs_max));
  const OrderedJson* include = fields.find("include");
  settings.logprobs = best.value_or(0) > 0 ||
                      (include != nullptr && include->is_array() &&
                       std::ranges::find(*include, OrderedJson("message.output_text.logprobs")) != include->end());
  if (settings.logprobs) request.top_logprobs = static_cast<int32_t>(best.value_or(0));
  LAPIDARY_TRY(const auto truncation, fields.text("truncation"));
  if (truncation && *truncation != "auto" && *truncation != "disabled")
    return api_fail(400, "truncation: expected auto or disabled");
  request.drop_oldest_turns = truncation == "auto";
  for (const char* key : {"conversation", "prompt"})
    if (fields.has(key)) return api_fail(400, fmt::format("{}: is not available", key), "unsupported_parameter");
  return {};
}

struct ResponsePlan {
  GenerationPlan plan;
  std::shared_ptr<StoredResponse> record;
  bool background = false;
};

ApiResult<ResponsePlan> plan_response(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, name.value_or("")));
  GenerateRequest& request = start.request;
  ResponseSettings settings;
  settings.id = new_id("resp_");
  settings.record = std::make_shared<StoredResponse>();
  settings.store = &context.responses;
  StoredResponse& record = *settings.record;
  record.id = settings.id;
  record.owner = http.caller.key_id;
  LAPIDARY_TRY(const auto previous, fields.text("previous_response_id"));
  if (previous) {
    const auto found = context.responses.find(*previous, record.owner);
    if (!found || found->running)
      return api_fail(404, fmt::format("previous_response_id: no response \"{}\"", previous->substr(0, 80)));
    record.conversation = found->conversation;
  }
  LAPIDARY_TRY(record.input_items, read_input(fields, record.conversation, &request.options.image_tokens));
  request.conversation.messages = record.conversation;
  LAPIDARY_TRY(const auto instructions, fields.text("instructions"));
  if (instructions) {
    Message message;
    message.role = "system";
    message.content = *instructions;
    request.conversation.messages.insert(request.conversation.messages.begin(), std::move(message));
  }
  LAPIDARY_CHECK(read_choices(fields, request));
  LAPIDARY_CHECK(refuse_foreign_forms(fields));
  LAPIDARY_CHECK(read_sampling(fields, start.model, request.options.sampler));
  LAPIDARY_CHECK(read_limits(fields, request, settings));
  settings.head = head_of(fields, settings, start.model, request.options.sampler);
  record.answer = settings.head;
  ResponsePlan plan;
  plan.record = settings.record;
  plan.background = settings.background;
  plan.plan.requests.push_back(std::move(request));
  plan.plan.translator = std::make_unique<ResponseTranslator>(std::move(settings));
  return plan;
}

// Runs on the loop's thread: answers at once, and goes on without the client.
void start_in_background(Context& context, const std::shared_ptr<Exchange>& exchange, ResponsePlan& plan) {
  exchange->reply(json_reply(plan.record->answer));
  auto record = std::make_shared<StoredResponse>(*plan.record);
  record->running = true;
  const auto generation = Generation::start(context.service, context.generations,
                                            std::make_shared<NobodysExchange>(exchange), std::move(plan.plan));
  record->cancel = [running = std::weak_ptr(generation)] {
    if (const auto still = running.lock()) still->cancel();
  };
  // Events come later, through the loop: this does not overwrite the end.
  context.responses.put(std::move(record));
}

ApiResult<std::shared_ptr<const StoredResponse>> stored(Context& context, const HttpRequest& request) {
  auto found = context.responses.find(request.parameter, request.caller.key_id);
  if (!found) return api_fail(404, fmt::format("no response \"{}\"", request.parameter.substr(0, 80)));
  return found;
}

}  // namespace

void handle_create_response(Context& context, const std::shared_ptr<Exchange>& exchange) {
  auto plan = plan_response(context, exchange->request());
  if (!plan) return answer(exchange, std::unexpected(plan.error()));
  auto shared = std::make_shared<ResponsePlan>(std::move(*plan));
  exchange->post([&context, exchange, shared] {
    if (shared->background) return start_in_background(context, exchange, *shared);
    Generation::start(context.service, context.generations, exchange, std::move(shared->plan));
  });
}

void handle_get_response(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto found = stored(context, exchange->request());
  if (!found) return answer(exchange, std::unexpected(found.error()));
  answer(exchange, (*found)->answer);
}

void handle_delete_response(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto found = stored(context, exchange->request());
  if (!found) return answer(exchange, std::unexpected(found.error()));
  if ((*found)->cancel) exchange->post((*found)->cancel);
  context.responses.remove((*found)->id, (*found)->owner);
  answer(exchange, OrderedJson{{"id", (*found)->id}, {"object", "response"}, {"deleted", true}});
}

void handle_cancel_response(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto found = stored(context, exchange->request());
  if (!found) return answer(exchange, std::unexpected(found.error()));
  if (!(*found)->running) {
    if ((*found)->answer["background"] != true)
      return answer(exchange,
                    std::unexpected(ApiError(400, "only a response that runs in the background can be cancelled")));
    return answer(exchange, (*found)->answer);
  }
  exchange->post([&context, exchange, id = (*found)->id, owner = (*found)->owner] {
    const auto now = context.responses.find(id, owner);
    if (!now) return answer(exchange, std::unexpected(ApiError(404, "no such response")));
    if (!now->running) return answer(exchange, now->answer);
    now->cancel();
    auto record = std::make_shared<StoredResponse>(*now);
    record->running = false;
    record->cancel = nullptr;
    record->answer["status"] = "cancelled";
    context.responses.put(record);
    answer(exchange, record->answer);
  });
}

void handle_response_items(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto found = stored(context, exchange->request());
  if (!found) return answer(exchange, std::unexpected(found.error()));
  OrderedJson items = (*found)->input_items;
  if (exchange->request().query_value("order") != "asc") std::reverse(items.begin(), items.end());
  answer(exchange, OrderedJson{{"object", "list"},
                               {"data", items},
                               {"first_id", items.front()["id"]},
                               {"last_id", items.back()["id"]},
                               {"has_more", false}});
}

}  // namespace lapidary
