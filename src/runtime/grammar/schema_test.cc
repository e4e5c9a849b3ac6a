#include <string>
#include <vector>

#include "grammar/grammar_for_test.h"

namespace lapidary {
namespace {

struct Case {
  const char* schema;
  std::vector<const char*> good, bad;
};

void judge(const Case& one) {
  const auto grammar = schema_grammar(one.schema);
  for (const char* text : one.good)
    CHECK_MESSAGE(fits(grammar, text), std::string(one.schema) << " should take " << std::string(text));
  for (const char* text : one.bad)
    CHECK_MESSAGE(!fits(grammar, text), std::string(one.schema) << " should not take " << std::string(text));
}

std::string refusal(std::string_view schema) {
  const auto grammar = Grammar::from_schema(schema, "schema");
  REQUIRE_FALSE(grammar.has_value());
  return grammar.error().text();
}

}  // namespace

TEST_CASE("schema: types, and JSON that is none") {
  judge({"{}",
         {"1", "-0.5e3", "\"a\"", "null", "true", "[1, {\"a\": []}]", "{}"},
         {"", "01", "1.", "nul", "[1,]", "{\"a\"}", "+1", "'a'"}});
  judge({R"({"type": "string"})",
         {"\"\"", "\"\\u00e9\\n\\ud83d\\ude42\"", "\"日本\""},
         {"1", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\udc00\""}});
  judge({R"({"type": "integer"})", {"0", "-12", "3.0"}, {"1.5", "1e", "\"1\""}});
  judge({R"({"type": ["null", "boolean"]})", {"null", "true", "false"}, {"0", "\"\""}});
  judge({R"({"type": "integer", "$schema": "http://json-schema.org/draft-04/schema#"})", {"3"}, {"3.0"}});
}

TEST_CASE("schema: strings are counted in characters, escapes and all") {
  judge({R"({"type": "string", "minLength": 2, "maxLength": 3})",
         {"\"ab\"", "\"日本語\"", "\"\\u0061\\n\\\"\"", "\"🙂🙂\""},
         {"\"a\"", "\"🙂\"", "\"abcd\"", "\"\\ud83d\\ude42\""}});
  judge({R"({"type": "string", "pattern": "^a[b-d]+$", "maxLength": 4})",
         {"\"abc\"", "\"a\\u0062\""},
         {"\"a\"", "\"abbbb\"", "\"xab\""}});
  judge({R"({"type": "string", "maxLength": 65536})", {"\"abc\""}, {"1"}});
}

TEST_CASE("schema: numbers within bounds, in any spelling that has no exponent") {
  judge({R"({"type": "integer", "minimum": 10, "maximum": 205})",
         {"10", "99", "205", "150.0"},
         {"9", "206", "1", "-10", "1e2"}});
  judge({R"({"type": "number", "exclusiveMinimum": 0, "maximum": 1})",
         {"1", "0.001", "1.0"},
         {"0", "0.0", "1.01", "-0.5"}});
  judge({R"({"type": "number", "minimum": 0})", {"0", "1e-05", "12.5E+3"}, {"-1", "-1e-5"}});
  judge({R"({"type": "number"})",
         {"1e299", "123456789e299", "0.5e299", "1234567890e-299"},
         {"1e300", "1234567890e299", "1e0001"}});
  judge({R"({"type": "number", "multipleOf": 0.01})", {"1.25", "3", "-0.1"}, {"1.255", "0.001"}});
  judge({R"({"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 20})", {"7", "14"}, {"0", "1", "10", "21"}});
  judge({R"({"enum": [1, 2.50, "x", null, [1, {"a": 2}]]})",
         {"1", "1.0", "2.5", "\"x\"", "null", "[1, {\"a\": 2}]"},
         {"2", "2.51", "[1]", "[1, {\"a\": 3}]"}});
}

TEST_CASE("schema: objects in any order, no name twice") {
  const char* schema = R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
                           "required": ["a"], "additionalProperties": false})";
  judge({schema,
         {R"({"a": 1})", R"({"b": "x", "a": 1})", R"({ "a" :1 , "b":"" })", R"({"\u0061": 1})"},
         {"{}", R"({"b": "x"})", R"({"a": 1, "a": 2})", R"({"a": 1, "c": 2})", R"({"a": "1"})", R"({"a": 1,})"}});
  judge({R"({"type": "object", "properties": {"a": {"type": "integer"}}})",
         {"{}", R"({"c": [1], "a": 1})"},
         {R"({"a": "x"})", R"({"c": 1, "c": 2})", R"({"c": 1, "\u0063": 2})"}});
  judge(
      {R"({"type": "object", "patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": {"type": "integer"}})",
       {R"({"x-a": "1", "b": 2})"},
       {R"({"x-a": 1})", R"({"b": "2"})"}});
  judge({R"({"type": "object", "minProperties": 1, "maxProperties": 2, "propertyNames": {"maxLength": 2}})",
         {R"({"a": 1})", R"({"a": 1, "bb": 2})"},
         {"{}", R"({"abc": 1})", R"({"a": 1, "b": 2, "c": 3})"}});
  judge({R"({"type": "object", "dependentRequired": {"a": ["b"]}})",
         {"{}", R"({"b": 1})", R"({"b": 1, "a": 1})", R"({"a": 1, "b": 1})"},
         {R"({"a": 1})"}});
}

TEST_CASE("schema: arrays") {
  judge(
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "boolean"}, "minItems": 1})",
       {"[1]", "[1, \"a\", true]"},
       {"[]", "[\"a\"]", "[1, \"a\", 2]"}});
  judge({R"({"type": "array", "items": {"type": "integer"}, "maxItems": 2})", {"[]", "[1, 2]"}, {"[1, 2, 3]"}});
  judge({R"({"type": "array", "contains": {"type": "string"}})", {"[\"a\"]", "[1, \"a\", 2]"}, {"[]", "[1]"}});
  judge({R"({"type": "array", "contains": {"type": "string"}, "minContains": 2, "maxContains": 2})",
         {"[\"a\", 1, \"b\"]"},
         {"[\"a\"]", "[\"a\", \"b\", \"c\"]"}});
  judge({R"({"type": "array", "items": {"type": "integer"}, "maxItems": 18446744073709551615})",
         {"[1, 2]"},
         {"[\"a\"]"}});
}

