// llama-server's own routes: /completion, /tokenize, /detokenize, /apply-template, /props, /slots.
#include <fmt/format.h>

#include <algorithm>

#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/openai_input.h"
#include "serve/openai_output.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr int64_t probabilities_max = 20;

struct LlamaSettings {
  std::string model;
  bool stream = false, tokens = false;
  int64_t context = 0;
  std::vector<std::string> stops;
};

class LlamaTranslator final : public Translator {
 public:
  explicit LlamaTranslator(LlamaSettings settings) : settings_(std::move(settings)) {}

  bool streams() const override { return settings_.stream; }

  void event(size_t /*choice*/, GenerateEvent& event, std::string& out) override {
    const size_t tokens_before = reply_.tokens.size(), bytes_before = reply_.text.size();
    const bool last = std::holds_alternative<UsageEvent>(event);
    reply_.take(event, "call_");
    if (!settings_.stream || (!last && reply_.text.size() == bytes_before)) return;
    OrderedJson chunk =
        last ? end_json("") : OrderedJson{{"index", 0}, {"content", reply_.text.substr(bytes_before)}, {"stop", false}};
    if (reply_.tokens.size() > tokens_before)
      chunk["completion_probabilities"] = logprobs_of(std::span(reply_.tokens).subspan(tokens_before))["content"];
    out += fmt::format("data: {}\n\n", dump(chunk));
  }

  HttpReply whole() override {
    OrderedJson answer = end_json(reply_.text);
    if (!reply_.tokens.empty()) answer["completion_probabilities"] = logprobs_of(reply_.tokens)["content"];
    return json_reply(answer);
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::llama, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    out += fmt::format("data: {}\n\n", shape_error(Dialect::llama, error).body);
  }

 private:
  OrderedJson end_json(const std::string& content) const {
    const UsageEvent& usage = reply_.usage;
    const char* why = was_cut(usage.reason) ? "limit" : usage.reason == StopReason::stop_string ? "word" : "eos";
    const bool word_known = usage.reason == StopReason::stop_string && settings_.stops.size() == 1;
    OrderedJson answer = {{"index", 0},
                          {"content", content},
                          {"stop", true},
                          {"model", settings_.model},
                          {"tokens_predicted", usage.reply_tokens},
                          {"tokens_evaluated", usage.prompt_tokens},
                          {"tokens_cached", usage.reused_tokens},
                          {"truncated", usage.reason == StopReason::context},
                          {"stop_type", why},
                          {"stopping_word", word_known ? settings_.stops[0] : ""},
                          {"timings", timings()}};
    if (settings_.tokens) answer["tokens"] = usage.reply_ids;
    return answer;
  }

  OrderedJson timings() const {
    const UsageEvent& usage = reply_.usage;
    const int64_t computed = usage.prompt_tokens - usage.reused_tokens;
    const auto rate = [](int64_t tokens, double seconds) {
      return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
    };
    return {{"prompt_n", computed},
            {"prompt_ms", usage.prompt_seconds * 1e3},
            {"prompt_per_second", rate(computed, usage.prompt_seconds)},
            {"predicted_n", usage.reply_tokens},
            {"predicted_ms", usage.reply_seconds * 1e3},
            {"predicted_per_second", rate(usage.reply_tokens, usage.reply_seconds)}};
  }

  LlamaSettings settings_;
  Collected reply_;
};

Result<std::vector<int32_t>> read_ids(const OrderedJson& list, const std::string& where) {
  std::vector<int32_t> ids;
  for (const OrderedJson& id : list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max())
      return malformed(where, "token ids", shown(id));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

ApiResult<GenerationPlan> plan_completion(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, name.value_or("")));
  GenerateRequest& request = start.request;
  request.options.raw = true;
  const OrderedJson* prompt = fields.find("prompt");
  if (prompt == nullptr) return api_fail(400, "prompt: expected a text, found nothing");
  if (prompt->is_string()) {
    request.text = prompt->get<std::string>();
  } else if (prompt->is_array() && !prompt->empty()) {
    LAPIDARY_TRY(request.ids, read_ids(*prompt, "prompt"));
  } else {
    return api_fail(400, "prompt: expected a text or token ids");
  }
  LAPIDARY_CHECK(read_openai_format(fields.find("response_format"), "response_format", request.form));
  LAPIDARY_CHECK(read_llama_form(fields, request.form));
  LAPIDARY_TRY(const SamplingWish wish, read_wish(fields));
  request.options.sampler = sampler_of(wish, start.model);
  LAPIDARY_TRY(request.options.sampler.penalties, read_penalties(fields, PenaltyWindow::last_tokens));
  LAPIDARY_TRY(const auto predict, fields.integer("n_predict", -1, std::numeric_limits<int64_t>::max()));
  if (predict && *predict > 0) request.options.tokens_max = std::min(*predict, int64_t{1} << 30);
  if (predict == 0) request.options.tokens_max = 1;
  LAPIDARY_TRY(request.options.stop_strings, read_stops(fields, "stop"));
  LAPIDARY_TRY(const auto probabilities, fields.integer("n_probs", 0, probabilities_max));
  if (probabilities.value_or(0) > 0) request.top_logprobs = static_cast<int32_t>(*probabilities);
  LlamaSettings settings;
  LAPIDARY_TRY(const auto stream, fields.boolean("stream"));
  LAPIDARY_TRY(const auto tokens, fields.boolean("return_tokens"));
  settings.stream = stream.value_or(false);
  settings.tokens = tokens.value_or(false);
  settings.model = start.model.name;
  settings.context = start.model.context;
  settings.stops = request.options.stop_strings;
  GenerationPlan plan;
  plan.requests.push_back(std::move(request));
  plan.translator = std::make_unique<LlamaTranslator>(std::move(settings));
  return plan;
}

