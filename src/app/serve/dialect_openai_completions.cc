// POST /v1/completions: a text continued, as it is. And the list of models.
#include <fmt/format.h>

#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/openai_input.h"
#include "serve/openai_output.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr int64_t choices_max = 16, logprobs_max = 5;
constexpr size_t prompts_max = 64;
constexpr int64_t tokens_default = 16;  // OpenAI's

struct CompletionSettings {
  std::string id, model;
  int64_t created = 0;
  size_t prompts = 1, choices = 1;  // of each prompt
  bool stream = false, usage_in_stream = false, logprobs = false;
};

OrderedJson legacy_logprobs(std::span<const TokenEvent> tokens, size_t offset) {
  OrderedJson texts = OrderedJson::array(), values = OrderedJson::array(), best = OrderedJson::array(),
              offsets = OrderedJson::array();
  const OrderedJson modern = logprobs_of(tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const OrderedJson& entry = modern["content"][i];
    texts.push_back(entry["token"]);
    values.push_back(entry["logprob"]);
    OrderedJson map = OrderedJson::object();
    for (const OrderedJson& candidate : entry["top_logprobs"])
      map[candidate["token"].get<std::string>()] = candidate["logprob"];
    best.push_back(std::move(map));
    offsets.push_back(offset);
    offset += tokens[i].chosen.bytes.size();
  }
  return {{"tokens", texts}, {"token_logprobs", values}, {"top_logprobs", best}, {"text_offset", offsets}};
}

class CompletionTranslator final : public Translator {
 public:
  explicit CompletionTranslator(CompletionSettings settings)
      : settings_(std::move(settings)), replies_(settings_.prompts * settings_.choices) {}

  bool streams() const override { return settings_.stream; }

  void event(size_t choice, GenerateEvent& event, std::string& out) override {
    Collected& reply = replies_[choice];
    const size_t tokens_before = reply.tokens.size(), bytes_before = reply.text.size();
    reply.take(event, "call_");
    if (!settings_.stream) return;
    const bool last = std::holds_alternative<UsageEvent>(event);
    if (reply.text.size() == bytes_before && !last) return;
    OrderedJson logprobs, finish;
    if (settings_.logprobs && !last)
      logprobs = legacy_logprobs(std::span(reply.tokens).subspan(tokens_before), bytes_before);
    if (last) finish = was_cut(reply.usage.reason) ? "length" : "stop";
    OrderedJson chunk = head();
    chunk["choices"] = {{{"index", choice},
                         {"text", reply.text.substr(bytes_before)},
                         {"logprobs", std::move(logprobs)},
                         {"finish_reason", std::move(finish)}}};
    if (settings_.usage_in_stream) chunk["usage"] = nullptr;
    out += fmt::format("data: {}\n\n", dump(chunk));
  }

  void end(std::string& out) override {
    if (settings_.usage_in_stream) {
      OrderedJson chunk = head();
      chunk["choices"] = OrderedJson::array();
      chunk["usage"] = usage();
      out += fmt::format("data: {}\n\n", dump(chunk));
    }
    out += "data: [DONE]\n\n";
  }

  HttpReply whole() override {
    OrderedJson answer = head(), choices = OrderedJson::array();
    for (size_t i = 0; i < replies_.size(); ++i) {
      OrderedJson logprobs;
      if (settings_.logprobs) logprobs = legacy_logprobs(replies_[i].tokens, 0);
      choices.push_back({{"index", i},
                         {"text", replies_[i].text},
                         {"logprobs", std::move(logprobs)},
                         {"finish_reason", was_cut(replies_[i].usage.reason) ? "length" : "stop"}});
    }
    answer["choices"] = std::move(choices);
    answer["usage"] = usage();
    return json_reply(answer);
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::openai, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    out += fmt::format("data: {}\n\ndata: [DONE]\n\n", shape_error(Dialect::openai, error).body);
  }

 private:
  OrderedJson head() const {
    return {{"id", settings_.id},
            {"object", "text_completion"},
            {"created", settings_.created},
            {"model", settings_.model}};
  }

  OrderedJson usage() const {
    UsageEvent sum;
    for (size_t i = 0; i < replies_.size(); ++i) {
      sum.reply_tokens += replies_[i].usage.reply_tokens;
      if (i % settings_.choices != 0) continue;  // choices of one prompt share it
      sum.prompt_tokens += replies_[i].usage.prompt_tokens;
      sum.reused_tokens += replies_[i].usage.reused_tokens;
    }
    Collected all;
    all.usage = sum;
    return openai_usage(std::span(&all, 1));
  }

  CompletionSettings settings_;
  std::vector<Collected> replies_;
};

struct RawPrompt {
  std::string text;
  std::vector<int32_t> ids;
};

Result<std::vector<int32_t>> read_ids(const OrderedJson& list, const std::string& where) {
  std::vector<int32_t> ids;
  for (const OrderedJson& id : list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max())
      return malformed(where, "token ids", shown(id));
    ids.push_back(id.get<int32_t>());
  }
  if (ids.empty()) return malformed(where, "at least one token", "none");
  return ids;
}

