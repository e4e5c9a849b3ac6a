#include <doctest/doctest.h>
#include <fmt/format.h>

#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {
namespace {

// A complete little vocabulary: 256 bytes, the letters a to d, the space and what the tests add.
Json minimal() {
  Json file = {
      {"version", "1.0"},
      {"added_tokens", Json::array({{{"id", 0}, {"content", "<bos>"}, {"special", true}, {"normalized", false}}})},
      {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}},
      {"pre_tokenizer", nullptr},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", Json::array({{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                                  {{"type", "ByteFallback"}},
                                  {{"type", "Fuse"}}})}}},
      {"model", {{"type", "BPE"}, {"byte_fallback", true}, {"vocab", Json::object()}, {"merges", Json::array()}}}};
  Json& vocabulary = file["model"]["vocab"];
  vocabulary["<bos>"] = 0;
  for (int i = 0; i < 256; ++i) vocabulary[fmt::format("<0x{:02X}>", i)] = i + 1;
  for (const char* piece : {"a", "b", "c", "d", "▁", "ab", "abc", "bc", "▁a"}) vocabulary[piece] = vocabulary.size();
  return file;
}

Json read(std::string_view text) { return parse_json(text, "test").value(); }

Result<Tokenizer> load(const Json& file) { return Tokenizer::from_json(dump(file), "tokenizer.json"); }

std::vector<std::string> pieces(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> result;
  for (const int32_t id : tokenizer.encode(text, SpecialParsing::on)) result.emplace_back(tokenizer.piece(id));
  return result;
}

using Pieces = std::vector<std::string>;

void check_refused(const Json& file, ErrorKind kind, const std::string& part) {
  const auto loaded = load(file);
  REQUIRE(!loaded.has_value());
  INFO(loaded.error().text());
  CHECK(loaded.error().kind == kind);
  CHECK(loaded.error().text().find(part) != std::string::npos);
  CHECK(loaded.error().text().starts_with("tokenizer.json"));
}

}  // namespace

TEST_CASE("tokenizer.json: merges as pairs or as texts, the lowest rank first, the leftmost of equals") {
  for (const bool as_text : {false, true}) {
    Json file = minimal();
    const auto rule = [&](const char* left, const char* right) {
      file["model"]["merges"].push_back(as_text ? Json(std::string(left) + " " + right) : Json::array({left, right}));
    };
    rule("b", "c");
    rule("a", "b");
    rule("a", "bc");
    rule("▁", "a");
    const Tokenizer tokenizer = load(file).value();
    CHECK(pieces(tokenizer, "abc") == Pieces{"abc"});
    CHECK(pieces(tokenizer, "abab a") == Pieces{"ab", "ab", " a"});
    CHECK(pieces(tokenizer, "<bos>abd") == Pieces{"<bos>", "ab", "d"});
    CHECK(tokenizer.model_name() == "gemma3 BPE");
  }
}

TEST_CASE("pitfall 12: a merge whose result is not in the vocabulary never applies") {
  Json file = minimal();
  file["model"]["merges"] = read(R"([["c", "d"], ["zz", "a"], ["b", "c"]])");
  const Tokenizer tokenizer = load(file).value();
  CHECK(pieces(tokenizer, "cdbc") == Pieces{"c", "d", "bc"});
}

TEST_CASE("tokenizer.json: no merge can make a special token") {
  Json file = minimal();
  file["model"]["vocab"]["cd"] = 300;
  file["model"]["merges"] = read(R"([["c", "d"]])");
  CHECK(pieces(load(file).value(), "cd") == Pieces{"cd"});
  file["added_tokens"].push_back({{"id", 300}, {"content", "cd"}, {"special", true}, {"normalized", false}});
  const Tokenizer tokenizer = load(file).value();
  CHECK(tokenizer.encode("cd", SpecialParsing::off) == std::vector<int32_t>{tokenizer.find("c"), tokenizer.find("d")});
  CHECK(tokenizer.encode("cd", SpecialParsing::on) == std::vector<int32_t>{300});
}

TEST_CASE("tokenizer.json: a space inside tokens does not stop merging across it") {
  Json file = minimal();
  file["model"]["vocab"]["a▁"] = 266;
  file["model"]["vocab"]["a▁b"] = 267;
  file["model"]["merges"] = read(R"([["a", "▁"], ["a▁", "b"]])");
  CHECK(pieces(load(file).value(), "a bc a") == Pieces{"a b", "c", " ", "a"});
}

TEST_CASE("tokenizer.json: added tokens beyond the vocabulary, the longest match first") {
  Json file = minimal();
  file["added_tokens"].push_back({{"id", 266}, {"content", "<x>"}, {"special", false}, {"normalized", false}});
  file["added_tokens"].push_back({{"id", 267}, {"content", "<x>a"}, {"special", true}, {"normalized", false}});
  const Tokenizer tokenizer = load(file).value();
  CHECK(tokenizer.size() == 268);
  CHECK(pieces(tokenizer, "<x>b<x>a") == Pieces{"<x>", "b", "<x>a"});
  CHECK(tokenizer.encode("<x>a", SpecialParsing::off) == std::vector<int32_t>{266, tokenizer.find("a")});
}

