// Ollama's /api: chat and generate, as lines of JSON.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/media.h"
#include "serve/openai_input.h"
#include "serve/openai_output.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr double forever_seconds = 1e12;
constexpr size_t messages_max = 20'000;

std::string time_text(std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(time - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)),
                     nanoseconds);
}

std::string now_text() { return time_text(std::chrono::system_clock::now()); }
std::string seconds_text(double seconds_since_1970) {
  return time_text(
      std::chrono::system_clock::time_point(std::chrono::seconds(static_cast<int64_t>(seconds_since_1970))));
}

int64_t nanoseconds(double seconds) { return std::llround(seconds * 1e9); }

struct OllamaSettings {
  std::string model;
  bool stream = true, chat = true, logprobs = false;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
};

class OllamaTranslator final : public Translator {
 public:
  explicit OllamaTranslator(OllamaSettings settings) : settings_(std::move(settings)) {}

  bool streams() const override { return settings_.stream; }
  std::string content_type() const override { return "application/x-ndjson"; }
  std::string ping() const override { return ""; }

  void event(size_t /*choice*/, GenerateEvent& event, std::string& out) override {
    const size_t tokens_before = reply_.tokens.size();
    const bool last = std::holds_alternative<UsageEvent>(event);
    reply_.take(event, "call_");
    if (!settings_.stream) return;
    Collected piece;
    if (const auto* text = std::get_if<TextDelta>(&event))
      piece.text = text->text;
    else if (const auto* bad = std::get_if<BadToolCall>(&event))
      piece.text = bad->raw;
    else if (const auto* thought = std::get_if<ThinkingDelta>(&event))
      piece.thinking = thought->text;
    else if (std::holds_alternative<ToolCallEvent>(event))
      piece.calls.push_back(reply_.calls.back());
    else if (!last)
      return;
    OrderedJson line = head(piece);
    if (settings_.logprobs && reply_.tokens.size() > tokens_before)
      line["logprobs"] = logprobs_of(std::span(reply_.tokens).subspan(tokens_before))["content"];
    if (last) add_end(line);
    out += dump(line) + "\n";
  }

  HttpReply whole() override {
    OrderedJson line = head(reply_);
    if (settings_.logprobs) line["logprobs"] = logprobs_of(reply_.tokens)["content"];
    add_end(line);
    return json_reply(line);
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::ollama, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    out += shape_error(Dialect::ollama, error).body + "\n";
  }

 private:
  OrderedJson head(const Collected& piece) const {
    OrderedJson line = {{"model", settings_.model}, {"created_at", now_text()}};
    OrderedJson calls = OrderedJson::array();
    for (const ToolCall& call : piece.calls)
      calls.push_back({{"id", call.id},
                       {"function",
                        {{"name", call.name},
                         {"arguments", call.arguments.is_object() ? call.arguments : OrderedJson::object()}}}});
    if (settings_.chat) {
      OrderedJson message = {{"role", "assistant"}, {"content", piece.text}};
      if (!piece.thinking.empty()) message["thinking"] = piece.thinking;
      if (!calls.empty()) message["tool_calls"] = std::move(calls);
      line["message"] = std::move(message);
    } else {
      line["response"] = piece.text;
      if (!piece.thinking.empty()) line["thinking"] = piece.thinking;
    }
    line["done"] = false;
    return line;
  }

  void add_end(OrderedJson& line) const {
    const UsageEvent& usage = reply_.usage;
    const std::chrono::duration<double> total = std::chrono::steady_clock::now() - settings_.began;
    line["done"] = true;
    line["done_reason"] = was_cut(usage.reason) ? "length" : "stop";
    line["total_duration"] = nanoseconds(total.count());
    line["load_duration"] = nanoseconds(usage.load_seconds);
    line["prompt_eval_count"] = usage.prompt_tokens;
    line["prompt_eval_duration"] = nanoseconds(usage.prompt_seconds);
    line["eval_count"] = usage.reply_tokens;
    line["eval_duration"] = nanoseconds(usage.reply_seconds);
  }

  OllamaSettings settings_;
  Collected reply_;
};

