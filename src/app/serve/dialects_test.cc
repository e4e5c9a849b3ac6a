// Every dialect with what a small model in a test does not do by itself: thoughts, several calls, broken ones, errors.
#include <doctest/doctest.h>

#include "serve/dialect_bench_for_test.h"
#include "serve/handlers.h"
#include "serve/routes.h"

namespace lapidary {
namespace {

using serve_test::FakeExchange;

ToolCallEvent call_of(const char* name, int64_t a) { return ToolCallEvent{ToolCall{"", name, OrderedJson{{"a", a}}}}; }

// A thought, a text, two calls, the end.
void play_everything(const GenerateRequest&, const GenerateSink& sink) {
  sink(ProgressEvent{5, 10});
  sink(PromptEvent{10, 4, 0.5});
  sink(ThinkingDelta{"Hm"});
  sink(ThinkingDelta{"m."});
  sink(TextDelta{"Let \"me\" "});
  sink(TextDelta{"see."});
  sink(call_of("f", 1));
  sink(call_of("g", 2));
  UsageEvent usage;
  usage.prompt_tokens = 10;
  usage.reused_tokens = 4;
  usage.reply_tokens = 20;
  usage.thinking_tokens = 2;
  usage.reason = StopReason::tool_call;
  sink(std::move(usage));
}

struct Bench : serve_test::DialectBench {
  Bench() { service.script = play_everything; }

