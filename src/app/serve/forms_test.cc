// What each dialect says about the form of a reply, as the service gets it.
#include <doctest/doctest.h>

#include "serve/dialect_bench_for_test.h"
#include "serve/form_input.h"

namespace lapidary {
namespace {

struct Bench : serve_test::DialectBench {
  Bench() {
    service.script = [](const GenerateRequest&, const GenerateSink& sink) {
      sink(PromptEvent{10, 0, 0.5});
      sink(TextDelta{"{}"});
      sink(UsageEvent{});
    };
  }
  // The request as it came to the service.
  const GenerateRequest& request(const std::string& path, const OrderedJson& body) {
    const HttpReply reply = ask(path, body);
    REQUIRE_MESSAGE(reply.status == 200, reply.body);
    return service.requests.back();
  }
  const ReplyForm& form(const std::string& path, const OrderedJson& body) { return request(path, body).form; }
  // The message of a 400.
  std::string refusal(const std::string& path, const OrderedJson& body) {
    const size_t before = service.requests.size();
    const HttpReply reply = ask(path, body);
    CHECK_MESSAGE(reply.status == 400, dump(body));
    CHECK(service.requests.size() == before);
    return reply.body;
  }
};

OrderedJson with(OrderedJson base, const char* key, const OrderedJson& value) {
  base[key] = value;
  return base;
}

bool says(const std::string& text, std::string_view word) { return text.find(word) != std::string::npos; }

const std::string chat_path = "/v1/chat/completions", responses_path = "/v1/responses", messages_path = "/v1/messages";
const std::string gemini_path = "/v1beta/models/fake:generateContent";
const OrderedJson who = {{"role", "user"}, {"content", "?"}};
const OrderedJson schema = {{"type", "object"}, {"properties", {{"a", {{"type", "integer"}}}}}};

const std::string held = dump(closed_schema(schema));

OrderedJson openai_tool(const char* name, bool strict = false) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", schema}, {"strict", strict}}}};
}
OrderedJson flat_tool(const char* name) { return {{"type", "function"}, {"name", name}, {"parameters", schema}}; }

OrderedJson chat() {
  return {{"messages", OrderedJson::array({who})},
          {"tools", OrderedJson::array({openai_tool("f", true), openai_tool("g")})}};
}
OrderedJson responses() { return {{"input", "?"}, {"tools", OrderedJson::array({flat_tool("f"), flat_tool("g")})}}; }
OrderedJson messages() {
  return {{"model", "fake"},
          {"max_tokens", 9},
          {"messages", OrderedJson::array({who})},
          {"tools", OrderedJson::array({{{"name", "f"}, {"input_schema", schema}, {"strict", true}},
                                        {{"name", "g"}, {"input_schema", schema}}})}};
}
OrderedJson gemini() {
  return parse_ordered_json(R"({"contents": [{"parts": [{"text": "?"}]}], "tools": [{"functionDeclarations":
    [{"name": "f", "parameters": {"type": "OBJECT"}}, {"name": "g"}]}]})",
                            "gemini")
      .value();
}
OrderedJson gemini_config(const OrderedJson& config) { return with(gemini(), "generationConfig", config); }
OrderedJson gemini_calling(const OrderedJson& calling) {
  return with(gemini(), "toolConfig", {{"functionCallingConfig", calling}});
}
OrderedJson named(const char* name) { return {{"type", "function"}, {"function", {{"name", name}}}}; }

}  // namespace