// 300, "5m", "1h30m", "-1": seconds; negative: for ever.
Result<double> read_keep_alive(const Fields& fields) {
  const OrderedJson* value = fields.find("keep_alive");
  if (value == nullptr) return -1.0;
  double seconds = 0;
  if (value->is_number()) {
    seconds = value->get<double>();
  } else if (value->is_string()) {
    const auto& text = value->get_ref<const std::string&>();
    const char *at = text.data(), *end = at + text.size();
    const bool negative = at < end && *at == '-';
    at += negative;
    bool good = at < end;
    while (good && at < end) {
      double number = 0;
      const auto [next, problem] = std::from_chars(at, end, number);
      const std::string_view unit(next, static_cast<size_t>(end - next));
      good = problem == std::errc();
      at = next;
      if (unit.starts_with("ms"))
        seconds += number / 1000, at += 2;
      else if (unit.starts_with("h"))
        seconds += number * 3600, ++at;
      else if (unit.starts_with("m"))
        seconds += number * 60, ++at;
      else if (unit.starts_with("s"))
        seconds += number, ++at;
      else if (unit.empty())
        seconds += number;
      else
        good = false;
    }
    if (!good) return malformed("keep_alive", "seconds, or a time such as \"5m\"", shown(*value));
    if (negative) seconds = -seconds;
  } else {
    return malformed("keep_alive", "seconds, or a time such as \"5m\"", shown(*value));
  }
  if (!std::isfinite(seconds)) return malformed("keep_alive", "a finite time", shown(*value));
  return seconds < 0 ? forever_seconds : std::min(seconds, forever_seconds);
}

// true, false, "low", "medium", "high"
Result<bool> read_think(const Fields& fields) {
  const OrderedJson* value = fields.find("think");
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (*value == "low" || *value == "medium" || *value == "high") return true;
  return malformed("think", "true, false, low, medium or high", shown(*value));
}

Result<void> read_images(const Fields& fields, std::vector<ContentPart>& parts) {
  LAPIDARY_TRY(const OrderedJson* images, fields.list("images"));
  if (images == nullptr) return {};
  for (size_t i = 0; i < images->size(); ++i) {
    const std::string where = fmt::format("{}[{}]", fields.place("images"), i);
    if (!(*images)[i].is_string()) return malformed(where, "base64", shown((*images)[i]));
    LAPIDARY_TRY(MediaPart image,
                 medium_from_base64(MediaKind::image, (*images)[i].get_ref<const std::string&>(), where));
    parts.emplace_back(std::move(image));
  }
  return {};
}

void set_content(std::vector<ContentPart> media, std::string text, Message& message) {
  if (media.empty()) {
    message.content = std::move(text);
    return;
  }
  if (!text.empty()) media.emplace_back(TextPart{std::move(text)});
  message.content = std::move(media);
}

Result<Message> read_message(const OrderedJson& value, const std::string& where) {
  LAPIDARY_TRY(const Fields fields, Fields::of(value, where));
  Message message;
  LAPIDARY_TRY(message.role, fields.required_text("role"));
  constexpr std::array<std::string_view, 4> roles = {"system", "user", "assistant", "tool"};
  if (std::ranges::find(roles, message.role) == roles.end())
    return malformed(fields.place("role"), "system, user, assistant or tool",
                     fmt::format("\"{}\"", message.role.substr(0, 60)));
  LAPIDARY_TRY(const auto text, fields.text("content"));
  std::vector<ContentPart> media;
  LAPIDARY_CHECK(read_images(fields, media));
  set_content(std::move(media), text.value_or(""), message);
  LAPIDARY_TRY(const auto thinking, fields.text("thinking"));
  if (message.role == "assistant") message.reasoning = thinking.value_or("");
  LAPIDARY_TRY(const auto tool_name, fields.text("tool_name"));
  LAPIDARY_TRY(const auto call_id, fields.text("tool_call_id"));
  message.name = tool_name.value_or("");
  message.tool_call_id = call_id.value_or("");
  LAPIDARY_TRY(const OrderedJson* calls, fields.list("tool_calls"));
  for (size_t i = 0; calls != nullptr && i < calls->size(); ++i) {
    LAPIDARY_TRY(const Fields call_fields,
                 Fields::of((*calls)[i], fmt::format("{}[{}]", fields.place("tool_calls"), i)));
    LAPIDARY_TRY(const OrderedJson* function, call_fields.object("function"));
    if (function == nullptr) return malformed(call_fields.place("function"), "an object", "nothing");
    const Fields inner(*function, call_fields.place("function"));
    ToolCall call;
    LAPIDARY_TRY(const auto id, call_fields.text("id"));
    call.id = id.value_or("");
    LAPIDARY_TRY(call.name, inner.required_text("name"));
    LAPIDARY_TRY(const OrderedJson* arguments, inner.object("arguments"));
    call.arguments = arguments != nullptr ? *arguments : OrderedJson::object();
    message.tool_calls.push_back(std::move(call));
  }
  return message;
}

