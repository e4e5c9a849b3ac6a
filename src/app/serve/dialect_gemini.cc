// Gemini's /v1beta: generateContent, streamGenerateContent, countTokens and the list of models.
#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/media.h"
#include "serve/openai_input.h"
#include "serve/openai_output.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr int64_t candidates_max = 8, logprobs_max = 20;
constexpr size_t contents_max = 20'000, functions_max = 2'000, enum_max = 5'000;

struct GeminiSettings {
  std::string id, model;
  size_t candidates = 1;
  bool stream = false, as_list = false, shows_thinking = false, logprobs = false;
};

OrderedJson usage_json(std::span<const Collected> replies) {
  int64_t reply = 0, thinking = 0;
  for (const Collected& one : replies) {
    reply += one.usage.reply_tokens;
    thinking += one.usage.thinking_tokens;
  }
  const UsageEvent& first = replies[0].usage;
  return {{"promptTokenCount", first.prompt_tokens},
          {"cachedContentTokenCount", first.reused_tokens},
          {"candidatesTokenCount", reply - thinking},
          {"thoughtsTokenCount", thinking},
          {"totalTokenCount", first.prompt_tokens + reply}};
}

OrderedJson call_part(const ToolCall& call) {
  return {{"functionCall",
           {{"id", call.id},
            {"name", call.name},
            {"args", call.arguments.is_object() ? call.arguments : OrderedJson::object()}}}};
}

OrderedJson candidate_of(const TokenProbability& token) {
  return {{"token", utf8_repair(token.bytes)},
          {"tokenId", token.token},
          {"logProbability", std::max(token.log_probability, -9999.0)}};
}

OrderedJson logprobs_result(const std::vector<TokenEvent>& tokens) {
  OrderedJson top = OrderedJson::array(), chosen = OrderedJson::array();
  for (const TokenEvent& event : tokens) {
    OrderedJson best = OrderedJson::array();
    for (const TokenProbability& token : event.best) best.push_back(candidate_of(token));
    top.push_back({{"candidates", std::move(best)}});
    chosen.push_back(candidate_of(event.chosen));
  }
  return {{"topCandidates", std::move(top)}, {"chosenCandidates", std::move(chosen)}};
}

class GeminiTranslator final : public Translator {
 public:
  explicit GeminiTranslator(GeminiSettings settings) : settings_(std::move(settings)), replies_(settings_.candidates) {}

  bool streams() const override { return settings_.stream; }
  std::string content_type() const override { return settings_.as_list ? "application/json" : "text/event-stream"; }
  std::string ping() const override { return settings_.as_list ? "" : ": reading\n\n"; }

  void event(size_t choice, GenerateEvent& event, std::string& out) override {
    if (std::holds_alternative<ThinkingDelta>(event) && !settings_.shows_thinking) return;
    Collected& reply = replies_[choice];
    const bool last = std::holds_alternative<UsageEvent>(event), call = std::holds_alternative<ToolCallEvent>(event);
    reply.take(event, "call-");
    if (!settings_.stream) return;
    OrderedJson parts = OrderedJson::array();
    if (const auto* text = std::get_if<TextDelta>(&event))
      parts.push_back({{"text", text->text}});
    else if (const auto* bad = std::get_if<BadToolCall>(&event))
      parts.push_back({{"text", bad->raw}});
    else if (const auto* thought = std::get_if<ThinkingDelta>(&event))
      parts.push_back({{"text", thought->text}, {"thought", true}});
    else if (call)
      parts.push_back(call_part(reply.calls.back()));
    else if (last)
      parts.push_back({{"text", ""}});
    else
      return;
    OrderedJson answer = {{"candidates", {candidate(choice, std::move(parts), last)}}};
    if (last) answer["usageMetadata"] = usage_json(replies_);
    add_names(answer);
    write(answer, out);
  }

  void end(std::string& out) override {
    if (settings_.as_list) out += begun_ ? "]" : "[]";
  }

  HttpReply whole() override {
    OrderedJson list = OrderedJson::array();
    for (size_t i = 0; i < replies_.size(); ++i) {
      const Collected& reply = replies_[i];
      OrderedJson parts = OrderedJson::array();
      if (!reply.thinking.empty()) parts.push_back({{"text", reply.thinking}, {"thought", true}});
      if (!reply.text.empty() || reply.calls.empty()) parts.push_back({{"text", reply.text}});
      for (const ToolCall& call : reply.calls) parts.push_back(call_part(call));
      list.push_back(candidate(i, std::move(parts), true));
    }
    OrderedJson answer = {{"candidates", std::move(list)}, {"usageMetadata", usage_json(replies_)}};
    add_names(answer);
    return json_reply(answer);
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::gemini, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    const std::string body = shape_error(Dialect::gemini, error).body;
    if (settings_.as_list)
      out += (begun_ ? ",\r\n" : "[") + body + "]";
    else
      out += fmt::format("data: {}\n\n", body);
  }

