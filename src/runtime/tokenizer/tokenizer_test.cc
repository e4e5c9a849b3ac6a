#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/system.h"
#include "tokenizer/golden_check_for_test.h"

namespace lapidary {
namespace {

const char* const small_path = "tests/golden/unified/model/tokenizer.json";

const Tokenizer& small() {
  static const Tokenizer tokenizer = Tokenizer::from_json_file(small_path).value();
  return tokenizer;
}

double seconds_to_encode(const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  const auto ids = small().encode(text, SpecialParsing::off);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(small().decode(ids, SpecialParsing::on) == text);
  return seconds;
}

}  // namespace

TEST_CASE("tokenizer: the sha256 of these tests is the real one") {
  CHECK(golden::sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("pitfall 9: the small vocabulary gives the official ids and texts, merged over the whole text") {
  golden::check_set(small(), "tests/golden/tokenizer/small.json");
}

TEST_CASE("pitfall 11: accents stay in their word, as in the real Gemma 3 vocabulary") {
  const auto path = environment("LAPIDARY_GEMMA3_TOKENIZER");
  if (!path) {
    MESSAGE("skipped: LAPIDARY_GEMMA3_TOKENIZER does not name Gemma 3's tokenizer.json");
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  const Tokenizer tokenizer = Tokenizer::from_json_file(*path).value();
  MESSAGE("loaded in ", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), " s");
  golden::check_set(tokenizer, "tests/golden/tokenizer/gemma3.json");
  CHECK(tokenizer.encode("Hello world! Café déjà vu — 123 😊", SpecialParsing::off) ==
        std::vector<int32_t>{9259, 1902, 236888, 62367, 29234, 11042, 2192, 236743, 236770, 236778, 236800, 103453});
  CHECK(tokenizer.encode(" Linus", SpecialParsing::off) == std::vector<int32_t>{9684, 605});
  CHECK(tokenizer.model_name() == "gemma3 BPE");
}

TEST_CASE("pitfall 10: a line of a million characters, of any kind, takes time in proportion and no stack") {
  std::string words;
  while (words.size() < 1'000'000) words += "The quick brown fox, ";
  for (const std::string& text :
       {std::string(1'000'000, 'a'), std::string(1'000'000, ' '), std::string(1'000'000, '\n'),
        std::string(1'000'000, '<'), words, golden::repeat("日本", 170'000)})
    CHECK(seconds_to_encode(text) < 60.0);  // 0.3 s; sanitizers and a busy machine pass, a quadratic way takes hours
}

TEST_CASE("advisory 13: ids are appended to what is there, however long the text") {
  std::vector<int32_t> ids = {7};
  small().encode("a", SpecialParsing::off, ids);
  small().encode("", SpecialParsing::off, ids);
  CHECK(ids == std::vector<int32_t>{7, small().find("a")});
}

TEST_CASE("tokenizer: with special parsing off, names of special tokens are ordinary characters") {
  const std::string text = "x<bos><|turn>user\n<turn|><|\"|>\n\n\n";
  const auto plain = small().encode(text, SpecialParsing::off);
  for (const int32_t id : plain) CHECK(!small().is_special(id));
  CHECK(small().decode(plain, SpecialParsing::off) == text);
  CHECK(plain.back() == small().find("\n\n\n"));  // plain added tokens are matched all the same
  const auto special = small().encode(text, SpecialParsing::on);
  CHECK(std::ranges::count_if(special, [](int32_t id) { return small().is_special(id); }) == 4);
  CHECK(small().decode(special, SpecialParsing::on) == text);
  CHECK(small().decode(special, SpecialParsing::off) == "xuser\n\n\n\n");
}

TEST_CASE("tokenizer: runs of line breaks and spaces are cut greedily from the left, also beyond the longest token") {
  const auto eight = small().find("\n\n\n\n\n\n\n\n");
  CHECK(small().encode(std::string(17, '\n'), SpecialParsing::off) ==
        std::vector<int32_t>{eight, eight, small().find("\n")});
  const auto spaces = small().encode(std::string(9, ' ') + "the", SpecialParsing::off);
  CHECK(spaces == std::vector<int32_t>{small().find(std::string(8, ' ')), small().find(" the")});
  CHECK(small().find("▁the") == small().find(" the"));  // both spellings of the space
}

TEST_CASE("tokenizer: bytes that are not UTF-8 become byte tokens, and come back as U+FFFD") {
  const std::string text = "a\xFF\xC3(\xE2\x96";
  const auto ids = small().encode(text, SpecialParsing::on);
  for (const char byte : {'\xFF', '\xC3', '\x96'})
    CHECK(std::ranges::any_of(ids, [&](int32_t id) {
      return small().kind(id) == TokenKind::byte && small().piece(id) == std::string_view(&byte, 1);
    }));
  CHECK(small().decode(ids, SpecialParsing::on) == "a\uFFFD\uFFFD(\uFFFD\uFFFD");
}

TEST_CASE("tokenizer: a run of byte tokens with a wrong byte is replaced whole, like the official decoder does") {
  auto ids = small().encode("日\xFF", SpecialParsing::on);
  CHECK(small().decode(ids, SpecialParsing::on) == "\uFFFD\uFFFD\uFFFD\uFFFD");
  ids.insert(ids.end() - 1, small().find("a"));
  CHECK(small().decode(ids, SpecialParsing::on) == "日a\uFFFD");
}

TEST_CASE("tokenizer: ids that no token has are nothing, not a crash") {
  for (const int32_t id :
       {-1, small().size(), std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    CHECK(small().piece(id).empty());
    CHECK(!small().is_special(id));
    CHECK(small().decode(std::vector<int32_t>{id}, SpecialParsing::on).empty());
  }
  CHECK(small().find("no such token") == -1);
  CHECK(small().find("<0x41>") == -1);  // a byte token is found by no text
}

TEST_CASE("tokenizer: texts are cut at special tokens, as encoding cuts them") {
  const auto fragments = small().split_at_specials("<bos>a<b>\n<turn|><turn|>z\n");
  REQUIRE(fragments.size() == 5);
  CHECK(fragments[0].special == small().find("<bos>"));
  CHECK(fragments[1].text == "a<b>\n");
  CHECK(fragments[1].special == -1);
  CHECK(fragments[3].special == small().find("<turn|>"));
  CHECK(fragments[4].text == "z\n");
  CHECK(small().split_at_specials("").empty());
  CHECK(small().split_at_specials("\n").size() == 1);
}

}  // namespace lapidary
