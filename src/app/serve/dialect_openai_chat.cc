// POST /v1/chat/completions
#include <fmt/format.h>

#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/openai_input.h"
#include "serve/openai_output.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr int64_t choices_max = 16, logprobs_max = 20;

struct ChatSettings {
  std::string id, model;
  int64_t created = 0;
  size_t choices = 1;
  bool stream = false, usage_in_stream = false, logprobs = false, parallel_calls = true;
};

class ChatTranslator final : public Translator {
 public:
  explicit ChatTranslator(ChatSettings settings) : settings_(std::move(settings)), replies_(settings_.choices) {
    chunk_head_ =
        fmt::format(R"({{"id":{},"object":"chat.completion.chunk","created":{},"model":{},"choices":[{{"index":)",
                    json_text(settings_.id), settings_.created, json_text(settings_.model));
    chunk_tail_ = settings_.usage_in_stream ? R"(}],"usage":null})" : "}]}";
  }

  bool streams() const override { return settings_.stream; }

  void begin(std::string& out) override {
    for (size_t choice = 0; choice < replies_.size(); ++choice)
      chunk(choice, R"({"role":"assistant","content":"","refusal":null})", "null", out);
  }

  void event(size_t choice, GenerateEvent& event, std::string& out) override {
    Collected& reply = replies_[choice];
    const bool call = std::holds_alternative<ToolCallEvent>(event);
    if (call && !settings_.parallel_calls && !reply.calls.empty()) return;
    const size_t tokens_before = reply.tokens.size();
    const bool last = std::holds_alternative<UsageEvent>(event);
    reply.take(event, "call_");
    if (!settings_.stream) return;
    if (const auto* text = std::get_if<TextDelta>(&event)) {
      const std::string logprobs =
          settings_.logprobs ? dump(logprobs_of(std::span(reply.tokens).subspan(tokens_before))) : "null";
      chunk(choice, fmt::format(R"({{"content":{}}})", json_text(text->text)), "null", out, logprobs);
    } else if (const auto* thought = std::get_if<ThinkingDelta>(&event)) {
      chunk(choice, fmt::format(R"({{"reasoning_content":{}}})", json_text(thought->text)), "null", out);
    } else if (call) {
      call_chunks(choice, out);
    } else if (const auto* bad = std::get_if<BadToolCall>(&event)) {
      chunk(choice, fmt::format(R"({{"content":{}}})", json_text(bad->raw)), "null", out);
    } else if (last) {
      chunk(choice, "{}", json_text(openai_finish(reply)), out);
    }
  }

  void end(std::string& out) override {
    if (settings_.usage_in_stream) {
      const std::string head = chunk_head_.substr(0, chunk_head_.rfind(R"({"index":)"));
      out += fmt::format("data: {}],\"usage\":{}}}\n\n", head, dump(openai_usage(replies_)));
    }
    out += "data: [DONE]\n\n";
  }

  HttpReply whole() override {
    OrderedJson choices = OrderedJson::array();
    for (size_t i = 0; i < replies_.size(); ++i) {
      OrderedJson logprobs;
      if (settings_.logprobs) logprobs = logprobs_of(replies_[i].tokens);
      choices.push_back({{"index", i},
                         {"message", openai_message(replies_[i])},
                         {"logprobs", logprobs},
                         {"finish_reason", openai_finish(replies_[i])}});
    }
    OrderedJson answer = {
        {"id", settings_.id},       {"object", "chat.completion"},   {"created", settings_.created},
        {"model", settings_.model}, {"choices", std::move(choices)}, {"usage", openai_usage(replies_)}};
    if (replies_[0].dropped_messages > 0) answer["dropped_messages"] = replies_[0].dropped_messages;
    return json_reply(answer);
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::openai, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    out += fmt::format("data: {}\n\ndata: [DONE]\n\n", shape_error(Dialect::openai, error).body);
  }

 private:
  void chunk(size_t choice, std::string_view delta, std::string_view finish, std::string& out,
             std::string_view logprobs = "null") {
    fmt::format_to(std::back_inserter(out), R"(data: {}{},"delta":{},"logprobs":{},"finish_reason":{}{})", chunk_head_,
                   choice, delta, logprobs, finish, chunk_tail_);
    out += "\n\n";
  }

  void call_chunks(size_t choice, std::string& out) {
    const Collected& reply = replies_[choice];
    const size_t index = reply.calls.size() - 1;
    const ToolCall& call = reply.calls[index];
    chunk(choice,
          fmt::format(
              R"({{"tool_calls":[{{"index":{},"id":{},"type":"function","function":{{"name":{},"arguments":""}}}}]}})",
              index, json_text(call.id), json_text(call.name)),
          "null", out);
    chunk(choice,
          fmt::format(R"({{"tool_calls":[{{"index":{},"function":{{"arguments":{}}}}}]}})", index,
                      json_text(arguments_text(call))),
          "null", out);
  }