TEST_CASE("tokenizer.json: another kind of tokenizer is refused by the name of what differs") {
  const auto refused = [](const char* pointer, std::string_view value, const char* part) {
    Json file = minimal();
    file[Json::json_pointer(pointer)] = read(value);
    check_refused(file, ErrorKind::unsupported, part);
  };
  refused("/model/type", R"("WordPiece")", "model.type");
  refused("/model/byte_fallback", "false", "model.byte_fallback");
  refused("/model/ignore_merges", "true", "model.ignore_merges");
  refused("/model/end_of_word_suffix", R"("</w>")", "</w>");
  refused("/normalizer", "null", "normalizer.type");
  refused("/normalizer/content", R"("_")", "normalizer.content");
  refused("/pre_tokenizer", R"({"type": "ByteLevel"})", "ByteLevel");
  refused("/decoder/decoders/1", R"({"type": "Strip"})", "decoder.decoders[1].type");
  refused("/decoder/decoders/3", R"({"type": "Strip"})", "decoder.decoders[3].type");
  refused("/model/vocab", R"([["a", -1.5]])", "Unigram");
  refused("/added_tokens/0/lstrip", "true", "added_tokens[0].lstrip");
  Json spaced = minimal();
  spaced["added_tokens"].push_back({{"id", 266}, {"content", "a b"}, {"special", true}, {"normalized", true}});
  check_refused(spaced, ErrorKind::unsupported, "added_tokens[1]");
  Json no_byte = minimal();
  no_byte["model"]["vocab"].erase("<0x41>");
  check_refused(no_byte, ErrorKind::unsupported, "<0x41>");
  Json no_space = minimal();
  no_space["model"]["vocab"].erase("▁");
  check_refused(no_space, ErrorKind::unsupported, "space");
}

TEST_CASE("tokenizer.json: damaged tables are refused with their place") {
  const auto refused = [](const char* pointer, std::string_view value, const char* part) {
    Json file = minimal();
    file[Json::json_pointer(pointer)] = read(value);
    check_refused(file, ErrorKind::refused, part);
  };
  refused("/model/vocab/a", "-1", "model.vocab[\"a\"]");
  refused("/model/vocab/a", "4000000000", "model.vocab[\"a\"]");
  refused("/model/vocab/a", "18446744073709551615", "model.vocab[\"a\"]");
  refused("/model/vocab/a", "1000000", "model.vocab[\"a\"]");  // would need a table far larger than the file
  refused("/model/vocab/a", R"("x")", "model.vocab");
  refused("/model/vocab/a", "[]", "expected another type");
  refused("/model/vocab/a", "5", "another token has");
  refused("/model/vocab", "null", "model.vocab");
  refused("/model/merges", R"(["ab"])", "model.merges[0]");
  refused("/model/merges", R"([["a", "b"], ["a"]])", "model.merges[1]");
  refused("/model/merges", R"([["a", "b", "c"]])", "more");
  refused("/model/merges", "[1]", "model.merges[0]");
  refused("/model/merges", R"([{"a": 1}])", "list or an object");
  refused("/model/merges", R"({"a": "b"})", "model.merges");
  refused("/model/merges", "1", "model.merges");
  refused("/added_tokens", "{}", "added_tokens");
  refused("/added_tokens/0/id", "7", "added_tokens[0]");
  refused("/added_tokens/0/id", "-7", "added_tokens[0].id");
  refused("/added_tokens/0/content", R"("")", "added_tokens[0].content");
  refused("/added_tokens/0", R"("x")", "added_tokens[0]");
  Json long_token = minimal();
  long_token["model"]["vocab"][std::string(2000, 'a')] = 266;
  check_refused(long_token, ErrorKind::refused, "2000 bytes");
}

TEST_CASE("tokenizer.json: broken or endless JSON is refused") {
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{"), std::string("{} {}"), std::string("{\"a\":\"\xff\"}"),
        std::string(100'000, '['), "{\"a\":" + std::string(100'000, '[')}) {
    const auto loaded = Tokenizer::from_json(text, "t");
    REQUIRE(!loaded.has_value());
    CHECK(loaded.error().text().starts_with("t"));
  }
  const std::string whole = dump(minimal());
  for (size_t size = 0; size < whole.size(); size += 97)
    CHECK(!Tokenizer::from_json(whole.substr(0, size), "t").has_value());
  Json many = minimal();
  for (int i = 0; i < 11'000; ++i) many["post_processor"].push_back(i);
  CHECK(load(many).error().kind == ErrorKind::limit);
  CHECK(!Tokenizer::from_json_file("no/such/tokenizer.json").has_value());
}

}  // namespace lapidary
