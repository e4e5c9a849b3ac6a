// The advisories of the security catalogue that concern grammars, by number.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "grammar/grammar_for_test.h"
#include "sanitized.h"

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
constexpr double processor_seconds_max = sanitized ? 2 : 0.15;  // 50 ms on the machine of docs/constrained-output.md

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

namespace {

std::string list(int count, const std::string& separator, const auto& item) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : separator) + item(i);
  return text;
}

std::string of_patterns(const char* keyword, int count, const char* pattern) {
  return fmt::format("{{\"{}\": [{}]}}", keyword, list(count, ",", [&](int i) {
                       return fmt::format("{{\"type\": \"string\", \"pattern\": \"{}\"}}",
                                          fmt::format(fmt::runtime(pattern), static_cast<char>('a' + i), i + 3));
                     }));
}

// Schemas that are costly to judge, each in its own way.
std::vector<std::pair<std::string, std::string>> costly_schemas() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const char* pattern :
       {"(a|aa)*(a|b)*[ab]{2000}[ab]*x{50000}", "((a{1,100}){1,100}){1,100}", "(.*a.{30}){2}", "^[ab]*a[ab]{14}$",
        "^[ab]*a[ab]{11}$", "a.{12}$", "^([\\u0000-\\uffff]{0,50}[a-z]){20}$", "^(a?){500}a{500}$", "^(a?b?c?){200}$",
        "(a{0,1000}b{0,1000}c{0,1000}){0,1000}", "^[a-z]{0,5000}[0-9]{0,900}$"})
    all.emplace_back(pattern, fmt::format("{{\"type\": \"string\", \"pattern\": \"{}\"}}", pattern));
  const auto pattern_of = [](const std::string& pattern) {
    return "{\"type\": \"string\", \"pattern\": \"" + pattern + "\"}";
  };
  all.emplace_back("12 words in any order",
                   pattern_of(list(12, "|", [](int i) { return fmt::format("w{0}.*x{0}", i); })));
  all.emplace_back(
      "12 look-aheads",
      pattern_of("^" + list(12, "", [](int i) { return fmt::format("(?=.*{})", static_cast<char>('a' + i)); }) +
                 ".*$"));
  all.emplace_back(
      "3,000 words",
      pattern_of("^(" + list(3'000, "|", [](int i) { return fmt::format("item{}", i * 7919 % 100'003); }) + ")$"));
  all.emplace_back("not a pattern", R"({"type": "string", "not": {"pattern": "^[ab]*a[ab]{12}$"}})");
  all.emplace_back("allOf patterns", of_patterns("allOf", 8, "{0}.{{{1}}}{0}"));
  all.emplace_back("anyOf patterns", of_patterns("anyOf", 8, "{0}.{{{1}}}{0}"));
  all.emplace_back("oneOf patterns", of_patterns("oneOf", 8, "{0}.{{{1}}}{0}"));
  all.emplace_back("60 costly patterns", "{\"properties\": {" + list(60, ",", [&](int i) {
                                           return fmt::format("\"p{}\": {}", i,
                                                              pattern_of(fmt::format("^[ab]*a[ab]{{9}}{}$", i)));
                                         }) + "}}");
  all.emplace_back(
      "no format",
      R"({"type": "string", "not": {"anyOf": [{"format": "email"}, {"format": "hostname"}, {"format": "uri"}, {"format": "ipv6"}, {"format": "iri"}]}})");
  all.emplace_back("30 choices of two",
                   "{\"allOf\": [" + list(30, ",", [](int i) {
                     return fmt::format("{{\"anyOf\": [{{\"required\": [\"a{0}\"]}}, {{\"required\": [\"b{0}\"]}}]}}",
                                        i);
                   }) + "]}");
  all.emplace_back("one of 60", "{\"oneOf\": [" + list(60, ",", [](int i) {
                                  return fmt::format("{{\"properties\": {{\"p{}\": {{\"minLength\": {}}}}}}}", i,
                                                     i + 1);
                                }) + "]}");
  all.emplace_back(
      "60 times 300 names",
      "{\"allOf\": [" + list(60, ",", [](int j) {
        return "{\"properties\": {" +
               list(300, ",", [&](int i) { return fmt::format("\"n{}\": {{\"minLength\": {}}}", i * j, j); }) + "}}";
      }) + "]}");
  all.emplace_back("8,000 references", "{\"$ref\": \"#/$defs/d0\", \"$defs\": {" + list(8'000, ",", [](int i) {
                                         return fmt::format(
                                             "\"d{}\": {{\"type\": \"object\", \"properties\": {{\"n\": {{\"$ref\": "
                                             "\"#/$defs/d{}\"}}}}, \"required\": [\"n\"]}}",
                                             i, i + 1);
                                       }) + ",\"d8000\": {}}}");
  all.emplace_back("20,000 objects", "{\"enum\": [" + list(20'000, ",", [](int i) {
                                       return fmt::format("{{\"a\": {0}, \"b\": [{0}]}}", i);
                                     }) + "]}");
  all.emplace_back("5,000 ranges", "{\"anyOf\": [" + list(5'000, ",", [](int i) {
                                     return fmt::format("{{\"minimum\": {0}, \"maximum\": {0}}}", i);
                                   }) + "]}");
  all.emplace_back("items that differ", R"({"type": "array", "uniqueItems": true, "items": {"type": "object"}})");
  return all;
}

}  // namespace

// LAPIDARY_HOSTILE=1 prints how much of a processor's time each took.
TEST_CASE("advisory 15: what is refused is refused at once, by the processor's time") {
  std::vector<std::pair<double, std::string>> taken;
  int refused = 0;
  for (const auto& [name, schema] : costly_schemas()) {
    double least = 1e9;
    std::string error;
    for (int i = 0; i < 3; ++i) {
      const std::clock_t begin = std::clock();
      error = compile(schema).error;
      least = std::min(least, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    }
    refused += error.empty() ? 0 : 1;
    CHECK_MESSAGE(least < processor_seconds_max, name);
    taken.emplace_back(least, name + (error.empty() ? " (compiled)" : ": " + error));
  }
  CHECK(refused > 12);
  std::ranges::sort(taken, std::greater());
  if (std::getenv("LAPIDARY_HOSTILE") == nullptr) return;
  for (const auto& [seconds, name] : taken) fmt::print("{:6.1f} ms  {}\n", seconds * 1e3, name.substr(0, 150));
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