  ChatSettings settings_;
  std::vector<Collected> replies_;
  std::string chunk_head_, chunk_tail_;
};

// What the text has to be, and which tools it may call.
ApiResult<void> read_form(const Fields& fields, bool parallel_calls, GenerateRequest& request) {
  read_strict(fields, request.form);
  LAPIDARY_CHECK(read_openai_tool_choice(fields, request.conversation, request.form));
  LAPIDARY_CHECK(read_openai_format(fields.find("response_format"), "response_format", request.form));
  LAPIDARY_CHECK(read_llama_form(fields, request.form));
  request.form.parallel_calls = parallel_calls;
  return refuse_foreign_forms(fields);
}

ApiResult<void> read_limits(const Fields& fields, GenerateRequest& request) {
  LAPIDARY_TRY(request.options.tokens_max, read_tokens_max(fields, "max_tokens"));
  LAPIDARY_TRY(const int64_t completion, read_tokens_max(fields, "max_completion_tokens"));
  if (completion > 0) request.options.tokens_max = completion;
  LAPIDARY_TRY(request.options.stop_strings, read_stops(fields, "stop"));
  LAPIDARY_TRY(const auto truncation, fields.text("truncation"));
  if (truncation && *truncation != "auto" && *truncation != "disabled")
    return api_fail(400, "truncation: expected auto or disabled");
  request.drop_oldest_turns = truncation == "auto";
  return {};
}

ApiResult<void> read_logprobs(const Fields& fields, ChatSettings& settings, GenerateRequest& request) {
  LAPIDARY_TRY(const auto wanted, fields.boolean("logprobs"));
  LAPIDARY_TRY(const auto best, fields.integer("top_logprobs", 0, logprobs_max));
  settings.logprobs = wanted.value_or(false);
  if (best && *best > 0 && !settings.logprobs) return api_fail(400, "top_logprobs: needs logprobs to be true");
  if (settings.logprobs) request.top_logprobs = static_cast<int32_t>(best.value_or(0));
  return {};
}

ApiResult<void> read_settings(const Fields& fields, ChatSettings& settings) {
  LAPIDARY_TRY(const auto stream, fields.boolean("stream"));
  settings.stream = stream.value_or(false);
  LAPIDARY_TRY(const OrderedJson* options, fields.object("stream_options"));
  if (options != nullptr) {
    LAPIDARY_TRY(const auto usage, Fields(*options, "stream_options").boolean("include_usage"));
    settings.usage_in_stream = settings.stream && usage.value_or(false);
  }
  LAPIDARY_TRY(const auto count, fields.integer("n", 1, choices_max));
  settings.choices = static_cast<size_t>(count.value_or(1));
  LAPIDARY_TRY(const auto parallel, fields.boolean("parallel_tool_calls"));
  settings.parallel_calls = parallel.value_or(true);
  if (fields.has("functions") || fields.has("function_call"))
    return api_fail(400, "functions: use tools", "unsupported_parameter");
  if (const OrderedJson* kinds = fields.find("modalities"); kinds != nullptr && *kinds != OrderedJson::array({"text"}))
    return api_fail(400, "modalities: only text can be generated", "unsupported_parameter");
  return {};
}

ApiResult<GenerationPlan> plan_chat(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, name.value_or("")));
  GenerateRequest& request = start.request;
  const ModelInfo& model = start.model;
  ChatSettings settings;
  LAPIDARY_CHECK(read_settings(fields, settings));
  const OrderedJson* messages = fields.find("messages");
  if (messages == nullptr) return api_fail(400, "messages: expected a list of messages, found nothing");
  LAPIDARY_TRY(request.conversation.messages, read_messages(*messages, "messages", &request.options.image_tokens));
  if (const OrderedJson* tools = fields.find("tools")) {
    LAPIDARY_TRY(request.conversation.tools, read_tools(*tools, "tools"));
  }
  LAPIDARY_CHECK(read_form(fields, settings.parallel_calls, request));
  LAPIDARY_CHECK(read_thinking(fields, request.conversation));
  LAPIDARY_CHECK(read_sampling(fields, model, request.options.sampler));
  LAPIDARY_CHECK(read_limits(fields, request));
  LAPIDARY_CHECK(read_logprobs(fields, settings, request));
  settings.id = new_id("chatcmpl-");
  settings.model = model.name;
  settings.created = unix_seconds();
  GenerationPlan plan;
  for (size_t i = 0; i < settings.choices; ++i) {
    plan.requests.push_back(request);
    plan.requests.back().options.sampler.seed += i;
  }
  plan.translator = std::make_unique<ChatTranslator>(std::move(settings));
  return plan;
}

}  // namespace

void handle_chat_completions(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, plan_chat);
}

}  // namespace lapidary
