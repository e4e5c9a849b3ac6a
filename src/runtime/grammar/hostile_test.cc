// The advisories of the security catalogue that concern grammars, by number.
#include <chrono>
#include <string>

#include "grammar/grammar_for_test.h"

namespace lapidary {
namespace {

// How long a schema takes to be refused or compiled.
struct Outcome {
  std::string error;
  double seconds = 0;
};

Outcome compile(const std::string& schema) {
  const auto begin = std::chrono::steady_clock::now();
  const auto grammar = Grammar::from_schema(schema, "schema");
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  return {grammar ? "" : grammar.error().text(), taken.count()};
}

constexpr double patience_seconds = 2;  // 50 ms on its own; under sanitizers and beside other work, more

std::string nested(int depth, const std::string& open, const std::string& middle, const std::string& close) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += middle;
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

}  // namespace

TEST_CASE("advisory 14: depth 100,000 of schemas, references and patterns is refused, or nothing at all") {
  CHECK(compile(nested(100'000, "{\"items\":", "{}", "}")).error.find("deeper") != std::string::npos);
  CHECK(compile(nested(100'000, "[", "", "]")).error.find("deeper") != std::string::npos);
  CHECK(compile("{\"pattern\": \"" + std::string(100'000, '(') + "\"}").error.find("pattern") != std::string::npos);
  std::string chain = "{\"$ref\": \"#/$defs/d0\", \"$defs\": {";
  for (int i = 0; i < 20'000; ++i) chain += fmt::format("\"d{}\": {{\"$ref\": \"#/$defs/d{}\"}},", i, i + 1);
  const Outcome outcome = compile(chain + "\"d20000\": {}}}");
  CHECK(outcome.error.find("deeper") != std::string::npos);
  CHECK(outcome.seconds < patience_seconds);
}

TEST_CASE("advisory 15: cycles, left recursion and maxItems of 2^64 - 1 end at once") {
  CHECK_FALSE(compile(R"({"$ref": "#"})").error.empty());
  CHECK_FALSE(compile(R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})").error.empty());
  CHECK_FALSE(compile(R"({"not": {"$ref": "#"}})").error.empty());
  CHECK(compile(R"({"type": "array", "maxItems": 18446744073709551615, "items": {"type": "integer"}})").error.empty());
  CHECK(compile(R"({"type": "array", "minItems": 18446744073709551615, "items": {"type": "integer"}})").seconds <
        patience_seconds);
  CHECK(compile(R"({"type": "string", "maxLength": 1e300, "minLength": 5})").error.empty());
  CHECK_FALSE(Grammar::from_gbnf("root ::= a\na ::= b\nb ::= a \"x\"", "g").has_value());
}

TEST_CASE("advisory 15: combinations that multiply are given up within the budget") {
  std::string all = "{\"allOf\": [";
  for (int i = 0; i < 30; ++i)
    all += fmt::format("{}{{\"anyOf\": [{{\"required\": [\"a{}\"]}}, {{\"required\": [\"b{}\"]}}]}}", i == 0 ? "" : ",",
                       i, i);
  const Outcome outcome = compile(all + "]}");
  CHECK(outcome.error.find("more than") != std::string::npos);
  CHECK(outcome.seconds < patience_seconds);
  std::string one = "{\"oneOf\": [";
  for (int i = 0; i < 60; ++i)
    one += fmt::format("{}{{\"properties\": {{\"p{}\": {{\"minLength\": {}}}}}}}", i == 0 ? "" : ",", i, i + 1);
  CHECK(compile(one + "]}").seconds < patience_seconds);
  for (const char* pattern :
       {"(a|aa)*(a|b)*[ab]{2000}[ab]*x{50000}", "((a{1,100}){1,100}){1,100}", "(.*a.{30}){2}", "(x+x+)+y"})
    CHECK(compile(fmt::format("{{\"pattern\": \"{}\"}}", pattern)).seconds < patience_seconds);
}

TEST_CASE("advisory 16: large but honest schemas just work") {
  CHECK(compile(R"({"type": "string", "maxLength": 65536})").error.empty());
  CHECK(compile(R"({"type": "string", "minLength": 2000, "maxLength": 100000, "pattern": "^[a-z]+$"})").error.empty());
  std::string values = "{\"enum\": [";
  for (int i = 0; i < 500; ++i) values += fmt::format("{}\"value number {}\"", i == 0 ? "" : ",", i);
  CHECK(compile(values + "]}").error.empty());
  std::string deep = "{\"type\": \"object\", \"properties\": {\"x\": {\"$ref\": \"#/$defs/d0\"}}, \"$defs\": {";
  for (int i = 0; i < 150; ++i)
    deep += fmt::format("\"d{}\": {{\"type\": \"object\", \"properties\": {{\"n\": {{\"$ref\": \"#/$defs/d{}\"}}}}}},",
                        i, i + 1);
  CHECK(compile(deep + "\"d150\": {\"type\": \"string\"}}}").error.empty());
}

TEST_CASE("advisory 20: schemas that are malformed are refused with a reason") {
  for (const char* schema :
       {"", "5", "\"x\"", "{\"type\": [\"string\", 1]}", "{\"minimum\": \"1\"}", "{\"pattern\": \"[\"}",
        "{\"enum\": 1}", "{\"multipleOf\": 0}", "{\"multipleOf\": -1}", "{\"minLength\": -1}", "{\"minLength\": 1.5}",
        "{\"$ref\": \"other.json\"}", "{\"allOf\": {}}", "{\"items\": 3}",
        "{\"properties\": {\"a\": 3}, \"required\": [\"a\"]}", "{\"minimum\": 1e9999999}"})
    CHECK_MESSAGE(!compile(schema).error.empty(), schema);
}

TEST_CASE("a long text costs a bounded amount of memory, and going back gives it up") {
  const auto grammar = schema_grammar(R"({"type": "array", "items": {"type": "object"}})");
  Matcher matcher(grammar, test_tokens());
  std::vector<uint64_t> bits(test_tokens()->words());
  REQUIRE(matcher.accept_text("["));
  const size_t before = matcher.bytes_used();
  for (int i = 0; i < 1'000; ++i) {
    REQUIRE(matcher.accept_text("{\"key\": \"some text\"}, "));
    matcher.mask(bits);
  }
  CHECK(matcher.bytes_used() < before + 1'000 * 22 * 256);
  matcher.rollback(1'000);
  CHECK(matcher.bytes_used() == before);
}

}  // namespace lapidary