TEST_CASE("schema: combinations mean what they say") {
  judge({R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})", {"5", "\"a\""}, {"\"ab\"", "5.5"}});
  judge({R"({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]})", {"1", "2.5"}, {"2", "3", "1.5"}});
  judge({R"({"oneOf": [{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}]})",
         {R"({"a": 1})", R"({"b": 1, "c": 2})"},
         {"{}", R"({"a": 1, "b": 1})", R"({"b": 1, "a": 1})"}});
  judge(
      {R"({"allOf": [{"type": "object", "properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"maximum": 5}}, "required": ["a"]}]})",
       {R"({"a": 4})", R"({"a": "x"})"},
       {R"({"a": 2})", R"({"a": 6})", "{}"}});
  judge({R"({"type": "string", "not": {"enum": ["a", "b"]}})", {"\"c\"", "\"ab\"", "\"\""}, {"\"a\"", "\"b\""}});
  judge({R"({"not": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}})",
         {"1", R"({"a": 1})", R"({"b": "x"})", R"({"a": "x", "b": 1})"},
         {"{}", R"({"a": "x"})"}});
  judge(
      {R"({"if": {"properties": {"k": {"const": "s"}}, "required": ["k"]}, "then": {"properties": {"v": {"type": "string"}}}, "else": {"properties": {"v": {"type": "integer"}}}, "type": "object"})",
       {R"({"k": "s", "v": "x"})", R"({"v": 1, "k": "t"})", R"({"v": 1})"},
       {R"({"k": "s", "v": 1})", R"({"v": "x", "k": "t"})", R"({"v": "x"})"}});
  judge({R"({"type": "array", "not": {"items": {"type": "integer"}}})", {"[\"a\"]", "[1, null]"}, {"[]", "[1, 2]"}});
  judge(
      {R"({"properties": {"a": true}, "allOf": [{"properties": {"b": true}}], "type": "object", "unevaluatedProperties": false})",
       {R"({"a": 1, "b": 2})"},
       {R"({"c": 1})"}});
}