  OrderedJson json(const std::string& path, const OrderedJson& body) {
    const HttpReply reply = ask(path, body);
    REQUIRE_MESSAGE(reply.status == 200, reply.body);
    return parse_ordered_json(reply.body, "reply").value();
  }
};

std::vector<OrderedJson> events_of(const std::string& text) {
  std::vector<OrderedJson> events;
  for (size_t at = text.find("data: "); at != std::string::npos; at = text.find("data: ", at + 1)) {
    const std::string line = text.substr(at + 6, text.find_first_of("\r\n", at) - at - 6);
    if (line != "[DONE]") events.push_back(parse_ordered_json(line, "event").value());
  }
  return events;
}

const OrderedJson who = {{"role", "user"}, {"content", "?"}};
const OrderedJson chat = {{"messages", OrderedJson::array({who})}};

OrderedJson with(OrderedJson base, const char* key, const OrderedJson& value) {
  base[key] = value;
  return base;
}

}  // namespace

TEST_CASE("advisory 29: every route has a scope, and only /health has none") {
  for (const Route& route : route_table()) {
    CAPTURE(route.pattern);
    CHECK((route.scope == Scope::none) == (std::string(route.pattern) == "/health"));
    const std::string pattern = route.pattern;
    const bool manages = pattern.starts_with("/lapidary/") || pattern == "/api/pull" || pattern == "/api/push" ||
                         pattern == "/api/create" || pattern == "/api/copy" || pattern == "/api/delete";
    CHECK((route.scope >= Scope::manage) == manages);
  }
}

TEST_CASE("chat: thoughts apart from text, several calls, usage") {
  Bench bench;
  const OrderedJson reply = bench.json("/v1/chat/completions", chat);
  const OrderedJson& message = reply["choices"][0]["message"];
  CHECK(message["reasoning_content"] == "Hmm.");
  CHECK(message["content"] == "Let \"me\" see.");
  CHECK(message["tool_calls"].size() == 2);
  CHECK(message["tool_calls"][1]["function"]["arguments"] == "{\"a\":2}");
  CHECK(reply["choices"][0]["finish_reason"] == "tool_calls");
  CHECK(reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 4);
  CHECK(reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2);
}

TEST_CASE("penalties look at the reply, or at the last tokens of prompt and reply, as each dialect has it") {
  Bench bench;
  const auto penalties = [&](const char* path, OrderedJson body) {
    const HttpReply reply = bench.ask(path, std::move(body));
    REQUIRE_MESSAGE(reply.status == 200, reply.body);
    return bench.service.requests.back().options.sampler.penalties;
  };
  CHECK_FALSE(penalties("/v1/chat/completions", chat).active());
  for (const auto& [path, words] : {std::pair<const char*, OrderedJson>{"/v1/chat/completions", chat},
                                    {"/v1/completions", {{"prompt", "a"}}},
                                    {"/v1/responses", {{"input", "a"}}}}) {
    CAPTURE(path);
    const OrderedJson body = with(with(words, "presence_penalty", 0.5), "frequency_penalty", -1);
    const PenaltyOptions openai = penalties(path, body);
    CHECK(openai.presence == 0.5);
    CHECK(openai.frequency == -1);
    CHECK(openai.last_n == -1);
    CHECK_FALSE(openai.prompt);
    const PenaltyOptions repeat = penalties(path, with(body, "repeat_penalty", 1.5));
    CHECK(repeat.repeat == 1.5);
    CHECK(repeat.last_n == 64);
    CHECK(repeat.prompt);
    CHECK(bench.ask(path, with(body, "presence_penalty", 2.5)).status == 400);
    CHECK(bench.ask(path, with(body, "repeat_penalty", 0)).status == 400);
  }
  const PenaltyOptions llama =
      penalties("/completion", {{"prompt", "a"}, {"frequency_penalty", 1}, {"repeat_last_n", -1}});
  CHECK(llama.frequency == 1);
  CHECK(llama.last_n == -1);
  CHECK(llama.prompt);
  const PenaltyOptions ollama =
      penalties("/api/generate",
                {{"model", "fake"}, {"prompt", "a"}, {"options", {{"repeat_penalty", 1.1}, {"repeat_last_n", 9}}}});
  CHECK(ollama.repeat == 1.1);
  CHECK(ollama.last_n == 9);
  CHECK(ollama.prompt);
  const PenaltyOptions gemini = penalties(
      "/v1beta/models/fake:generateContent",
      {{"contents", OrderedJson::array({{{"role", "user"}, {"parts", OrderedJson::array({{{"text", "a"}}})}}})},
       {"generationConfig", {{"presencePenalty", 1}, {"frequencyPenalty", 0.25}}}});
  CHECK(gemini.presence == 1);
  CHECK(gemini.frequency == 0.25);
  CHECK_FALSE(gemini.prompt);
}

TEST_CASE("chat stream: what the strictest client wants") {
  Bench bench;
  const auto events = events_of(bench.ask("/v1/chat/completions", with(chat, "stream", true)).body);
  std::vector<OrderedJson> calls;
  int roles = 0, ends = 0;
  for (const OrderedJson& event : events) {
    const OrderedJson& choice = event["choices"][0];
    REQUIRE(choice.contains("finish_reason"));
    roles += choice["delta"].contains("role");
    ends += choice["finish_reason"].is_string();
    if (choice["delta"].contains("tool_calls")) calls.push_back(choice["delta"]["tool_calls"][0]);
  }
  CHECK(roles == 1);
  CHECK(events[0]["choices"][0]["delta"].contains("role"));
  CHECK(ends == 1);
  REQUIRE(calls.size() == 4);
  CHECK(calls[0]["index"] == 0);
  CHECK(calls[0]["type"] == "function");
  CHECK(calls[0]["function"]["name"] == "f");
  CHECK(calls[0]["id"].is_string());
  CHECK(calls[2]["index"] == 1);
  CHECK(calls[2]["function"]["name"] == "g");
  CHECK(calls[3]["function"]["arguments"] == "{\"a\":2}");
}

TEST_CASE("one call at a time, if that is wished") {
  Bench bench;
  const OrderedJson reply = bench.json("/v1/chat/completions", with(chat, "parallel_tool_calls", false));
  CHECK(reply["choices"][0]["message"]["tool_calls"].size() == 1);
}

TEST_CASE("a call that cannot be read is given as text") {
  Bench bench;
  bench.service.script = [](const GenerateRequest&, const GenerateSink& sink) {
    sink(BadToolCall{"call:f{", "cut off"});
    sink(UsageEvent{});
  };
  CHECK(bench.json("/v1/chat/completions", chat)["choices"][0]["message"]["content"] == "call:f{");
  CHECK(bench.json("/v1/messages", with(with(chat, "model", "fake"), "max_tokens", 5))["content"][0]["text"] ==
        "call:f{");
}

TEST_CASE("several choices have seeds of their own") {
  Bench bench;
  const OrderedJson reply = bench.json("/v1/chat/completions", with(with(chat, "n", 3), "seed", 7));
  CHECK(reply["choices"].size() == 3);
  REQUIRE(bench.service.requests.size() == 3);
  CHECK(bench.service.requests[2].options.sampler.seed == 9);
}

TEST_CASE("messages: blocks in order, input apart from what was cached") {
  Bench bench;
  const OrderedJson body = with(with(chat, "model", "fake"), "max_tokens", 100);
  const OrderedJson reply = bench.json("/v1/messages", body);
  REQUIRE(reply["content"].size() == 4);
  CHECK(reply["content"][0]["thinking"] == "Hmm.");
  CHECK(reply["content"][1]["text"] == "Let \"me\" see.");
  CHECK(reply["content"][3]["input"]["a"] == 2);
  CHECK(reply["stop_reason"] == "tool_use");
  CHECK(reply["usage"]["input_tokens"] == 6);
  CHECK(reply["usage"]["cache_read_input_tokens"] == 4);

  const auto events = events_of(bench.ask("/v1/messages", with(body, "stream", true)).body);
  std::vector<std::string> types;
  for (const OrderedJson& event : events) types.push_back(event["type"]);
  CHECK(types == std::vector<std::string>{"message_start", "content_block_start", "content_block_delta",
                                          "content_block_delta", "content_block_stop", "content_block_start",
                                          "content_block_delta", "content_block_delta", "content_block_stop",
                                          "content_block_start", "content_block_delta", "content_block_stop",
                                          "content_block_start", "content_block_delta", "content_block_stop",
                                          "message_delta", "message_stop"});
  CHECK(events[0]["message"]["usage"]["input_tokens"] == 6);
  CHECK(events[10]["delta"]["partial_json"] == "{\"a\":1}");
}

TEST_CASE("messages: results come back as tools' messages, before the user's own words") {
  Bench bench;
  const OrderedJson body =
      parse_ordered_json(R"({"model": "fake", "max_tokens": 9, "system": [{"type": "text", "text": "S"}], "messages": [
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "T", "signature": ""}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "R"}]}, {"type": "text", "text": "and?"}]}]})",
                         "body")
          .value();
  bench.json("/v1/messages", body);
  const auto& messages = bench.service.requests[0].conversation.messages;
  REQUIRE(messages.size() == 5);
  CHECK(messages[0].role == "system");
  CHECK(messages[2].reasoning == "T");
  CHECK(messages[2].tool_calls[0].id == "t1");
  CHECK(messages[3].role == "tool");
  CHECK(std::get<std::string>(messages[3].content) == "R");
  CHECK(std::get<std::string>(messages[4].content) == "and?");
  CHECK(bench.json("/v1/messages/count_tokens", body)["input_tokens"] == 50);
}

