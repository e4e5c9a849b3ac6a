// POST /v1/messages and /v1/messages/count_tokens
#include <fmt/format.h>

#include <algorithm>

#include "serve/collected.h"
#include "serve/form_input.h"
#include "serve/handlers.h"
#include "serve/media.h"
#include "serve/openai_input.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

constexpr size_t messages_max = 20'000;

struct MessagesSettings {
  std::string id, model;
  std::vector<std::string> stops;
  bool stream = false, parallel_calls = true, shows_thinking = true;
};

std::string sse(const char* name, const OrderedJson& data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, dump(data));
}

const char* stop_reason(const Collected& reply) {
  if (was_cut(reply.usage.reason)) return "max_tokens";
  if (!reply.calls.empty()) return "tool_use";
  return reply.usage.reason == StopReason::stop_string ? "stop_sequence" : "end_turn";
}

OrderedJson usage_json(const UsageEvent& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.reused_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.reused_tokens},
          {"output_tokens", usage.reply_tokens}};
}

OrderedJson arguments_of(const ToolCall& call) {
  return call.arguments.is_object() ? call.arguments : OrderedJson::object();
}

class MessagesTranslator final : public Translator {
 public:
  explicit MessagesTranslator(MessagesSettings settings) : settings_(std::move(settings)) {}

  bool streams() const override { return settings_.stream; }
  std::string ping() const override { return "event: ping\ndata: {\"type\":\"ping\"}\n\n"; }

  void event(size_t /*choice*/, GenerateEvent& event, std::string& out) override {
    const bool call = std::holds_alternative<ToolCallEvent>(event);
    if (call && !settings_.parallel_calls && !reply_.calls.empty()) return;
    if (std::holds_alternative<ThinkingDelta>(event) && !settings_.shows_thinking) return;
    const bool last = std::holds_alternative<UsageEvent>(event);
    reply_.take(event, "toolu_");
    if (!settings_.stream) return;
    if (const auto* prompt = std::get_if<PromptEvent>(&event)) {
      UsageEvent usage;
      usage.prompt_tokens = prompt->tokens;
      usage.reused_tokens = prompt->reused;
      start(usage, out);
    } else if (const auto* text = std::get_if<TextDelta>(&event)) {
      delta(Block::text, "text_delta", "text", text->text, out);
    } else if (const auto* bad = std::get_if<BadToolCall>(&event)) {
      delta(Block::text, "text_delta", "text", bad->raw, out);
    } else if (const auto* thought = std::get_if<ThinkingDelta>(&event)) {
      delta(Block::thinking, "thinking_delta", "thinking", thought->text, out);
    } else if (call) {
      tool_block(reply_.calls.back(), out);
    } else if (last) {
      finish(out);
    }
  }

