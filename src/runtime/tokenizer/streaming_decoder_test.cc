#include <doctest/doctest.h>

#include "tokenizer/tokenizer.h"

namespace lapidary {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::from_json_file("tests/golden/unified/model/tokenizer.json").value();
  return loaded;
}

}  // namespace

TEST_CASE("streaming decoder: a character of several byte tokens comes when it is complete") {
  StreamingDecoder decoder(tokenizer());
  std::vector<std::string> texts;
  for (const int32_t id : tokenizer().encode("a日b", SpecialParsing::off)) texts.push_back(decoder.push(id));
  CHECK(texts == std::vector<std::string>{"a", "", "", "日", "b"});
  CHECK(decoder.finish().empty());
}

TEST_CASE("streaming decoder: a character that never completes becomes U+FFFD for each of its bytes") {
  const auto ids = tokenizer().encode("日", SpecialParsing::off);
  StreamingDecoder decoder(tokenizer());
  decoder.push(ids[0]);
  decoder.push(ids[1]);
  SUBCASE("at the end") { CHECK(decoder.finish() == "\uFFFD\uFFFD"); }
  SUBCASE("before a token of text") { CHECK(decoder.push(tokenizer().find("a")) == "\uFFFD\uFFFDa"); }
  SUBCASE("before a special token, which gives no text") {
    CHECK(decoder.push(tokenizer().find("<turn|>")) == "\uFFFD\uFFFD");
  }
  SUBCASE("before the first byte of another character") {
    CHECK(decoder.push(ids[0]) == "\uFFFD\uFFFD");
    decoder.push(ids[1]);
    CHECK(decoder.push(ids[2]) == "日");
  }
}

TEST_CASE("streaming decoder: its texts join to what decode gives") {
  const std::string text = "Hello 日本 🙂\n\n  naïve\t\x01";
  const auto ids = tokenizer().encode(text, SpecialParsing::off);
  StreamingDecoder decoder(tokenizer());
  std::string joined;
  for (const int32_t id : ids) joined += decoder.push(id);
  CHECK(joined + decoder.finish() == text);
  CHECK(tokenizer().decode(ids, SpecialParsing::off) == text);
}

}  // namespace lapidary