TEST_CASE("Gemini: thoughts are parts, and only shown if they are asked for") {
  Bench bench;
  OrderedJson body = parse_ordered_json(R"({"contents": [{"parts": [{"text": "?"}]}]})", "body").value();
  const std::string path = "/v1beta/models/fake:generateContent";
  OrderedJson parts = bench.json(path, body)["candidates"][0]["content"]["parts"];
  REQUIRE(parts.size() == 3);
  CHECK(parts[1]["functionCall"]["args"]["a"] == 1);
  CHECK_FALSE(bench.service.requests[0].conversation.think);
  body["generationConfig"] = {{"thinkingConfig", {{"includeThoughts", true}}}};
  parts = bench.json(path, body)["candidates"][0]["content"]["parts"];
  CHECK(parts[0]["thought"] == true);
  CHECK(bench.service.requests[1].conversation.think);
  const auto events =
      events_of(bench.ask("/v1beta/models/fake:streamGenerateContent", body, {}, {{"alt", "sse"}}).body);
  CHECK(events.back()["candidates"][0]["finishReason"] == "STOP");
  CHECK(events.back()["usageMetadata"]["promptTokenCount"] == 10);
  const std::string list = bench.ask("/v1beta/models/fake:streamGenerateContent", body).body;
  CHECK(parse_ordered_json(list, "list").value().size() == events.size());
}