  HttpReply whole() override {
    OrderedJson content = OrderedJson::array();
    if (!reply_.thinking.empty())
      content.push_back({{"type", "thinking"}, {"thinking", reply_.thinking}, {"signature", ""}});
    if (!reply_.text.empty()) content.push_back({{"type", "text"}, {"text", reply_.text}});
    for (const ToolCall& call : reply_.calls)
      content.push_back({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", arguments_of(call)}});
    OrderedJson message = head(reply_.usage);
    message["content"] = std::move(content);
    message["stop_reason"] = stop_reason(reply_);
    message["stop_sequence"] = stop_sequence();
    return json_reply(message);
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::anthropic, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    out += fmt::format("event: error\ndata: {}\n\n", shape_error(Dialect::anthropic, error).body);
  }

 private:
  enum class Block : uint8_t { none, text, thinking };

  OrderedJson head(const UsageEvent& usage) const {
    return {{"id", settings_.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", settings_.model},
            {"content", OrderedJson::array()},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr},
            {"usage", usage_json(usage)}};
  }

  // Which one it was is only known where there is one.
  OrderedJson stop_sequence() const {
    if (reply_.usage.reason == StopReason::stop_string && settings_.stops.size() == 1) return settings_.stops[0];
    return nullptr;
  }

  void start(const UsageEvent& usage, std::string& out) {
    if (started_) return;
    started_ = true;
    out += sse("message_start", {{"type", "message_start"}, {"message", head(usage)}});
  }

  void close_block(std::string& out) {
    if (block_ == Block::none) return;
    block_ = Block::none;
    out += sse("content_block_stop", {{"type", "content_block_stop"}, {"index", index_}});
  }

  void open_block(const OrderedJson& content, std::string& out) {
    start({}, out);
    close_block(out);
    ++index_;
    out += sse("content_block_start", {{"type", "content_block_start"}, {"index", index_}, {"content_block", content}});
  }

  void delta(Block block, const char* type, const char* key, const std::string& text, std::string& out) {
    if (block_ != block) {
      OrderedJson content = {{"type", key}, {key, ""}};
      if (block == Block::thinking) content["signature"] = "";
      open_block(content, out);
      block_ = block;
    }
    out += fmt::format(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{},\"delta\":"
        "{{\"type\":\"{}\",\"{}\":{}}}}}\n\n",
        index_, type, key, json_text(text));
  }

  void tool_block(const ToolCall& call, std::string& out) {
    open_block({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", OrderedJson::object()}}, out);
    out += sse("content_block_delta",
               {{"type", "content_block_delta"},
                {"index", index_},
                {"delta", {{"type", "input_json_delta"}, {"partial_json", dump(arguments_of(call))}}}});
    out += sse("content_block_stop", {{"type", "content_block_stop"}, {"index", index_}});
  }

  void finish(std::string& out) {
    start(reply_.usage, out);
    close_block(out);
    out += sse("message_delta", {{"type", "message_delta"},
                                 {"delta", {{"stop_reason", stop_reason(reply_)}, {"stop_sequence", stop_sequence()}}},
                                 {"usage", usage_json(reply_.usage)}});
    out += sse("message_stop", {{"type", "message_stop"}});
  }

  MessagesSettings settings_;
  Collected reply_;
  Block block_ = Block::none;
  int64_t index_ = -1;
  bool started_ = false;
};

Result<MediaPart> read_image(const Fields& block) {
  LAPIDARY_TRY(const OrderedJson* value, block.object("source"));
  if (value == nullptr) return malformed(block.place("source"), "{\"type\": \"base64\", …}", "nothing");
  const Fields source(*value, block.place("source"));
  LAPIDARY_TRY(const std::string type, source.required_text("type"));
  if (type == "url") {
    LAPIDARY_TRY(const std::string url, source.required_text("url"));
    return medium_from_url(MediaKind::image, url, source.place("url"));
  }
  if (type != "base64") return malformed(source.place("type"), "base64", fmt::format("\"{}\"", type.substr(0, 60)));
  LAPIDARY_TRY(const std::string data, source.required_text("data"));
  return medium_from_base64(MediaKind::image, data, source.place("data"));
}

// What a list of blocks holds, by kind.
struct Blocks {
  std::vector<ContentPart> parts;
  std::string reasoning;
  std::vector<ToolCall> calls;
  std::vector<Message> results;  // role tool
};

Result<void> read_blocks(const OrderedJson& content, const std::string& where, Blocks& blocks);

Result<Message> read_result(const Fields& block, Blocks& blocks) {
  Message message;
  message.role = "tool";
  LAPIDARY_TRY(message.tool_call_id, block.required_text("tool_use_id"));
  std::string text;
  if (const OrderedJson* content = block.find("content")) {
    Blocks inner;
    LAPIDARY_CHECK(read_blocks(*content, block.place("content"), inner));
    for (ContentPart& part : inner.parts) {
      if (auto* words = std::get_if<TextPart>(&part))
        text += words->text;
      else
        blocks.parts.push_back(std::move(part));  // a picture that a tool made: shown after the results
    }
  }
  LAPIDARY_TRY(const auto failed, block.boolean("is_error"));
  message.content = failed.value_or(false) ? "Error: " + text : text;
  return message;
}

Result<void> read_block(const Fields& block, Blocks& blocks) {
  LAPIDARY_TRY(const std::string type, block.required_text("type"));
  if (type == "text") {
    LAPIDARY_TRY(std::string text, block.required_text("text"));
    blocks.parts.emplace_back(TextPart{std::move(text)});
  } else if (type == "image") {
    LAPIDARY_TRY(MediaPart image, read_image(block));
    blocks.parts.emplace_back(std::move(image));
  } else if (type == "tool_use") {
    ToolCall call;
    LAPIDARY_TRY(call.id, block.required_text("id"));
    LAPIDARY_TRY(call.name, block.required_text("name"));
    LAPIDARY_TRY(const OrderedJson* input, block.object("input"));
    call.arguments = input != nullptr ? *input : OrderedJson::object();
    blocks.calls.push_back(std::move(call));
  } else if (type == "tool_result") {
    LAPIDARY_TRY(Message result, read_result(block, blocks));
    blocks.results.push_back(std::move(result));
  } else if (type == "thinking") {
    LAPIDARY_TRY(const auto thinking, block.text("thinking"));
    blocks.reasoning += thinking.value_or("");
  } else if (type != "redacted_thinking") {
    return malformed(block.place("type"), "text, image, tool_use, tool_result or thinking",
                     fmt::format("\"{}\"", type.substr(0, 60)));
  }
  return {};
}

Result<void> read_blocks(const OrderedJson& content, const std::string& where, Blocks& blocks) {
  if (content.is_string()) {
    blocks.parts.emplace_back(TextPart{content.get<std::string>()});
    return {};
  }
  if (!content.is_array()) return malformed(where, "a text or a list of blocks", shown(content));
  for (size_t i = 0; i < content.size(); ++i) {
    LAPIDARY_TRY(const Fields block, Fields::of(content[i], fmt::format("{}[{}]", where, i)));
    LAPIDARY_CHECK(read_block(block, blocks));
  }
  return {};
}

void set_parts(std::vector<ContentPart> parts, Message& message) {
  std::string text;
  for (const ContentPart& part : parts) {
    const auto* words = std::get_if<TextPart>(&part);
    if (words == nullptr) {
      message.content = std::move(parts);
      return;
    }
    text += words->text;
  }
  message.content = std::move(text);
}

Result<void> read_message(const OrderedJson& value, const std::string& where, std::vector<Message>& messages) {
  LAPIDARY_TRY(const Fields fields, Fields::of(value, where));
  LAPIDARY_TRY(const std::string role, fields.required_text("role"));
  if (role != "user" && role != "assistant")
    return malformed(fields.place("role"), "user or assistant", fmt::format("\"{}\"", role.substr(0, 60)));
  const OrderedJson* content = fields.find("content");
  if (content == nullptr) return malformed(fields.place("content"), "a text or a list of blocks", "nothing");
  Blocks blocks;
  LAPIDARY_CHECK(read_blocks(*content, fields.place("content"), blocks));
  if ((role == "user" && !blocks.calls.empty()) || (role == "assistant" && !blocks.results.empty()))
    return malformed(fields.place("content"), "calls from the assistant and results from the user", "the reverse");
  const bool only_results = !blocks.results.empty() && blocks.parts.empty();
  std::ranges::move(blocks.results, std::back_inserter(messages));
  if (only_results) return {};
  Message& message = messages.emplace_back();
  message.role = role;
  message.reasoning = std::move(blocks.reasoning);
  message.tool_calls = std::move(blocks.calls);
  set_parts(std::move(blocks.parts), message);
  return {};
}

Result<void> read_conversation(const Fields& fields, Conversation& conversation) {
  if (const OrderedJson* system = fields.find("system")) {
    Blocks blocks;
    LAPIDARY_CHECK(read_blocks(*system, "system", blocks));
    Message& message = conversation.messages.emplace_back();
    message.role = "system";
    set_parts(std::move(blocks.parts), message);
  }
  LAPIDARY_TRY(const OrderedJson* messages, fields.list("messages"));
  if (messages == nullptr || messages->empty()) return malformed("messages", "at least one message", "none");
  if (messages->size() > messages_max) return malformed("messages", fmt::format("at most {}", messages_max), "more");
  for (size_t i = 0; i < messages->size(); ++i)
    LAPIDARY_CHECK(read_message((*messages)[i], fmt::format("messages[{}]", i), conversation.messages));
  if (conversation.messages.back().role == "assistant")
    return fail(ErrorKind::wrong_use, "messages",
                "the last message must be the user's: a reply cannot be begun for the model");
  return {};
}

ApiResult<void> read_tool_choice(const Fields& fields, GenerateRequest& request, MessagesSettings& settings) {
  read_strict(fields, request.form);
  LAPIDARY_TRY(const OrderedJson* choice, fields.object("tool_choice"));
  if (choice == nullptr) return {};
  const Fields inner(*choice, "tool_choice");
  LAPIDARY_TRY(const std::string type, inner.required_text("type"));
  LAPIDARY_TRY(const auto single, inner.boolean("disable_parallel_tool_use"));
  request.form.parallel_calls = settings.parallel_calls = !single.value_or(false);
  if (type == "auto") return {};
  if (type == "any") return require_calls({}, "tool_choice", request.conversation, request.form);
  if (type == "tool") {
    LAPIDARY_TRY(std::string name, inner.required_text("name"));
    return require_calls({std::move(name)}, "tool_choice.name", request.conversation, request.form);
  }
  if (type != "none") return api_fail(400, "tool_choice.type: expected auto, any, tool or none");
  request.conversation.tools.clear();
  return {};
}

// {"type": "json_schema", "schema": …}, in either of the places that it has had.
ApiResult<void> read_output_format(const Fields& fields, ReplyForm& form) {
  LAPIDARY_TRY(const OrderedJson* config, fields.object("output_config"));
  LAPIDARY_TRY(const OrderedJson* format,
               config != nullptr ? Fields(*config, "output_config").object("format") : fields.object("output_format"));
  const std::string where = config != nullptr ? "output_config.format" : "output_format";
  if (format == nullptr && config != nullptr && fields.has("output_format"))
    return read_openai_format(fields.find("output_format"), "output_format", form);
  return read_openai_format(format, where, form);
}

ApiResult<void> read_tools(const Fields& fields, GenerateRequest& request, MessagesSettings& settings) {
  Conversation& conversation = request.conversation;
  LAPIDARY_TRY(const OrderedJson* tools, fields.list("tools"));
  if (tools != nullptr)
    for (size_t i = 0; i < tools->size(); ++i) {
      LAPIDARY_TRY(const Fields tool, Fields::of((*tools)[i], fmt::format("tools[{}]", i)));
      LAPIDARY_TRY(const auto type, tool.text("type"));
      if (type && *type != "custom")
        return api_fail(400, fmt::format("{}: only tools of your own (custom) are available", tool.place("type")));
      LAPIDARY_TRY(const std::string name, tool.required_text("name"));
      LAPIDARY_TRY(const auto description, tool.text("description"));
      LAPIDARY_TRY(OrderedJson made,
                   make_tool(name, description.value_or(""), tool.find("input_schema"), tool.where()));
      conversation.tools.push_back(std::move(made));
    }
  return read_tool_choice(fields, request, settings);
}

ApiResult<void> read_thinking_choice(const Fields& fields, GenerateRequest& request, MessagesSettings& settings) {
  LAPIDARY_TRY(const OrderedJson* thinking, fields.object("thinking"));
  if (thinking == nullptr) return {};
  const Fields inner(*thinking, "thinking");
  LAPIDARY_TRY(const std::string type, inner.required_text("type"));
  if (type != "enabled" && type != "disabled" && type != "adaptive")
    return api_fail(400, "thinking.type: expected enabled, adaptive or disabled");
  request.conversation.think = type != "disabled";
  LAPIDARY_TRY(const auto budget, inner.integer("budget_tokens", 1, std::numeric_limits<int64_t>::max()));
  if (budget) request.options.thinking_tokens_max = std::min(*budget, int64_t{1} << 30);
  LAPIDARY_TRY(const auto display, inner.text("display"));
  settings.shows_thinking = display != "omitted";
  return {};
}

struct MessagesRequest {
  RequestStart start;
  MessagesSettings settings;
};

ApiResult<MessagesRequest> read_request(Context& context, const HttpRequest& http, bool counting) {
  LAPIDARY_TRY(const OrderedJson body, parse_body(http.body));
  const Fields fields(body, "");
  LAPIDARY_TRY(const std::string name, fields.required_text("model"));
  MessagesRequest read;
  LAPIDARY_TRY(read.start, start_request(context, http, name));
  GenerateRequest& request = read.start.request;
  LAPIDARY_CHECK(read_conversation(fields, request.conversation));
  LAPIDARY_CHECK(read_tools(fields, request, read.settings));
  LAPIDARY_CHECK(read_thinking_choice(fields, request, read.settings));
  if (counting) return read;
  LAPIDARY_CHECK(read_output_format(fields, request.form));
  LAPIDARY_TRY(request.options.tokens_max, read_tokens_max(fields, "max_tokens"));
  if (request.options.tokens_max == 0)
    return api_fail(400, "max_tokens: expected a whole number from 1 on, found nothing");
  LAPIDARY_TRY(const SamplingWish wish, read_wish(fields));
  request.options.sampler = sampler_of(wish, read.start.model);
  LAPIDARY_TRY(request.options.stop_strings, read_stops(fields, "stop_sequences"));
  LAPIDARY_TRY(const auto stream, fields.boolean("stream"));
  read.settings.stream = stream.value_or(false);
  read.settings.stops = request.options.stop_strings;
  read.settings.id = new_id("msg_");
  read.settings.model = read.start.model.name;
  return read;
}

ApiResult<GenerationPlan> plan_messages(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(MessagesRequest read, read_request(context, http, false));
  GenerationPlan plan;
  plan.requests.push_back(std::move(read.start.request));
  plan.translator = std::make_unique<MessagesTranslator>(std::move(read.settings));
  return plan;
}

ApiResult<OrderedJson> count_tokens(Context& context, const HttpRequest& http) {
  LAPIDARY_TRY(const MessagesRequest read, read_request(context, http, true));
  LAPIDARY_TRY(const auto ids, context.service.prompt_ids(read.start.request));
  return OrderedJson{{"input_tokens", ids.size()}};
}

}  // namespace

void handle_messages(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, plan_messages);
}

void handle_count_tokens(Context& context, const std::shared_ptr<Exchange>& exchange) {
  answer(exchange, count_tokens(context, exchange->request()));
}

}  // namespace lapidary