TEST_CASE("chat: response_format and what stands for it elsewhere") {
  Bench bench;
  CHECK(bench.form(chat_path, chat()).kind == ReplyForm::Kind::any);
  CHECK(bench.form(chat_path, with(chat(), "response_format", {{"type", "text"}})).kind == ReplyForm::Kind::any);
  const ReplyForm object = bench.form(chat_path, with(chat(), "response_format", {{"type", "json_object"}}));
  CHECK(object.kind == ReplyForm::Kind::schema);
  CHECK(object.text == R"({"type": "object"})");
  for (const bool strict : {true, false}) {
    const ReplyForm form = bench.form(
        chat_path,
        with(chat(), "response_format",
             {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", schema}, {"strict", strict}}}}));
    CHECK(form.kind == ReplyForm::Kind::schema);
    CHECK(form.text == held);
    CHECK(form.where == "response_format.json_schema.schema");
  }
  CHECK(bench.form(chat_path, with(chat(), "response_format", {{"type", "json_object"}, {"schema", schema}})).text ==
        held);
  CHECK(bench.form(chat_path, with(chat(), "json_schema", schema)).text == held);
  CHECK(bench.form(chat_path, with(chat(), "grammar", "root ::= \"a\"")).kind == ReplyForm::Kind::gbnf);
  CHECK(bench.form("/v1/completions", {{"prompt", "?"}, {"response_format", {{"type", "json_object"}}}}).kind ==
        ReplyForm::Kind::schema);
}

TEST_CASE("chat: what is no format is refused by its place") {
  Bench bench;
  const auto format = [&](const OrderedJson& value) {
    return bench.refusal(chat_path, with(chat(), "response_format", value));
  };
  CHECK(says(format({{"type", "xml"}}), "response_format.type"));
  CHECK(says(format({{"type", "json_schema"}}), "response_format.schema"));
  CHECK(
      says(format({{"type", "json_schema"}, {"json_schema", {{"name", "x"}}}}), "response_format.json_schema.schema"));
  CHECK(
      says(format({{"type", "json_schema"}, {"json_schema", {{"schema", 5}}}}), "response_format.json_schema.schema"));
  CHECK(says(format("json"), "response_format"));
  CHECK(says(bench.refusal(chat_path, with(with(chat(), "grammar", "root ::= \"a\""), "json_schema", schema)),
             "several"));
  CHECK(says(bench.refusal(chat_path, with(with(chat(), "response_format", {{"type", "json_object"}}), "grammar", "x")),
             "several"));
  CHECK(says(bench.refusal(chat_path, with(chat(), "guided_json", schema)), "guided_json"));
  CHECK(says(bench.refusal(responses_path, with(responses(), "structured_outputs", schema)), "structured_outputs"));
}

TEST_CASE("OpenAI: tool_choice") {
  Bench bench;
  for (const bool flat : {false, true}) {
    const std::string path = flat ? responses_path : chat_path;
    const OrderedJson base = flat ? responses() : chat();
    const auto choose = [&](const OrderedJson& choice) { return with(base, "tool_choice", choice); };
    CHECK(bench.form(path, choose("auto")).tool_choice == ToolChoice::automatic);
    CHECK(bench.form(path, choose("required")).tool_choice == ToolChoice::required);
    CHECK(bench.request(path, choose("none")).conversation.tools.empty());
    const ReplyForm one =
        bench.form(path, choose(flat ? OrderedJson{{"type", "function"}, {"name", "g"}} : named("g")));
    CHECK(one.tool_choice == ToolChoice::required);
    CHECK(one.callable == std::vector<std::string>{"g"});
    for (const char* mode : {"auto", "required"}) {
      OrderedJson allowed = {{"mode", mode}, {"tools", OrderedJson::array({named("f")})}};
      if (flat) allowed["tools"] = OrderedJson::array({{{"type", "function"}, {"name", "f"}}});
      OrderedJson choice = flat ? allowed : OrderedJson{{"allowed_tools", allowed}};
      choice["type"] = "allowed_tools";
      const ReplyForm form = bench.form(path, choose(choice));
      CHECK((form.tool_choice == ToolChoice::required) == (std::string(mode) == "required"));
      CHECK(form.callable == std::vector<std::string>{"f"});
    }
    CHECK(says(bench.refusal(path, choose(flat ? OrderedJson{{"type", "function"}, {"name", "h"}} : named("h"))),
               "\\\"h\\\""));
    CHECK(says(bench.refusal(path, choose({{"type", "file_search"}})), "tool_choice.type"));
    CHECK(says(bench.refusal(path, choose("sometimes")), "tool_choice"));
    CHECK(says(bench.refusal(path, choose({{"type", "allowed_tools"}, {"mode", "auto"}})), "tools"));
    OrderedJson without = choose("required");
    without.erase("tools");
    CHECK(says(bench.refusal(path, without), "tool_choice"));
    CHECK(bench.form(path, base).parallel_calls);
    CHECK_FALSE(bench.form(path, with(base, "parallel_tool_calls", false)).parallel_calls);
  }
  CHECK(bench.form(chat_path, chat()).strict == std::vector<std::string>{"f"});
}

TEST_CASE("Responses: text.format, which the answer repeats") {
  Bench bench;
  const OrderedJson text = {{"format", {{"type", "json_schema"}, {"name", "x"}, {"schema", schema}, {"strict", true}}}};
  const HttpReply reply = bench.ask(responses_path, with(responses(), "text", text));
  REQUIRE(reply.status == 200);
  CHECK(parse_ordered_json(reply.body, "reply").value()["text"] == text);
  CHECK(bench.service.requests.back().form.text == held);
  CHECK(bench.service.requests.back().form.where == "text.format.schema");
  CHECK(bench.form(responses_path, with(responses(), "text", {{"verbosity", "low"}})).kind == ReplyForm::Kind::any);
  CHECK(says(bench.refusal(responses_path, with(responses(), "text", {{"format", {{"type", "yaml"}}}})),
             "text.format.type"));
}

TEST_CASE("Anthropic: tool_choice and the output's format") {
  Bench bench;
  const auto choose = [&](const OrderedJson& choice) { return with(messages(), "tool_choice", choice); };
  CHECK(bench.form(messages_path, messages()).strict == std::vector<std::string>{"f"});
  CHECK(bench.form(messages_path, choose({{"type", "auto"}})).tool_choice == ToolChoice::automatic);
  CHECK(bench.form(messages_path, choose({{"type", "any"}})).tool_choice == ToolChoice::required);
  const ReplyForm one =
      bench.form(messages_path, choose({{"type", "tool"}, {"name", "g"}, {"disable_parallel_tool_use", true}}));
  CHECK(one.tool_choice == ToolChoice::required);
  CHECK(one.callable == std::vector<std::string>{"g"});
  CHECK_FALSE(one.parallel_calls);
  CHECK(bench.request(messages_path, choose({{"type", "none"}})).conversation.tools.empty());
  CHECK(says(bench.refusal(messages_path, choose({{"type", "tool"}, {"name", "h"}})), "tool_choice.name"));
  CHECK(says(bench.refusal(messages_path, choose({{"type", "tool"}})), "tool_choice.name"));
  CHECK(says(bench.refusal(messages_path, choose({{"type", "some"}})), "tool_choice.type"));
  const OrderedJson format = {{"type", "json_schema"}, {"schema", schema}};
  CHECK(bench.form(messages_path, with(messages(), "output_format", format)).text == held);
  CHECK(bench.form(messages_path, with(messages(), "output_config", {{"format", format}})).where ==
        "output_config.format.schema");
  CHECK(bench.form(messages_path, with(messages(), "output_config", {{"effort", "low"}})).kind == ReplyForm::Kind::any);
  CHECK(says(bench.refusal(messages_path, with(messages(), "output_config", {{"format", {{"type", "xml"}}}})),
             "output_config.format.type"));
}

TEST_CASE("Gemini: functionCallingConfig") {
  Bench bench;
  CHECK(bench.form(gemini_path, gemini_calling({{"mode", "AUTO"}})).tool_choice == ToolChoice::automatic);
  CHECK(bench.request(gemini_path, gemini_calling({{"mode", "NONE"}})).conversation.tools.empty());
  const ReplyForm any =
      bench.form(gemini_path, gemini_calling({{"mode", "ANY"}, {"allowedFunctionNames", OrderedJson::array({"g"})}}));
  CHECK(any.tool_choice == ToolChoice::required);
  CHECK(any.callable == std::vector<std::string>{"g"});
  const ReplyForm valid = bench.form(
      gemini_path, gemini_calling({{"mode", "VALIDATED"}, {"allowedFunctionNames", OrderedJson::array({"f"})}}));
  CHECK(valid.tool_choice == ToolChoice::automatic);
  CHECK(valid.strict_calls);
  CHECK(valid.callable == std::vector<std::string>{"f"});
  CHECK(says(bench.refusal(gemini_path,
                           gemini_calling({{"mode", "ANY"}, {"allowedFunctionNames", OrderedJson::array({"h"})}})),
             "\\\"h\\\""));
  CHECK(says(bench.refusal(gemini_path,
                           gemini_calling({{"mode", "AUTO"}, {"allowedFunctionNames", OrderedJson::array({"f"})}})),
             "allowedFunctionNames"));
  CHECK(says(bench.refusal(gemini_path, gemini_calling({{"mode", "SOME"}})), "mode"));
}

TEST_CASE("Gemini: responseMimeType and the schemas") {
  Bench bench;
  CHECK(bench.form(gemini_path, gemini_config({{"responseMimeType", "text/plain"}})).kind == ReplyForm::Kind::any);
  const OrderedJson json = {{"responseMimeType", "application/json"}};
  CHECK(bench.form(gemini_path, gemini_config(json)).text == "{}");
  CHECK(bench.form(gemini_path, gemini_config(with(json, "responseJsonSchema", schema))).text == held);
  const ReplyForm own = bench.form(
      gemini_path, gemini_config(with(json, "responseSchema",
                                      {{"type", "ARRAY"}, {"maxItems", "3"}, {"items", {{"type", "STRING"}}}})));
  CHECK(own.text == R"({"type":"array","maxItems":3,"items":{"type":"string"}})");
  CHECK(own.where == "generationConfig.responseSchema");
  const ReplyForm choice = bench.form(
      gemini_path,
      gemini_config({{"responseMimeType", "text/x.enum"},
                     {"responseSchema", {{"type", "STRING"}, {"enum", OrderedJson::array({"a.b", "(c|d)"})}}}}));
  CHECK(choice.kind == ReplyForm::Kind::regex);
  CHECK(choice.text == R"(a\.b|\(c\|d\))");
  CHECK(says(bench.refusal(gemini_path, gemini_config({{"responseSchema", schema}})), "responseMimeType"));
  CHECK(says(bench.refusal(gemini_path, gemini_config({{"responseMimeType", "text/html"}})), "responseMimeType"));
  CHECK(says(bench.refusal(gemini_path, gemini_config({{"responseMimeType", "text/x.enum"}})), "enum"));
  CHECK(says(bench.refusal(gemini_path,
                           gemini_config(with(with(json, "responseSchema", schema), "responseJsonSchema", schema))),
             "one schema"));
}

TEST_CASE("Ollama's format, llama-server's grammar and schema") {
  Bench bench;
  const OrderedJson ollama = {{"model", "fake"}, {"messages", OrderedJson::array({who})}, {"stream", false}};
  CHECK(bench.form("/api/chat", ollama).kind == ReplyForm::Kind::any);
  CHECK(bench.form("/api/chat", with(ollama, "format", "")).kind == ReplyForm::Kind::any);
  CHECK(bench.form("/api/chat", with(ollama, "format", "json")).text == R"({"type": "object"})");
  CHECK(bench.form("/api/chat", with(ollama, "format", schema)).text == held);
  CHECK(
      bench.form("/api/generate", {{"model", "fake"}, {"prompt", "?"}, {"stream", false}, {"format", schema}}).where ==
      "format");
  CHECK(says(bench.refusal("/api/chat", with(ollama, "format", "xml")), "format"));
  const OrderedJson llama = {{"prompt", "?"}};
  CHECK(bench.form("/completion", with(llama, "grammar", "")).kind == ReplyForm::Kind::any);
  CHECK(bench.form("/completion", with(llama, "grammar", "root ::= [a-z]+")).text == "root ::= [a-z]+");
  CHECK(bench.form("/completion", with(llama, "json_schema", OrderedJson::object())).text == "{}");
  CHECK(says(bench.refusal("/completion", with(with(llama, "grammar", "x"), "json_schema", schema)), "several"));
  CHECK(says(bench.refusal("/completion", with(llama, "grammar_lazy", true)), "grammar_lazy"));
  CHECK(says(bench.refusal("/completion", with(llama, "json_schema", "x")), "json_schema"));
}

TEST_CASE("Gemini's schemas as JSON Schema") {
  const auto translated = [](const char* text) {
    const auto made = schema_from_gemini(parse_ordered_json(text, "schema").value(), "s");
    REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().text()));
    return dump(*made);
  };
  CHECK(translated(R"({"type": "STRING", "nullable": true, "enum": ["a"]})") ==
        R"({"type":["string","null"],"enum":["a",null]})");
  CHECK(translated(R"({"type": "OBJECT", "properties": {"max_items": {"type": "INTEGER"}, "type": {"type": "STRING"}},
                       "propertyOrdering": ["type"], "required": ["type"], "min_properties": "1"})") ==
        R"({"type":"object","properties":{"max_items":{"type":"integer"},"type":{"type":"string"}},)"
        R"("required":["type"],"minProperties":1})");
  CHECK(translated(R"({"any_of": [{"type": "NUMBER"}, {"type": "TYPE_UNSPECIFIED"}], "nullable": true})") ==
        R"({"anyOf":[{"type":"number"},{},{"type":"null"}]})");
  CHECK(
      translated(R"({"type": "OBJECT", "properties": {"a": {"ref": "#/defs/A"}}, "defs": {"A": {"type": "NULL"}}})") ==
      R"({"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"null"}}})");
  CHECK(
      translated(R"({"type": "OBJECT", "properties": {}, "additionalProperties": {"type": "STRING"}, "example": 5})") ==
      R"({"type":"object","properties":{},"additionalProperties":{"type":"string"}})");
  for (const char* bad :
       {"5", R"({"type": 5})", R"({"maxItems": "x"})", R"({"anyOf": {}})", R"({"properties": []})", R"({"items": 3})"})
    CHECK_FALSE(schema_from_gemini(parse_ordered_json(bad, "schema").value(), "s").has_value());
}