 private:
  OrderedJson candidate(size_t index, OrderedJson parts, bool last) const {
    OrderedJson made = {{"content", {{"role", "model"}, {"parts", std::move(parts)}}}};
    if (last) {
      made["finishReason"] = was_cut(replies_[index].usage.reason) ? "MAX_TOKENS" : "STOP";
      if (settings_.logprobs) made["logprobsResult"] = logprobs_result(replies_[index].tokens);
    }
    made["index"] = index;
    return made;
  }

  void add_names(OrderedJson& answer) const {
    answer["modelVersion"] = settings_.model;
    answer["responseId"] = settings_.id;
  }

  void write(const OrderedJson& answer, std::string& out) {
    if (settings_.as_list)
      out += (begun_ ? ",\r\n" : "[") + dump(answer);
    else
      out += fmt::format("data: {}\r\n\r\n", dump(answer));
    begun_ = true;
  }

  GeminiSettings settings_;
  std::vector<Collected> replies_;
  bool begun_ = false;
};

// Google's clients write inlineData, its documents inline_data as well.
const OrderedJson* either(const Fields& fields, const char* camel, const char* snake) {
  const OrderedJson* found = fields.find(camel);
  return found != nullptr ? found : fields.find(snake);
}

Result<ContentPart> read_inline(const Fields& data) {
  LAPIDARY_TRY(const std::string base64, data.required_text("data"));
  const char* type_key = data.has("mimeType") ? "mimeType" : "mime_type";
  LAPIDARY_TRY(const std::string type, data.required_text(type_key));
  if (!type.starts_with("image/") && !type.starts_with("audio/"))
    return malformed(data.place(type_key), "image/… or audio/…", fmt::format("\"{}\"", type.substr(0, 60)));
  const MediaKind kind = type.starts_with("image/") ? MediaKind::image : MediaKind::audio;
  LAPIDARY_TRY(MediaPart media, medium_from_base64(kind, base64, data.place("data")));
  return media;
}

// One content: text, thoughts, calls, results.
struct Parts {
  Message message;
  std::vector<ContentPart> parts;
  std::vector<Message> results;
};

Result<void> read_call(const Fields& fields, Parts& read) {
  ToolCall call;
  LAPIDARY_TRY(const auto id, fields.text("id"));
  call.id = id.value_or("");
  LAPIDARY_TRY(call.name, fields.required_text("name"));
  LAPIDARY_TRY(const OrderedJson* arguments, fields.object("args"));
  call.arguments = arguments != nullptr ? *arguments : OrderedJson::object();
  read.message.tool_calls.push_back(std::move(call));
  return {};
}

Result<void> read_response(const Fields& fields, Parts& read) {
  Message message;
  message.role = "tool";
  LAPIDARY_TRY(message.name, fields.required_text("name"));
  LAPIDARY_TRY(const auto id, fields.text("id"));
  message.tool_call_id = id.value_or("");
  LAPIDARY_TRY(const OrderedJson* response, fields.object("response"));
  message.content = response != nullptr ? *response : OrderedJson::object();
  read.results.push_back(std::move(message));
  return {};
}

Result<void> read_part(const OrderedJson& value, const std::string& where, Parts& read) {
  LAPIDARY_TRY(const Fields part, Fields::of(value, where));
  if (const OrderedJson* call = either(part, "functionCall", "function_call")) {
    LAPIDARY_TRY(const Fields fields, Fields::of(*call, part.place("functionCall")));
    return read_call(fields, read);
  }
  if (const OrderedJson* response = either(part, "functionResponse", "function_response")) {
    LAPIDARY_TRY(const Fields fields, Fields::of(*response, part.place("functionResponse")));
    return read_response(fields, read);
  }
  if (const OrderedJson* data = either(part, "inlineData", "inline_data")) {
    LAPIDARY_TRY(const Fields fields, Fields::of(*data, part.place("inlineData")));
    LAPIDARY_TRY(ContentPart media, read_inline(fields));
    read.parts.push_back(std::move(media));
    return {};
  }
  if (either(part, "fileData", "file_data") != nullptr)
    return fail(ErrorKind::wrong_use, part.place("fileData"), "files are not fetched: send the bytes, as inlineData");
  LAPIDARY_TRY(const auto text, part.text("text"));
  if (!text) return malformed(where, "text, inlineData, functionCall or functionResponse", "another part");
  LAPIDARY_TRY(const auto thought, part.boolean("thought"));
  if (thought.value_or(false))
    read.message.reasoning += *text;
  else
    read.parts.emplace_back(TextPart{*text});
  return {};
}

