// Every schema that compiles has a value, and whatever a reply has begun with, it can be ended.
#include <string>
#include <vector>

#include "grammar/grammar_for_test.h"
#include "grammar/plain_validator_for_test.h"
#include "sanitized.h"

namespace lapidary {
namespace {

// Without a value, each in its own way.
constexpr const char* empty_schemas[] = {
    R"({"oneOf": [{"type": "object", "maxProperties": 0}, {"type": "object", "maxProperties": 0}]})",
    R"({"oneOf": [{"type": "object", "properties": {}, "additionalProperties": false, "maxProperties": 0},
                  {"type": "object", "properties": {}, "additionalProperties": false, "maxProperties": 0}]})",
    R"({"type": "object", "maxProperties": 0, "not": {"additionalProperties": false}})",
    R"({"type": "object", "additionalProperties": false, "patternProperties": {"^[ab]$": {}}, "minProperties": 3})",
    R"({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "minProperties": 3})",
    R"({"type": "object", "propertyNames": {"pattern": "^a$"}, "minProperties": 2})",
    R"({"type": "object", "properties": {"a": {}}, "propertyNames": {"maxLength": 0}, "required": ["a"]})",
    R"({"type": "object", "maxProperties": 1, "required": ["a"], "properties": {"a": {"type": "null"}},
        "not": {"additionalProperties": {"type": "null"}, "properties": {"a": {}}}})",
    R"({"type": "array", "maxItems": 1, "allOf": [{"contains": {"type": "null"}}, {"contains": {"type": "string"}}]})",
    R"({"type": "array", "items": {"type": "null"}, "contains": {"type": "null"}, "maxContains": 2, "minItems": 3})",
    R"({"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "integer"}, "maxItems": 2,
        "contains": {"type": "integer"}, "minContains": 2})",
    R"({"type": "array", "minItems": 1, "items": {"type": "object", "required": ["a"], "properties": {"a": false}}})",
    R"({"type": "string", "pattern": "^(aa)*$", "minLength": 3, "maxLength": 3})",
    R"({"type": "string", "pattern": "^[\\uD800-\\uDFFF]$"})",
    R"({"type": "integer", "multipleOf": 4, "not": {"multipleOf": 2}})",
    R"({"type": "integer", "minimum": 1, "maximum": 3, "multipleOf": 2, "not": {"const": 2}})",
    R"({"type": "number", "exclusiveMinimum": 3, "exclusiveMaximum": 3})",
    R"({"type": "number", "minimum": 1e80})",
    R"({"const": 1e-90})",
    R"({"type": "object", "required": ["x"], "properties": {"x": {"$ref": "#"}}})",
    R"({"type": "array", "minItems": 1, "items": {"$ref": "#"}})",
};

// In each of these, some way leads where nothing goes on, unless it is left out.
constexpr const char* narrow_schemas[] = {
    R"({"type": "object", "additionalProperties": false, "patternProperties": {"^[ab]$": {"type": "null"}}})",
    R"({"type": "object", "additionalProperties": false, "patternProperties": {"^(a|b[0-9]*)$": {"type": "null"}}})",
    R"({"type": "object", "propertyNames": {"pattern": "^(é|è)$"}, "additionalProperties": {"type": "null"}})",
    R"({"type": "object", "propertyNames": {"enum": ["ab", "abc"]}, "minProperties": 2, "additionalProperties": {"type": "null"}})",
    R"({"type": "object", "properties": {"ab": {"type": "null"}}, "propertyNames": {"pattern": "^a[b-d]$"}, "additionalProperties": {"type": "null"}})",
    R"({"type": "object", "maxProperties": 1, "not": {"additionalProperties": {"type": "string"}}})",
    R"({"type": "object", "maxProperties": 2, "required": ["a"], "not": {"properties": {"b": {"type": "null"}}}})",
    R"({"type": "object", "maxProperties": 1, "not": {"propertyNames": {"not": {"const": "0"}}}})",
    R"({"type": "object", "maxProperties": 2, "propertyNames": {"pattern": "^..$"}, "additionalProperties": {"type": "null"},
        "allOf": [{"not": {"propertyNames": {"not": {"pattern": "a"}}}}, {"not": {"propertyNames": {"not": {"pattern": "b"}}}},
                  {"not": {"propertyNames": {"not": {"pattern": "c"}}}}]})",
    R"({"type": "object", "maxProperties": 2, "patternProperties": {"^[0-9]$": {"type": "null"}}, "additionalProperties": false,
        "not": {"anyOf": [{"propertyNames": {"not": {"enum": ["1", "3"]}}}, {"propertyNames": {"not": {"enum": ["2", "3"]}}}]}})",
    R"({"type": "object", "maxProperties": 1, "not": {"patternProperties": {"^x": {"type": "null"}}}})",
    R"({"type": "object", "maxProperties": 2, "not": {"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": {"type": "integer"}}})",
    R"({"type": "object", "maxProperties": 2, "dependentRequired": {"a": ["b"], "b": ["c"]}, "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}, "additionalProperties": false})",
    R"({"type": "array", "maxItems": 2, "allOf": [{"contains": {"type": "null"}}, {"contains": {"type": "boolean"}}]})",
    R"({"type": "array", "maxItems": 2, "allOf": [{"contains": {"enum": [1, 2]}}, {"contains": {"enum": [2, 3]}}, {"contains": {"enum": [3, 1]}}]})",
    R"({"type": "array", "minItems": 3, "maxItems": 4, "contains": {"type": "null"}, "maxContains": 2, "items": {"enum": [null, 1]}})",
    R"({"type": "array", "prefixItems": [{"type": "null"}, {"enum": [null, 1]}], "items": {"type": "integer"}, "contains": {"type": "null"}, "minContains": 2})",
    R"({"type": "string", "pattern": "^(aaa)*$", "minLength": 2, "maxLength": 10})",
    R"({"type": "string", "pattern": "^(ab|abcde)$", "maxLength": 4, "minLength": 1})",
    R"({"type": "string", "pattern": "^[\\u0000-\\uffff]$"})",
    R"({"type": "string", "pattern": "^[^\\ud800-\\udfff]{1,2}$"})",
    R"({"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.12, "not": {"enum": [0.11]}})",
    R"({"type": "number", "minimum": 1e-50, "maximum": 1e-49})",
    R"({"enum": [1e-70, 0, 5]})",
    R"({"type": "integer", "maximum": 1e40, "minimum": 5})",
    R"({"type": "integer", "minimum": 3, "maximum": 30, "multipleOf": 3, "not": {"multipleOf": 2}})",
    R"({"type": "number", "multipleOf": 0.1, "minimum": 0.30000000000000004, "maximum": 0.6})",
    R"({"type": "number", "not": {"type": "integer"}, "minimum": -2, "maximum": 1})",
    R"({"type": "number", "not": {"multipleOf": 0.5}, "exclusiveMinimum": 0, "maximum": 1})",
};

}  // namespace