ApiResult<OrderedJson> tokenize(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(const std::string content, fields.required_text("content"));
  LAPIDARY_TRY(const auto add_special, fields.boolean("add_special"));
  LAPIDARY_TRY(const auto parse_special, fields.boolean("parse_special"));
  LAPIDARY_TRY(const auto with_pieces, fields.boolean("with_pieces"));
  const std::string model = name.value_or("");
  LAPIDARY_TRY(std::vector<int32_t> ids, context.service.tokenize(model, content, parse_special.value_or(true)));
  if (add_special.value_or(false)) {
    LAPIDARY_TRY(const std::vector<int32_t> begin, context.service.tokenize(model, "<bos>", true));
    if (begin.size() == 1) ids.insert(ids.begin(), begin.front());
  }
  if (!with_pieces.value_or(false)) return OrderedJson{{"tokens", ids}};
  OrderedJson list = OrderedJson::array();
  for (const int32_t id : ids) {
    LAPIDARY_TRY(const std::string piece, context.service.detokenize(model, {id}));
    list.push_back({{"id", id}, {"piece", piece}});
  }
  return OrderedJson{{"tokens", std::move(list)}};
}

ApiResult<OrderedJson> detokenize(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(const OrderedJson* tokens, fields.list("tokens"));
  if (tokens == nullptr) return api_fail(400, "tokens: expected a list of token ids, found nothing");
  LAPIDARY_TRY(const std::vector<int32_t> ids, read_ids(*tokens, "tokens"));
  LAPIDARY_TRY(const std::string content, context.service.detokenize(name.value_or(""), ids));
  return OrderedJson{{"content", content}};
}

ApiResult<OrderedJson> apply_template(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, name.value_or("")));
  Conversation& conversation = start.request.conversation;
  const OrderedJson* messages = fields.find("messages");
  if (messages == nullptr) return api_fail(400, "messages: expected a list of messages, found nothing");
  LAPIDARY_TRY(conversation.messages, read_messages(*messages, "messages", nullptr));
  if (const OrderedJson* tools = fields.find("tools")) {
    LAPIDARY_TRY(conversation.tools, read_tools(*tools, "tools"));
  }
  LAPIDARY_CHECK(read_thinking(fields, conversation));
  LAPIDARY_TRY(const std::string prompt, context.service.prompt_text(start.request));
  return OrderedJson{{"prompt", prompt}};
}

}  // namespace

void handle_llama_completion(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, plan_completion);
}
void handle_llama_tokenize(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, tokenize(context, exchange->request()));
}
void handle_llama_detokenize(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, detokenize(context, exchange->request()));
}
void handle_llama_template(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, apply_template(context, exchange->request()));
}

void handle_llama_props(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto model = context.service.model("");
  if (!model) return answer(exchange, std::unexpected(ApiError(model.error())));
  answer(exchange, OrderedJson{{"default_generation_settings", {{"n_ctx", model->context}}},
                               {"total_slots", context.service.state().slots},
                               {"model_alias", model->name},
                               {"modalities", {{"vision", model->sees}, {"audio", model->hears}}},
                               {"build_info", "lapidary " + context.version}});
}

void handle_llama_slots(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson list = OrderedJson::array();
  const ServiceState state = context.service.state();
  for (size_t i = 0; i < state.slot_states.size(); ++i) {
    const ServiceState::Slot& slot = state.slot_states[i];
    list.push_back({{"id", i},
                    {"n_ctx", slot.context},
                    {"is_processing", slot.busy},
                    {"model", slot.model},
                    {"class", slot.request_class == RequestClass::background ? "background" : "interactive"},
                    {"n_prompt_tokens", slot.prompt_tokens},
                    {"n_prompt_tokens_processed", slot.prompt_done},
                    {"n_decoded", slot.reply_tokens}});
  }
  answer(exchange, std::move(list));
}

}  // namespace lapidary