Result<void> read_content(const OrderedJson& content, const std::string& where, const char* role_default,
                          std::vector<Message>& messages) {
  Parts read;
  std::string role = role_default;
  if (content.is_string()) {
    read.parts.emplace_back(TextPart{content.get<std::string>()});
  } else {
    LAPIDARY_TRY(const Fields fields, Fields::of(content, where));
    LAPIDARY_TRY(const auto named, fields.text("role"));
    if (named && role != "system") role = *named;
    LAPIDARY_TRY(const OrderedJson* parts, fields.list("parts"));
    if (parts == nullptr) return malformed(fields.place("parts"), "a list of parts", "nothing");
    for (size_t i = 0; i < parts->size(); ++i)
      LAPIDARY_CHECK(read_part((*parts)[i], fmt::format("{}[{}]", fields.place("parts"), i), read));
  }
  if (role != "user" && role != "model" && role != "system" && role != "function")
    return malformed(where + ".role", "user or model", fmt::format("\"{}\"", role.substr(0, 60)));
  const bool only_results = !read.results.empty() && read.parts.empty();
  std::ranges::move(read.results, std::back_inserter(messages));
  if (only_results) return {};
  read.message.role = role == "model" ? "assistant" : role == "function" ? "user" : role;
  const bool text_only =
      std::ranges::all_of(read.parts, [](const ContentPart& part) { return std::holds_alternative<TextPart>(part); });
  if (text_only) {
    std::string text;
    for (const ContentPart& part : read.parts) text += std::get<TextPart>(part).text;
    read.message.content = std::move(text);
  } else {
    read.message.content = std::move(read.parts);
  }
  messages.push_back(std::move(read.message));
  return {};
}

ApiResult<void> read_conversation(const Fields& fields, Conversation& conversation) {
  if (const OrderedJson* system = either(fields, "systemInstruction", "system_instruction"))
    LAPIDARY_CHECK(read_content(*system, "systemInstruction", "system", conversation.messages));
  LAPIDARY_TRY(const OrderedJson* contents, fields.list("contents"));
  if (contents == nullptr || contents->empty()) return api_fail(400, "contents: expected at least one, found none");
  if (contents->size() > contents_max) return api_fail(400, "contents: too many");
  for (size_t i = 0; i < contents->size(); ++i)
    LAPIDARY_CHECK(read_content((*contents)[i], fmt::format("contents[{}]", i), "user", conversation.messages));
  return {};
}

ApiResult<void> read_calling(const Fields& fields, GenerateRequest& request) {
  const OrderedJson* config = either(fields, "toolConfig", "tool_config");
  if (config == nullptr) return {};
  LAPIDARY_TRY(const Fields outer, Fields::of(*config, "toolConfig"));
  const OrderedJson* calling = either(outer, "functionCallingConfig", "function_calling_config");
  if (calling == nullptr) return {};
  const std::string where = "toolConfig.functionCallingConfig";
  LAPIDARY_TRY(const Fields inner, Fields::of(*calling, where));
  LAPIDARY_TRY(const auto named, inner.text("mode"));
  const std::string mode = named.value_or("AUTO");
  const char* key = inner.has("allowedFunctionNames") ? "allowedFunctionNames" : "allowed_function_names";
  LAPIDARY_TRY(std::vector<std::string> names, inner.texts(key, functions_max));
  if (!names.empty() && mode != "ANY" && mode != "VALIDATED")
    return api_fail(400, where + ".allowedFunctionNames: needs mode ANY or VALIDATED");
  if (mode == "ANY") return require_calls(std::move(names), where, request.conversation, request.form);
  if (mode == "VALIDATED") {
    request.form.strict_calls = true;
    return allow_calls(std::move(names), where, request.conversation, request.form);
  }
  if (mode == "NONE") request.conversation.tools.clear();
  if (mode != "NONE" && mode != "AUTO" && mode != "MODE_UNSPECIFIED")
    return api_fail(400, where + ".mode: expected AUTO, ANY, VALIDATED or NONE");
  return {};
}