TEST_CASE("schema: references, recursive ones too") {
  judge(
      {R"({"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": false}}, "$ref": "#/$defs/node"})",
       {"{}", R"({"next": {"next": {}}})"},
       {R"({"next": 1})", R"({"other": {}})"}});
  judge(
      {R"({"$id": "http://a.test/root.json", "$defs": {"x": {"$anchor": "here", "type": "integer"}, "y": {"$id": "other.json", "type": "string"}}, "anyOf": [{"$ref": "#here"}, {"$ref": "other.json"}]})",
       {"1", "\"a\""},
       {"null"}});
  CHECK(refusal(R"({"$ref": "#/nowhere"})").find("leads to nothing") != std::string::npos);
  CHECK(refusal(R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})")
            .find("back to itself") != std::string::npos);
  CHECK(refusal(R"({"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#"}}})")
            .find("no value can satisfy it") != std::string::npos);
}

TEST_CASE("schema: formats") {
  judge({R"({"type": "string", "format": "date-time"})",
         {"\"2024-02-29T23:59:59Z\"", "\"2023-01-31t00:00:00.5+02:00\""},
         {"\"2023-02-29T00:00:00Z\"", "\"2024-13-01T00:00:00Z\"", "\"2024-01-01\""}});
  judge({R"({"type": "string", "format": "email"})", {"\"a.b@c.com\""}, {"\"a@\"", "\"a b@c.com\"", "\"a\""}});
  judge({R"({"type": "string", "format": "ipv6"})",
         {"\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"::ffff:1.2.3.4\""},
         {"\"1:2\"", "\":::\""}});
  judge({R"({"type": "string", "format": "uri"})",
         {"\"https://a.b/c?d#e\"", "\"mailto:x@y\""},
         {"\"a b\"", "\"/x\"", "\"http://a b\""}});
  judge({R"({"type": "string", "format": "uuid"})", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567\""}});
}

TEST_CASE("schema: what is not enforced is named") {
  CHECK(refusal(R"({"type": "array", "uniqueItems": true})").find("uniqueItems") != std::string::npos);
  CHECK(refusal(R"({"type": "string", "pattern": "(a)\\1"})").find("backward reference") != std::string::npos);
  CHECK(refusal(R"({"$dynamicRef": "#x"})").find("$dynamicRef") != std::string::npos);
  CHECK(refusal(R"({"type": "strin"})").find("type: expected") != std::string::npos);
  CHECK(refusal(R"({"type": "object", )").find("byte") != std::string::npos);
}

TEST_CASE("masks say of every token what the matcher says of it, and never lead into a dead end") {
  const std::vector<const char*> schemas = {
      "{}",
      R"({"type": "object", "properties": {"name": {"type": "string"}, "na": {"type": "integer"}}, "required": ["name"]})",
      R"({"type": "object", "properties": {"a": {"enum": ["ab", "abc", "b\"x"]}, "id": {"type": "integer", "minimum": 3, "maximum": 120}}, "additionalProperties": false})",
      R"({"type": "array", "items": {"anyOf": [{"type": "string", "maxLength": 3}, {"const": "abcd"}, {"type": "number"}]}, "maxItems": 3})",
      R"({"type": "string", "pattern": "^(ab|a b|é)+$", "maxLength": 9})",
      R"({"type": "string", "minLength": 3, "maxLength": 5})",
      R"({"type": "string", "pattern": "^[a-z]{2,6}$"})",
      R"({"type": "object", "patternProperties": {"^a": {"type": "integer"}, "b$": {"minimum": 5}}, "maxProperties": 2})",
      R"({"type": "object", "propertyNames": {"pattern": "^[a-c]{1,3}$"}, "additionalProperties": {"type": "boolean"}})",
      R"({"type": "object", "properties": {"name": {"type": "null"}, "ab": {"type": "null"}}, "patternProperties": {"^aa": {"type": "integer"}}, "additionalProperties": false, "required": ["ab"]})",
      R"({"type": "string", "format": "email"})",
      R"({"oneOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"a": {"const": "x"}}, "required": ["a"]}], "type": "object"})",
      R"({"type": "array", "contains": {"const": "a"}, "maxItems": 2})",
  };
  Dice dice{42};
  for (const char* schema : schemas) {
    const auto grammar = schema_grammar(schema);
    int finished = 0;
    for (int i = 0; i < 12; ++i) {
      bool ended = false;
      const std::string text = random_text(grammar, dice, 40, ended);
      if (!ended) continue;
      ++finished;
      CHECK_MESSAGE(fits(grammar, text), text);
      CHECK_MESSAGE(parse_json(text, "text").has_value(), text);
    }
    static_cast<void>(finished);
  }
}

TEST_CASE("a matcher goes back, and copies go their own ways") {
  const auto grammar = schema_grammar(
      R"({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false})");
  Matcher matcher(grammar, test_tokens());
  REQUIRE(matcher.accept_text("{\""));
  REQUIRE(matcher.accept_text("a\": "));
  Matcher copy = matcher;
  REQUIRE(matcher.accept_text("12}"));
  CHECK(matcher.may_stop());
  matcher.rollback(2);
  CHECK_FALSE(matcher.accept_text("b"));
  CHECK(matcher.accept_text("a\":3}"));
  CHECK(matcher.may_stop());
  CHECK(copy.accept_text("7"));
  CHECK_FALSE(copy.may_stop());
}

}  // namespace lapidary