ApiResult<void> read_options(const Fields& fields, const ModelInfo& model, GenerateRequest& request) {
  LAPIDARY_TRY(const OrderedJson* object, fields.object("options"));
  const OrderedJson nothing = OrderedJson::object();
  const Fields options(object != nullptr ? *object : nothing, "options");
  LAPIDARY_TRY(const SamplingWish wish, read_wish(options));
  request.options.sampler = sampler_of(wish, model);
  LAPIDARY_TRY(request.options.sampler.penalties, read_penalties(options, PenaltyWindow::last_tokens));
  LAPIDARY_TRY(const auto predict, options.integer("num_predict", -2, std::numeric_limits<int64_t>::max()));
  if (predict && *predict > 0) request.options.tokens_max = std::min(*predict, int64_t{1} << 30);
  LAPIDARY_TRY(request.options.stop_strings, read_stops(options, "stop"));
  LAPIDARY_TRY(request.keep_alive_seconds, read_keep_alive(fields));
  LAPIDARY_TRY(request.conversation.think, read_think(fields));
  const OrderedJson* format = fields.find("format");
  if (format != nullptr && *format == "json") {
    set_json_object("format", request.form);
  } else if (format != nullptr && *format != "") {
    LAPIDARY_CHECK(set_schema(*format, "format", request.form));
  }
  LAPIDARY_TRY(const auto truncate, fields.boolean("truncate"));
  request.drop_oldest_turns = truncate.value_or(true);  // Ollama's way with what is too long
  return {};
}

ApiResult<void> read_settings(const Fields& fields, GenerateRequest& request, OllamaSettings& settings) {
  LAPIDARY_TRY(const auto stream, fields.boolean("stream"));
  settings.stream = stream.value_or(true);
  LAPIDARY_TRY(const auto logprobs, fields.boolean("logprobs"));
  LAPIDARY_TRY(const auto best, fields.integer("top_logprobs", 0, 20));
  settings.logprobs = logprobs.value_or(false);
  if (settings.logprobs) request.top_logprobs = static_cast<int32_t>(best.value_or(0));
  return {};
}

GenerationPlan plan_of(RequestStart start, OllamaSettings settings) {
  settings.model = start.model.name;
  GenerationPlan plan;
  plan.requests.push_back(std::move(start.request));
  plan.translator = std::make_unique<OllamaTranslator>(std::move(settings));
  return plan;
}

// "spark:latest" is "spark" to Ollama's clients.
std::string without_tag(std::string name) {
  constexpr std::string_view latest = ":latest";
  if (name.ends_with(latest)) name.resize(name.size() - latest.size());
  return name;
}

ApiResult<GenerationPlan> plan_chat(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const std::string name, fields.required_text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, without_tag(name)));
  OllamaSettings settings;
  LAPIDARY_TRY(const OrderedJson* messages, fields.list("messages"));
  if (messages == nullptr || messages->empty())
    return api_fail(400, "messages: expected at least one message, found none");
  if (messages->size() > messages_max) return api_fail(400, "messages: too many");
  for (size_t i = 0; i < messages->size(); ++i) {
    LAPIDARY_TRY(Message message, read_message((*messages)[i], fmt::format("messages[{}]", i)));
    start.request.conversation.messages.push_back(std::move(message));
  }
  if (const OrderedJson* tools = fields.find("tools")) {
    LAPIDARY_TRY(start.request.conversation.tools, read_tools(*tools, "tools"));
  }
  LAPIDARY_CHECK(read_options(fields, start.model, start.request));
  LAPIDARY_CHECK(read_settings(fields, start.request, settings));
  return plan_of(std::move(start), std::move(settings));
}