ApiResult<void> read_tools(const Fields& fields, GenerateRequest& request) {
  Conversation& conversation = request.conversation;
  LAPIDARY_TRY(const OrderedJson* tools, fields.list("tools"));
  for (size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    LAPIDARY_TRY(const Fields tool, Fields::of((*tools)[i], fmt::format("tools[{}]", i)));
    const OrderedJson* functions = either(tool, "functionDeclarations", "function_declarations");
    if (functions == nullptr || !functions->is_array())
      return api_fail(400, fmt::format("{}: only functionDeclarations are available", tool.where()));
    for (size_t k = 0; k < functions->size(); ++k) {
      LAPIDARY_TRY(const Fields function,
                   Fields::of((*functions)[k], fmt::format("{}[{}]", tool.place("functionDeclarations"), k)));
      LAPIDARY_TRY(const std::string name, function.required_text("name"));
      LAPIDARY_TRY(const auto description, function.text("description"));
      const OrderedJson* schema = either(function, "parametersJsonSchema", "parameters_json_schema");
      OrderedJson translated;
      if (const OrderedJson* own = function.find("parameters"); own != nullptr && schema == nullptr) {
        LAPIDARY_TRY(translated, schema_from_gemini(*own, function.place("parameters")));
        schema = &translated;
      }
      LAPIDARY_TRY(OrderedJson made, make_tool(name, description.value_or(""), schema, function.where()));
      conversation.tools.push_back(std::move(made));
    }
  }
  return read_calling(fields, request);
}

// responseMimeType with responseSchema (Google's own form) or responseJsonSchema.
ApiResult<void> read_response_form(const Fields& config, ReplyForm& form) {
  const OrderedJson* type = either(config, "responseMimeType", "response_mime_type");
  const OrderedJson* own = either(config, "responseSchema", "response_schema");
  const OrderedJson* plain = either(config, "responseJsonSchema", "response_json_schema");
  const bool text = type == nullptr || *type == "text/plain" || *type == "";
  const bool choice = type != nullptr && *type == "text/x.enum";
  if (!text && !choice && *type != "application/json")
    return api_fail(400, config.place("responseMimeType") + ": expected text/plain, application/json or text/x.enum");
  if (own != nullptr && plain != nullptr)
    return api_fail(400, config.place("responseSchema") + ": one schema is enough, responseJsonSchema is there too");
  const char* key = own != nullptr ? "responseSchema" : "responseJsonSchema";
  if (text && (own != nullptr || plain != nullptr))
    return api_fail(400, config.place(key) + ": needs responseMimeType application/json or text/x.enum");
  if (text) return {};
  OrderedJson schema;
  if (own != nullptr) {
    LAPIDARY_TRY(schema, schema_from_gemini(*own, config.place(key)));
  } else if (plain != nullptr) {
    schema = *plain;
  }
  if (!choice && schema.is_null()) {
    set_json_value(config.place("responseMimeType"), form);
    return {};
  }
  if (!choice) return set_schema(schema, config.place(key), form);
  const Fields inner(schema, config.place(key));
  if (!schema.is_object() || !inner.has("enum"))
    return api_fail(400, config.place(key) + ": text/x.enum needs a schema with an enum");
  LAPIDARY_TRY(const std::vector<std::string> values, inner.texts("enum", enum_max));
  if (values.empty()) return api_fail(400, config.place(key) + ".enum: expected at least one text, found none");
  set_choice(values, config.place(key), form);
  return {};
}

ApiResult<void> read_thinking(const Fields& config, GenerateRequest& request, GeminiSettings& settings) {
  LAPIDARY_TRY(const OrderedJson* thinking, config.object("thinkingConfig"));
  if (thinking == nullptr) return {};
  const Fields inner(*thinking, config.place("thinkingConfig"));
  LAPIDARY_TRY(const auto budget, inner.integer("thinkingBudget", -1, std::numeric_limits<int32_t>::max()));
  LAPIDARY_TRY(const auto level, inner.text("thinkingLevel"));
  LAPIDARY_TRY(const auto shown_thoughts, inner.boolean("includeThoughts"));
  settings.shows_thinking = shown_thoughts.value_or(false);
  request.conversation.think =
      budget ? *budget != 0 : (level ? *level != "MINIMAL" && *level != "minimal" : settings.shows_thinking);
  if (budget && *budget > 0) request.options.thinking_tokens_max = *budget;
  return {};
}