TEST_CASE("Ollama: lines, thoughts, times in nanoseconds") {
  Bench bench;
  OrderedJson body = with(with(chat, "model", "fake:latest"), "keep_alive", "1h30m");
  const HttpReply reply = bench.ask("/api/chat", body);
  CHECK(reply.content_type == "application/x-ndjson");
  std::vector<OrderedJson> lines;
  for (size_t at = 0; at < reply.body.size(); at = reply.body.find('\n', at) + 1)
    lines.push_back(parse_ordered_json(reply.body.substr(at, reply.body.find('\n', at) - at), "line").value());
  REQUIRE(lines.size() == 7);
  CHECK(lines[0]["message"]["thinking"] == "Hm");
  CHECK(lines[4]["message"]["tool_calls"][0]["function"]["arguments"]["a"] == 1);
  CHECK(lines[6]["done"] == true);
  CHECK(lines[6]["prompt_eval_count"] == 10);
  CHECK(bench.service.requests[0].keep_alive_seconds == 5400);
  for (const auto& [text, seconds] : std::vector<std::pair<OrderedJson, double>>{
           {"5m", 300}, {300, 300}, {"-1", 1e12}, {-1, 1e12}, {"0", 0}, {"250ms", 0.25}}) {
    bench.json("/api/chat", with(with(body, "keep_alive", text), "stream", false));
    CHECK(bench.service.requests.back().keep_alive_seconds == seconds);
  }
  CHECK(bench.ask("/api/chat", with(body, "keep_alive", "5 years")).status == 400);
}

TEST_CASE("Responses: items, numbers in sequence, kept and continued") {
  Bench bench;
  const OrderedJson first = bench.json("/v1/responses", {{"input", "?"}});
  REQUIRE(first["output"].size() == 4);
  CHECK(first["output"][0]["content"][0]["text"] == "Hmm.");
  CHECK(first["output"][1]["content"][0]["text"] == "Let \"me\" see.");
  CHECK(first["output"][3]["name"] == "g");
  const OrderedJson output = {
      {"type", "function_call_output"}, {"call_id", first["output"][3]["call_id"]}, {"output", "R"}};
  bench.json("/v1/responses", {{"input", OrderedJson::array({output})}, {"previous_response_id", first["id"]}});
  const auto& messages = bench.service.requests[1].conversation.messages;
  REQUIRE(messages.size() == 3);
  CHECK(messages[1].tool_calls.size() == 2);
  CHECK(messages[2].tool_call_id == messages[1].tool_calls[1].id);

  const auto events = events_of(bench.ask("/v1/responses", {{"input", "?"}, {"stream", true}}).body);
  for (size_t i = 0; i < events.size(); ++i) CHECK(events[i]["sequence_number"] == i);
  CHECK(events.front()["type"] == "response.created");
  CHECK(events.back()["type"] == "response.completed");
  CHECK(events.back()["response"]["output"].size() == 4);
}

TEST_CASE("advisory 27: a response is there for its key only") {
  Bench bench;
  const auto ask = [&](const char* method, const std::string& path, const std::string& key) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.caller.key_id = key;
    request.body = R"({"input": "?"})";
    const RouteMatch match = find_route(method, path);
    REQUIRE(match.route != nullptr);
    request.parameter = match.parameter;
    const auto exchange = std::make_shared<FakeExchange>(std::move(request));
    match.route->handler(bench.context, exchange);
    exchange->run();
    return exchange->answer;
  };
  const std::string id = parse_ordered_json(ask("POST", "/v1/responses", "mine").body, "reply").value()["id"];
  for (const auto& [method, path] :
       std::vector<std::pair<const char*, std::string>>{{"GET", "/v1/responses/" + id},
                                                        {"GET", "/v1/responses/" + id + "/input_items"},
                                                        {"POST", "/v1/responses/" + id + "/cancel"},
                                                        {"DELETE", "/v1/responses/" + id}})
    CHECK(ask(method, path, "another").status == 404);
  CHECK(ask("GET", "/v1/responses/" + id, "mine").status == 200);
  CHECK(ask("GET", "/v1/responses/" + id + "/input_items", "mine").status == 200);
  CHECK(ask("DELETE", "/v1/responses/" + id, "mine").status == 200);
  CHECK(ask("GET", "/v1/responses/" + id, "mine").status == 404);
}

