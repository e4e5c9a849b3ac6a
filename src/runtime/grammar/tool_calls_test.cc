#include <string>
#include <vector>

#include "grammar/grammar_for_test.h"

namespace lapidary {
namespace {

const std::vector<ToolDeclaration> tools = {
    {"get",
     R"({"type": "object", "properties": {"name": {"type": "string"}, "id": {"type": "integer", "minimum": 1}}, "required": ["name"], "additionalProperties": false})"},
    {"get_all",
     R"({"type": "object", "properties": {"kind": {"enum": ["ab", "na"]}, "deep": {"type": "array", "items": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}}, "additionalProperties": false})"},
};

std::shared_ptr<const Grammar> grammar_of(const ToolOptions& options) {
  auto grammar = Grammar::from_tools(tools, options);
  REQUIRE_MESSAGE(grammar.has_value(), (grammar ? "" : grammar.error().text()));
  return *grammar;
}

// Special tokens by name, the rest as text.
bool takes(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar, test_tokens(), {test_tokenizer().find("<|tool_response>"), test_tokenizer().find("<eos>")});
  for (const int32_t token : test_tokenizer().encode(text, SpecialParsing::on))
    if (!matcher.accept(token)) return false;
  return matcher.may_stop();
}

}  // namespace

TEST_CASE("calls have the names, keys and types that were declared") {
  const auto grammar = grammar_of({});
  CHECK(takes(grammar, "just text"));
  CHECK(takes(grammar, "<|tool_call>call:get{name:<|\"|>any {thing}, \"quoted\"\n:<|\"|>,id:12}<tool_call|>"));
  CHECK(takes(grammar,
              "Let me see. <|tool_call>call:get_all{}<tool_call|><|tool_call>call:get{name:<|\"|><|\"|>}<tool_call|>"));
  CHECK(
      takes(grammar, "<|tool_call>call:get_all{kind:<|\"|>na<|\"|>,deep:[{ok:true},{}]}<tool_call|><|tool_response>"));
  for (const char* bad :
       {"<|tool_call>call:put{}<tool_call|>", "<|tool_call>call:get{}<tool_call|>",
        "<|tool_call>call:get{name:\"x\"}<tool_call|>", "<|tool_call>call:get{name:<|\"|>x<|\"|>,id:0}<tool_call|>",
        "<|tool_call>call:get{name:<|\"|>x<|\"|>,other:1}<tool_call|>", "<|tool_call>call:get{name:<|\"|>x<|\"|>}",
        "<|tool_call>call:get_all{kind:<|\"|>a<|\"|>}<tool_call|>", "<tool_call|>",
        "<|tool_call>call:get{ name:<|\"|>x<|\"|>}<tool_call|>", "<|tool_call>call:get_all{}<tool_call|>text"})
    CHECK_MESSAGE(!takes(grammar, bad), bad);
}

TEST_CASE("tool choice: none, required, one by name, one at a time") {
  CHECK_FALSE(takes(grammar_of({ToolChoice::none, "", true}), "<|tool_call>call:get_all{}<tool_call|>"));
  CHECK(takes(grammar_of({ToolChoice::none, "", true}), "text"));
  const auto required = grammar_of({ToolChoice::required, "", true});
  CHECK_FALSE(takes(required, "text"));
  CHECK_FALSE(takes(required, ""));
  CHECK(takes(required, "<|tool_call>call:get_all{}<tool_call|>"));
  const auto named = grammar_of({ToolChoice::required, "get_all", false});
  CHECK(takes(named, "<|tool_call>call:get_all{}<tool_call|>"));
  CHECK_FALSE(takes(named, "<|tool_call>call:get{name:<|\"|>x<|\"|>}<tool_call|>"));
  CHECK_FALSE(takes(named, "<|tool_call>call:get_all{}<tool_call|><|tool_call>call:get_all{}<tool_call|>"));
  CHECK_FALSE(Grammar::from_tools(tools, {ToolChoice::required, "nobody", true}).has_value());
}

TEST_CASE("a reply is JSON of a schema, or calls") {
  ToolOptions options;
  options.answer = schema_grammar(
      R"({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": false})");
  const auto grammar = grammar_of(options);
  CHECK(takes(grammar, "{\"name\": \"x\"}"));
  CHECK(takes(grammar, "<|tool_call>call:get_all{}<tool_call|><|tool_call>call:get_all{}<tool_call|>"));
  for (const char* bad : {"", "text", "{}", "{\"name\": \"x\"}<|tool_call>call:get_all{}<tool_call|>",
                          "<|tool_call>call:get_all{}<tool_call|>{\"name\": \"x\"}", "{\"name\": <|\"|>x<|\"|>}"})
    CHECK_MESSAGE(!takes(grammar, bad), bad);
  Dice dice{12};
  for (int i = 0; i < 20; ++i) {
    bool ended = false;
    const std::string text = random_text(grammar, dice, 60, ended);
    if (ended) CHECK_MESSAGE(takes(grammar, text), text);
  }
  Matcher matcher(grammar, test_tokens());
  REQUIRE(matcher.accept_text("{\"na"));
  Matcher copy(matcher);
  matcher.rollback(1);
  CHECK(matcher.accept(test_tokenizer().find("<|tool_call>")));
  CHECK(copy.accept_text("me\": \"\"}"));
  CHECK(copy.may_stop());
  options.choice = ToolChoice::required;
  CHECK_FALSE(takes(grammar_of(options), "{\"name\": \"x\"}"));
}

TEST_CASE("advisory 20: tools with schemas that are none are refused, each with its reason") {
  for (const char* parameters : {"{\"type\": \"objct\"}", "{\"type\": 5}", "[]", "null", "{\"type\": \"string\"}",
                                 "{\"properties\": 1}", "{\"properties\": {\"a\": {\"pattern\": \"(\"}}}",
                                 "{\"properties\": {\"a\": {\"pattern\": 7}}}", "{\"required\": [1]}", "nonsense"}) {
    const std::vector<ToolDeclaration> one = {{"t", parameters}};
    const auto grammar = Grammar::from_tools(one, {});
    REQUIRE_MESSAGE(!grammar.has_value(), parameters);
    CHECK(grammar.error().text().find("tool t") == 0);
  }
  const std::vector<ToolDeclaration> named = {{"a{b", "{}"}};
  CHECK_FALSE(Grammar::from_tools(named, {}).has_value());
}

TEST_CASE("masks of calls say of every token what the matcher says of it") {
  Dice dice{11};
  for (const ToolOptions& options : {ToolOptions{}, ToolOptions{ToolChoice::required, "", true},
                                     ToolOptions{ToolChoice::required, "get_all", false}})
    for (int i = 0; i < 10; ++i) {
      bool ended = false;
      const std::string text = random_text(grammar_of(options), dice, 60, ended);
      if (ended) CHECK_MESSAGE(takes(grammar_of(options), text), text);
    }
}

TEST_CASE("what can only go on in one way is forced") {
  const auto grammar = grammar_of({ToolChoice::required, "get_all", false});
  Matcher matcher(grammar, test_tokens());
  REQUIRE(matcher.accept(test_tokenizer().find("<|tool_call>")));
  const auto forced = matcher.forced_tokens();
  REQUIRE_FALSE(forced.empty());
  std::string text;
  for (const int32_t token : forced) {
    REQUIRE(matcher.accept(token));
    text += test_tokenizer().piece(token);
  }
  CHECK(std::string("call:get_all{").starts_with(text));
}

}  // namespace lapidary