ApiResult<void> read_config(const Fields& config, const ModelInfo& model, GenerateRequest& request,
                            GeminiSettings& settings) {
  SamplingWish wish;
  LAPIDARY_TRY(wish.temperature, config.number("temperature", 0, temperature_max));
  LAPIDARY_TRY(wish.top_p, config.number("topP", 0, 1));
  LAPIDARY_TRY(const auto top_k, config.number("topK", -1, std::numeric_limits<int32_t>::max()));
  if (top_k) wish.top_k = static_cast<int64_t>(*top_k);
  LAPIDARY_TRY(wish.seed,
               config.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()));
  request.options.sampler = sampler_of(wish, model);
  LAPIDARY_TRY(request.options.tokens_max, read_tokens_max(config, "maxOutputTokens"));
  LAPIDARY_TRY(request.options.stop_strings, read_stops(config, "stopSequences"));
  LAPIDARY_TRY(const auto candidates, config.integer("candidateCount", 1, candidates_max));
  settings.candidates = static_cast<size_t>(candidates.value_or(1));
  LAPIDARY_TRY(const auto presence, config.number("presencePenalty", penalty_min, penalty_max));
  LAPIDARY_TRY(const auto frequency, config.number("frequencyPenalty", penalty_min, penalty_max));
  request.options.sampler.penalties.presence = presence.value_or(0);
  request.options.sampler.penalties.frequency = frequency.value_or(0);
  LAPIDARY_CHECK(read_response_form(config, request.form));
  LAPIDARY_TRY(const auto logprobs, config.boolean("responseLogprobs"));
  LAPIDARY_TRY(const auto best, config.integer("logprobs", 0, logprobs_max));
  settings.logprobs = logprobs.value_or(false);
  if (settings.logprobs) request.top_logprobs = static_cast<int32_t>(best.value_or(0));
  return read_thinking(config, request, settings);
}

ApiResult<RequestStart> read_prompt(Context& context, const HttpRequest& http, const Fields& fields) {
  LAPIDARY_TRY(RequestStart start, start_request(context, http, http.parameter));
  LAPIDARY_CHECK(read_conversation(fields, start.request.conversation));
  LAPIDARY_CHECK(read_tools(fields, start.request));
  if (fields.has("cachedContent"))
    return api_fail(400, "cachedContent: is not available; what prompts have in common is found again by itself");
  return start;
}

ApiResult<GenerationPlan> plan_generate(Context& context, const HttpRequest& http, bool stream) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(RequestStart start, read_prompt(context, http, fields));
  GeminiSettings settings;
  settings.stream = stream;
  settings.as_list = stream && http.query_value("alt") != "sse";
  settings.id = new_id("");
  settings.model = start.model.name;
  const OrderedJson nothing = OrderedJson::object();
  const OrderedJson* config = either(fields, "generationConfig", "generation_config");
  LAPIDARY_TRY(const Fields config_fields, Fields::of(config != nullptr ? *config : nothing, "generationConfig"));
  LAPIDARY_CHECK(read_config(config_fields, start.model, start.request, settings));
  GenerationPlan plan;
  for (size_t i = 0; i < settings.candidates; ++i) {
    plan.requests.push_back(start.request);
    plan.requests.back().options.sampler.seed += i;
  }
  plan.translator = std::make_unique<GeminiTranslator>(std::move(settings));
  return plan;
}

ApiResult<OrderedJson> count(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const OrderedJson* inner, fields.object("generateContentRequest"));
  LAPIDARY_TRY(const RequestStart start,
               read_prompt(context, http, inner != nullptr ? Fields(*inner, "generateContentRequest") : fields));
  LAPIDARY_TRY(const auto ids, context.service.prompt_ids(start.request));
  return OrderedJson{{"totalTokens", ids.size()}};
}

OrderedJson model_json(const ModelInfo& model) {
  return {{"name", "models/" + model.name},
          {"version", "1"},
          {"displayName", model.name},
          {"inputTokenLimit", model.context},
          {"outputTokenLimit", model.context},
          {"supportedGenerationMethods", {"generateContent", "streamGenerateContent", "countTokens"}},
          {"thinking", model.thinks}};
}

}  // namespace

void handle_gemini_generate(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, [](Context& c, const HttpRequest& http) { return plan_generate(c, http, false); });
}

void handle_gemini_stream(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, [](Context& c, const HttpRequest& http) { return plan_generate(c, http, true); });
}

void handle_gemini_count(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, count(context, exchange->request()));
}

void handle_gemini_models(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson list = OrderedJson::array();
  for (const ModelInfo& model : context.service.models()) list.push_back(model_json(model));
  answer(exchange, OrderedJson{{"models", std::move(list)}});
}

void handle_gemini_model(Context& context, const std::shared_ptr<Exchange>& exchange) {
  const auto model = context.service.model(exchange->request().parameter);
  if (!model) return answer(exchange, std::unexpected(submission_error(model.error(), 0)));
  answer(exchange, model_json(*model));
}

}  // namespace lapidary