ApiResult<GenerationPlan> plan_generate(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const std::string name, fields.required_text("model"));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, without_tag(name)));
  OllamaSettings settings;
  settings.chat = false;
  LAPIDARY_TRY(std::string prompt, fields.required_text("prompt"));
  for (const char* key : {"suffix", "template"}) {
    LAPIDARY_TRY(const auto text, fields.text(key));
    if (text && !text->empty()) return api_fail(400, fmt::format("{}: is not available", key));
  }
  if (const OrderedJson* ids = fields.find("context"); ids != nullptr && !ids->empty())
    return api_fail(400, "context: is not available; use /api/chat, which finds earlier turns again by itself");
  LAPIDARY_TRY(const auto raw, fields.boolean("raw"));
  if (raw.value_or(false)) {
    start.request.options.raw = true;
    start.request.text = std::move(prompt);
  } else {
    LAPIDARY_TRY(const auto system, fields.text("system"));
    if (system && !system->empty()) {
      Message& message = start.request.conversation.messages.emplace_back();
      message.role = "system";
      message.content = *system;
    }
    std::vector<ContentPart> media;
    LAPIDARY_CHECK(read_images(fields, media));
    Message& message = start.request.conversation.messages.emplace_back();
    message.role = "user";
    set_content(std::move(media), std::move(prompt), message);
  }
  LAPIDARY_CHECK(read_options(fields, start.model, start.request));
  LAPIDARY_CHECK(read_settings(fields, start.request, settings));
  return plan_of(std::move(start), std::move(settings));
}

OrderedJson details(const ModelInfo& model) {
  return {{"parent_model", ""},
          {"format", model.path.ends_with(".gguf") ? "gguf" : "safetensors"},
          {"family", model.architecture},
          {"families", {model.architecture}},
          {"parameter_size", model.parameters >= 1'000'000'000
                                 ? fmt::format("{:.1f}B", static_cast<double>(model.parameters) / 1e9)
                                 : fmt::format("{:.1f}M", static_cast<double>(model.parameters) / 1e6)},
          {"quantization_level", model.quantization}};
}

OrderedJson entry(const ModelInfo& model) {
  return {{"name", model.name},
          {"model", model.name},
          {"size", model.file_bytes},
          {"digest", ""},
          {"details", details(model)}};
}

ApiResult<OrderedJson> show(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const auto name, fields.text("model"));
  LAPIDARY_TRY(const auto old_name, fields.text("name"));
  LAPIDARY_TRY(const RequestStart start,
               start_request(context, http, without_tag(name ? *name : old_name.value_or(""))));
  const ModelInfo& model = start.model;
  OrderedJson abilities = OrderedJson::array({"completion"});
  if (model.calls_tools) abilities.push_back("tools");
  if (model.sees) abilities.push_back("vision");
  if (model.hears) abilities.push_back("audio");
  if (model.thinks) abilities.push_back("thinking");
  return OrderedJson{{"modelfile", ""},
                     {"parameters", ""},
                     {"template", ""},
                     {"details", details(model)},
                     {"model_info",
                      {{"general.architecture", model.architecture},
                       {"general.parameter_count", model.parameters},
                       {model.architecture + ".context_length", model.context_trained}}},
                     {"capabilities", std::move(abilities)},
                     {"modified_at", seconds_text(static_cast<double>(model.modified_seconds))}};
}

}  // namespace

void handle_ollama_root(Context& /*context*/, const std::shared_ptr<Exchange>& exchange) {
  HttpReply reply;
  reply.content_type = "text/plain; charset=utf-8";
  reply.body = "Ollama is running";  // some clients look for exactly this
  exchange->reply(std::move(reply));
}

void handle_ollama_chat(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, plan_chat);
}
void handle_ollama_generate(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, plan_generate);
}

void handle_ollama_tags(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson list = OrderedJson::array();
  for (const ModelInfo& model : context.service.models()) {
    OrderedJson item = entry(model);
    item["modified_at"] = seconds_text(static_cast<double>(model.modified_seconds));
    list.push_back(std::move(item));
  }
  answer(exchange, OrderedJson{{"models", std::move(list)}});
}

void handle_ollama_show(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, show(context, exchange->request()));
}

void handle_ollama_ps(Context& context, const std::shared_ptr<Exchange>& exchange) {
  OrderedJson list = OrderedJson::array();
  for (const ModelInfo& model : context.service.models()) {
    if (!model.loaded) continue;
    OrderedJson item = entry(model);
    const double left = model.expires_seconds < 0 ? forever_seconds / 1000 : model.expires_seconds;
    item["expires_at"] = seconds_text(static_cast<double>(unix_seconds()) + left);
    item["size_vram"] = 0;
    item["context_length"] = model.context;
    list.push_back(std::move(item));
  }
  answer(exchange, OrderedJson{{"models", std::move(list)}});
}

void handle_ollama_version(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, OrderedJson{{"version", context.version}});
}

}  // namespace lapidary