// A text, texts, ids, or lists of ids.
Result<std::vector<RawPrompt>> read_prompts(const Fields& fields) {
  const OrderedJson* prompt = fields.find("prompt");
  if (prompt == nullptr) return malformed("prompt", "a text", "nothing");
  std::vector<RawPrompt> prompts;
  if (prompt->is_string()) {
    prompts.push_back({prompt->get<std::string>(), {}});
  } else if (prompt->is_array() && !prompt->empty() && prompt->front().is_number()) {
    LAPIDARY_TRY(std::vector<int32_t> ids, read_ids(*prompt, "prompt"));
    prompts.push_back({"", std::move(ids)});
  } else if (prompt->is_array()) {
    for (const OrderedJson& one : *prompt) {
      RawPrompt raw;
      if (one.is_string()) {
        raw.text = one.get<std::string>();
      } else {
        if (!one.is_array()) return malformed("prompt", "texts, or lists of token ids", shown(one));
        LAPIDARY_TRY(raw.ids, read_ids(one, "prompt"));
      }
      prompts.push_back(std::move(raw));
    }
  }
  if (prompts.empty() || prompts.size() > prompts_max)
    return malformed("prompt", fmt::format("1 to {} prompts", prompts_max), std::to_string(prompts.size()));
  return prompts;
}

ApiResult<CompletionSettings> read_settings(const Fields& fields, GenerateRequest& request) {
  CompletionSettings settings;
  LAPIDARY_TRY(const auto stream, fields.boolean("stream"));
  settings.stream = stream.value_or(false);
  LAPIDARY_TRY(const OrderedJson* options, fields.object("stream_options"));
  if (options != nullptr) {
    LAPIDARY_TRY(const auto usage, Fields(*options, "stream_options").boolean("include_usage"));
    settings.usage_in_stream = settings.stream && usage.value_or(false);
  }
  LAPIDARY_TRY(const auto count, fields.integer("n", 1, choices_max));
  settings.choices = static_cast<size_t>(count.value_or(1));
  LAPIDARY_TRY(const auto logprobs, fields.integer("logprobs", 0, logprobs_max));
  if (logprobs) {
    settings.logprobs = true;
    request.top_logprobs = static_cast<int32_t>(*logprobs);
  }
  LAPIDARY_TRY(const auto echo, fields.boolean("echo"));
  LAPIDARY_TRY(const auto suffix, fields.text("suffix"));
  LAPIDARY_TRY(const auto best_of, fields.integer("best_of", 1, choices_max));
  if (echo.value_or(false)) return api_fail(400, "echo: is not available", "unsupported_parameter");
  if (suffix && !suffix->empty()) return api_fail(400, "suffix: these models do not fill in", "unsupported_parameter");
  if (best_of && *best_of != static_cast<int64_t>(settings.choices))
    return api_fail(400, "best_of: is not available", "unsupported_parameter");
  return settings;
}

ApiResult<GenerationPlan> plan_completion(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, name.value_or("")));
  GenerateRequest& request = start.request;
  const ModelInfo& model = start.model;
  request.options.raw = true;
  LAPIDARY_TRY(CompletionSettings settings, read_settings(fields, request));
  LAPIDARY_TRY(std::vector<RawPrompt> prompts, read_prompts(fields));
  LAPIDARY_CHECK(read_openai_format(fields.find("response_format"), "response_format", request.form));
  LAPIDARY_CHECK(read_llama_form(fields, request.form));
  LAPIDARY_CHECK(refuse_foreign_forms(fields));
  LAPIDARY_CHECK(read_sampling(fields, model, request.options.sampler));
  LAPIDARY_TRY(request.options.tokens_max, read_tokens_max(fields, "max_tokens"));
  if (request.options.tokens_max == 0) request.options.tokens_max = tokens_default;
  LAPIDARY_TRY(request.options.stop_strings, read_stops(fields, "stop"));
  settings.id = new_id("cmpl-");
  settings.model = model.name;
  settings.created = unix_seconds();
  settings.prompts = prompts.size();
  GenerationPlan plan;
  for (RawPrompt& prompt : prompts)
    for (size_t i = 0; i < settings.choices; ++i) {
      GenerateRequest& one = plan.requests.emplace_back(request);
      one.text = prompt.text;
      one.ids = prompt.ids;
      one.options.sampler.seed += i;
    }
  plan.translator = std::make_unique<CompletionTranslator>(std::move(settings));
  return plan;
}

}  // namespace

void handle_completions(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, plan_completion);
}

void handle_models(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson list = OrderedJson::array();
  for (const ModelInfo& model : context.service.models()) list.push_back(model_for_all(model));
  const OrderedJson first = list.empty() ? OrderedJson() : list.front()["id"],
                    last = list.empty() ? OrderedJson() : list.back()["id"];
  answer(exchange, OrderedJson{{"object", "list"},
                               {"data", list},
                               {"models", list},
                               {"has_more", false},
                               {"first_id", first},
                               {"last_id", last}});
}

void handle_model(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto model = context.service.model(exchange->request().parameter);
  if (!model) return answer(exchange, std::unexpected(submission_error(model.error(), 0)));
  answer(exchange, model_for_all(*model));
}

}  // namespace lapidary