TEST_CASE("a full queue is 429 with Retry-After, in every dialect's shape") {
  Bench bench;
  bench.service.full = true;
  const OrderedJson body = with(with(with(chat, "model", "fake"), "max_tokens", 5), "input", "?");
  const OrderedJson gemini = parse_ordered_json(R"({"contents": [{"parts": [{"text": "?"}]}]})", "body").value();
  for (const char* path :
       {"/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses", "/v1beta/models/fake:generateContent"}) {
    const HttpReply reply = bench.ask(path, std::string(path).starts_with("/v1beta") ? gemini : body);
    CHECK(reply.status == 429);
    REQUIRE(reply.headers.size() == 1);
    CHECK(reply.headers[0] == std::pair<std::string, std::string>("Retry-After", "7"));
    CHECK(reply.body.find("busy") != std::string::npos);
  }
}

TEST_CASE("an error in the middle of a stream ends it in the dialect's way") {
  Bench bench;
  bench.service.script = [](const GenerateRequest&, const GenerateSink& sink) {
    sink(PromptEvent{10, 0, 0});
    sink(TextDelta{"a"});
    sink(Error{ErrorKind::out_of_memory, "engine", "no room"});
  };
  const OrderedJson body = with(with(with(chat, "model", "fake"), "max_tokens", 5), "stream", true);
  CHECK(events_of(bench.ask("/v1/chat/completions", body).body).back()["error"]["message"] == "engine: no room");
  CHECK(events_of(bench.ask("/v1/messages", body).body).back()["error"]["type"] == "overloaded_error");
  CHECK(bench.ask("/v1/chat/completions", with(body, "stream", false)).status == 503);
}

TEST_CASE("who leaves cancels every choice, and what comes later is dropped") {
  Bench bench;
  GenerateSink kept;
  bench.service.script = [&](const GenerateRequest&, const GenerateSink& sink) { kept = sink; };
  HttpRequest request;
  request.path = "/v1/chat/completions";
  request.body = dump(with(with(chat, "stream", true), "n", 2));
  const auto exchange = std::make_shared<FakeExchange>(std::move(request));
  handle_chat_completions(bench.context, exchange);
  exchange->run();
  CHECK(bench.context.generations.count() == 1);
  exchange->leave();
  CHECK(bench.service.cancelled == 2);
  CHECK(bench.context.generations.count() == 0);
  kept(TextDelta{"late"});
  exchange->run();
  CHECK(exchange->answer.body.empty());
}

TEST_CASE("a silent stream says that it lives; progress is for those who ask") {
  Bench bench;
  bench.service.script = [](const GenerateRequest&, const GenerateSink& sink) { sink(ProgressEvent{1, 2}); };
  HttpRequest request;
  request.path = "/v1/chat/completions";
  request.body = dump(with(chat, "stream", true));
  for (const bool asks : {false, true}) {
    if (asks) request.headers = {{"x-lapidary-progress", "1"}};
    const auto exchange = std::make_shared<FakeExchange>(request);
    handle_chat_completions(bench.context, exchange);
    exchange->run();
    CHECK((exchange->answer.body.find("lapidary.progress") != std::string::npos) == asks);
    bench.context.generations.ping_silent(0);
    CHECK(exchange->answer.body.ends_with(": reading\n\n"));
    exchange->leave();
  }
}

}  // namespace lapidary
