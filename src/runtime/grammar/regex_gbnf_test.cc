#include <chrono>
#include <string>

#include "grammar/grammar_for_test.h"

namespace lapidary {
namespace {

std::shared_ptr<const Grammar> regex(std::string_view pattern) {
  auto grammar = Grammar::from_regex(pattern, "pattern");
  REQUIRE_MESSAGE(grammar.has_value(), (grammar ? "" : grammar.error().text()));
  return *grammar;
}

std::shared_ptr<const Grammar> gbnf(std::string_view text) {
  auto grammar = Grammar::from_gbnf(text, "grammar");
  REQUIRE_MESSAGE(grammar.has_value(), (grammar ? "" : grammar.error().text()));
  return *grammar;
}

constexpr const char* json_gbnf = R"(
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
)";

}  // namespace

TEST_CASE("regular expressions match whole texts") {
  CHECK(fits(regex("a+b?"), "aab"));
  CHECK_FALSE(fits(regex("a+b?"), "xaab"));
  CHECK_FALSE(fits(regex("a+b?"), "aabb"));
  CHECK(fits(regex("^\\d{3}-[A-F\\s]+$"), "123-A B"));
  CHECK(fits(regex("(?!bad)[a-z]+"), "good"));
  CHECK_FALSE(fits(regex("(?!bad)[a-z]+"), "badge"));
  CHECK(fits(regex("(?=.*\\d)[a-z\\d]+"), "ab1"));
  CHECK_FALSE(fits(regex("(?=.*\\d)[a-z\\d]+"), "abc"));
  CHECK(fits(regex("[^x]{2}"), "日é"));
  CHECK(fits(regex("(?:ab|cd){2,3}"), "abcdab"));
  CHECK(fits(regex("\\u00e9|\\x41"), "é"));
  for (const char* bad :
       {"(", "a)", "[a", "*", "a**", "(?<=a)b", "(a)\\1", "\\bx", "a{2,1}", "\\", "[b-a]", "(?i)a", "\\p{L}"})
    CHECK_FALSE(Grammar::from_regex(bad, "pattern").has_value());
}

TEST_CASE("patterns that would explode are refused at once") {
  for (const std::string& pattern :
       {std::string("(a|aa)*(a|b)*[ab]{2000}[ab]*x{50000}"), std::string("((a{1,100}){1,100}){1,100}"),
        std::string("(.*a.{30}){2}"), std::string(100'000, '('), std::string(7'000, 'a') + std::string(900, '(')}) {
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(Grammar::from_regex(pattern, "pattern").has_value());
    const auto taken = std::chrono::steady_clock::now() - begin;
    CHECK(taken < std::chrono::seconds(2));  // some 40 ms; this runs under sanitizers, too
  }
}

TEST_CASE("gbnf: rules, groups, repetitions, recursion") {
  CHECK(fits(gbnf("root ::= \"a\" [b-d]+ (\"x\" | \"y\")? # comment\n"), "abcx"));
  CHECK_FALSE(fits(gbnf("root ::= \"a\" [b-d]+"), "a"));
  CHECK(fits(gbnf("root ::= item{2,3}\nitem ::= \"-\" [a-z]"), "-a-b"));
  CHECK_FALSE(fits(gbnf("root ::= item{2,3}\nitem ::= \"-\" [a-z]"), "-a"));
  const auto nested = gbnf("root ::= \"(\" root? \")\"");
  CHECK(fits(nested, "((()))"));
  CHECK_FALSE(fits(nested, "(()"));
  CHECK_FALSE(fits(nested, "()()"));
  const auto json = gbnf(json_gbnf);
  CHECK(fits(json, "{\"a\": [1, 2.5, {\"b\": null}], \"日\": \"\\n\"}"));
  CHECK_FALSE(fits(json, "{\"a\": }"));
  CHECK_FALSE(fits(json, "[1]"));
}

TEST_CASE("gbnf: what is no grammar is refused, and where") {
  const auto refusal = [](std::string_view text) {
    const auto grammar = Grammar::from_gbnf(text, "g");
    REQUIRE_FALSE(grammar.has_value());
    return grammar.error().text();
  };
  CHECK(refusal("root ::= root \"a\" | \"b\"").find("left recursion") != std::string::npos);
  CHECK(refusal("root ::= x? root \"a\" | \"b\"\nx ::= \"x\"").find("left recursion") != std::string::npos);
  CHECK(refusal("root ::= other").find("no rule \"other\"") != std::string::npos);
  CHECK(refusal("x ::= \"a\"").find("no rule \"root\"") != std::string::npos);
  CHECK(refusal("root ::= \"a").find("line 1") != std::string::npos);
  CHECK(refusal("root ::= (\"a\"\nb ::= \"c\"").find("expected") != std::string::npos);
  CHECK(refusal("root ::= " + std::string(100'000, '(')).find("deeper") != std::string::npos);
  CHECK(refusal("root ::= \"a\"{100000000}").find("repetition") != std::string::npos);
}

TEST_CASE("masks of texts and networks say of every token what the matcher says of it") {
  Dice dice{7};
  for (const auto& grammar :
       {regex("(ab|a b|é)+x?"), regex("[a-z]{2,9}@[^\\n]*"), gbnf(json_gbnf),
        gbnf("root ::= \"(\" (root | [^()]*) \")\""), gbnf("root ::= \"a\" root \"b\" | \"日\" | [^a]")})
    for (int i = 0; i < 8; ++i) {
      bool ended = false;
      const std::string text = random_text(grammar, dice, 25, ended);
      if (ended) CHECK_MESSAGE(fits(grammar, text), text);
    }
}

}  // namespace lapidary