TEST_CASE("what a reply is not held to is a header of the answer, streamed or not") {
  Bench bench;
  bench.service.script = [](const GenerateRequest&, const GenerateSink& sink) {
    sink(WarningEvent{"tool f: \"…\"\r\nX-Evil: 1"});
    sink(PromptEvent{10, 0, 0.5});
    sink(TextDelta{"ok"});
    sink(UsageEvent{});
  };
  for (const bool stream : {false, true}) {
    const HttpReply reply = bench.ask(chat_path, with(chat(), "stream", stream));
    std::string found;
    for (const auto& [name, value] : reply.headers)
      if (name == "X-Lapidary-Warning") found = value;
    CHECK(found.find("tool f: ") == 0);
    CHECK(found.find_first_of("\r\n") == std::string::npos);
  }
}

TEST_CASE("a form that cannot be enforced is a 400 in the dialect's shape") {
  Bench bench;
  bench.service.script = [](const GenerateRequest& request, const GenerateSink& sink) {
    sink(Error{ErrorKind::unsupported, request.form.where, "uniqueItems: not enforced"});
  };
  const OrderedJson format = {{"type", "json_object"}};
  for (const bool stream : {false, true}) {
    const HttpReply reply = bench.ask(chat_path, with(with(chat(), "response_format", format), "stream", stream));
    CHECK(reply.status == 400);
    const OrderedJson error = parse_ordered_json(reply.body, "reply").value()["error"];
    CHECK(error["param"] == "response_format");
    CHECK(error["type"] == "invalid_request_error");
    CHECK(says(error["message"].get<std::string>(), "uniqueItems"));
  }
  CHECK(bench.ask(gemini_path, gemini_config({{"responseMimeType", "application/json"}})).status == 400);
}

}  // namespace lapidary