TEST_CASE("a schema without a value is refused, and where") {
  for (const char* schema : empty_schemas) {
    const auto grammar = Grammar::from_schema(schema, "schema");
    CHECK_MESSAGE(!grammar.has_value(), std::string(schema));
    if (grammar) continue;
    CHECK_MESSAGE(grammar.error().kind == ErrorKind::unsupported, std::string(schema));
    CHECK_MESSAGE(grammar.error().text().find("no value can satisfy it") != std::string::npos, grammar.error().text()
                                                                                                   << " of " << schema);
  }
  const auto reason = [](const char* schema) {
    const auto grammar = Grammar::from_schema(schema, "schema");
    return grammar ? std::string() : grammar.error().text();
  };
  CHECK(reason(R"({"type": "object", "required": ["a/b"], "properties": {"a/b": false}})").find("\"a/b\"") !=
        std::string::npos);
  CHECK(reason(R"({"type": "object", "required": ["a/b"], "properties": {"a/b": {"$ref": "#/$defs/n"}},
                   "$defs": {"n": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/n"}}}})")
            .find("/a~1b/0") != std::string::npos);
}

TEST_CASE("rules that never end are left out of a grammar, or it is refused") {
  for (const char* text :
       {"root ::= \"a\" root", "root ::= \"a\" b\nb ::= \"(\" b \")\"", "root ::= \"a\" [\\uD800-\\uDFFF]"}) {
    const auto grammar = Grammar::from_gbnf(text, "grammar");
    REQUIRE_MESSAGE(!grammar.has_value(), std::string(text));
    CHECK(grammar.error().text().find("no text can satisfy it") != std::string::npos);
  }
  const auto grammar =
      Grammar::from_gbnf("root ::= \"x\" | \"(\" root \")\" | \"a\" loop\nloop ::= \"b\" loop", "grammar");
  REQUIRE(grammar.has_value());
  CHECK(fits(*grammar, "((x))"));
  Matcher matcher(*grammar, test_tokens());
  CHECK_FALSE(matcher.accept_text("a"));
}

TEST_CASE("what has begun can be ended, where the ways are few") {
  Dice dice{7};
  for (const char* schema : narrow_schemas) {
    const auto grammar = schema_grammar(schema);
    const Json parsed = parse_json(schema, "schema").value();
    int finished = 0;
    for (int i = 0; i < (sanitized ? 10 : 40); ++i) {
      bool ended = false;
      const std::string text = random_text(grammar, dice, 100, ended);
      if (!ended) continue;
      ++finished;
      const auto value = parse_json(with_long_numbers(text), "text");
      REQUIRE_MESSAGE(value.has_value(), text);
      CHECK_MESSAGE(PlainValidator(parsed).judge(*value) != false, text << " by " << std::string(schema));
    }
    CHECK_MESSAGE(finished > 0, std::string(schema));
  }
}

}  // namespace lapidary
