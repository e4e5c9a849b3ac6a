#include <cmath>

#include "base/system.h"
#include "formats/gguf.h"
#include "tokenizer/golden_check_for_test.h"

namespace lapidary {
namespace {

Tokenizer from_file(const std::string& path) {
  auto file = Gguf::open(path);
  REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().text()));
  auto tokenizer = Tokenizer::from_gguf(*file);
  REQUIRE_MESSAGE(tokenizer.has_value(), (tokenizer ? "" : tokenizer.error().text()));
  return std::move(*tokenizer);
}

// Builds GGUF files in memory.
class Writer {
 public:
  template <typename T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void put_text(std::string_view text) {
    put(uint64_t{text.size()});
    bytes_ += text;
  }
  void key(std::string_view name, uint32_t type) {
    put_text(name);
    put(type);
    ++count_;
  }
  void text(std::string_view name, std::string_view value) {
    key(name, 8);
    put_text(value);
  }
  void flag(std::string_view name, bool value) {
    key(name, 7);
    put(static_cast<uint8_t>(value));
  }
  template <typename T>
  void list(std::string_view name, uint32_t type, const std::vector<T>& values) {
    key(name, 9);
    put(type);
    put(uint64_t{values.size()});
    for (const T& value : values) {
      if constexpr (std::is_same_v<T, std::string>) {
        put_text(value);
      } else {
        put(value);
      }
    }
  }
  std::string file() const {
    std::string head = "GGUF";
    const auto append = [&](auto value) { head.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
    append(uint32_t{3});
    append(uint64_t{0});
    append(count_);
    return head + bytes_;
  }

 private:
  std::string bytes_;
  uint64_t count_ = 0;
};

struct Description {
  std::string model = "llama";
  bool space_prefix = false;
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;

  void add(const std::string& text, int32_t type, float score) {
    tokens.push_back(text);
    types.push_back(type);
    scores.push_back(score);
  }
};

Description minimal() {
  Description description;
  description.add("<bos>", 3, -1000);
  for (int i = 0; i < 256; ++i) {
    constexpr const char* digits = "0123456789ABCDEF";
    description.add(std::string("<0x") + digits[i / 16] + digits[i % 16] + ">", 6, 0);
  }
  for (const char* letter : {"a", "b", "c", "▁"}) description.add(letter, 1, -100);
  return description;
}

Result<Tokenizer> load(const Description& description) {
  Writer writer;
  writer.text("tokenizer.ggml.model", description.model);
  writer.flag("tokenizer.ggml.add_space_prefix", description.space_prefix);
  writer.list("tokenizer.ggml.tokens", 8, description.tokens);
  writer.list("tokenizer.ggml.token_type", 5, description.types);
  if (!description.scores.empty()) writer.list("tokenizer.ggml.scores", 6, description.scores);
  if (!description.merges.empty()) writer.list("tokenizer.ggml.merges", 8, description.merges);
  const std::string bytes = writer.file();
  auto file = Gguf::parse(std::as_bytes(std::span(bytes)), "test.gguf");
  REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().text()));
  return Tokenizer::from_gguf(*file);
}

std::vector<std::string> pieces(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> result;
  for (const int32_t id : tokenizer.encode(text, SpecialParsing::on)) result.emplace_back(tokenizer.piece(id));
  return result;
}

using Pieces = std::vector<std::string>;

}  // namespace

TEST_CASE("gguf tokenizer: the small vocabulary gives the same ids as tokenizer.json, in every file that holds it") {
  for (const char* name : {"bf16", "q4_0", "kmix"}) {
    const Tokenizer tokenizer = from_file(std::string("tests/golden/unified/model/gguf/model-") + name + ".gguf");
    golden::check_set(tokenizer, "tests/golden/tokenizer/small.json");
    CHECK(tokenizer.model_name() == "gemma4 BPE");
    CHECK(tokenizer.kind(tokenizer.find("<|channel>")) == TokenKind::visible);
    CHECK(tokenizer.kind(tokenizer.find("<|turn>")) == TokenKind::control);
    CHECK(tokenizer.kind(tokenizer.find("\n\n")) == TokenKind::added);
  }
}

TEST_CASE("gguf tokenizer: Gemma 3's SentencePiece vocabulary gives the ids of its tokenizer.json") {
  const auto path = environment("LAPIDARY_GEMMA3_GGUF");
  if (!path) {
    MESSAGE("skipped: LAPIDARY_GEMMA3_GGUF does not name a Gemma 3 file");
    return;
  }
  const Tokenizer tokenizer = from_file(*path);
  golden::check_set(tokenizer, "tests/golden/tokenizer/gemma3.json", "<image_soft_token>");
  CHECK(tokenizer.model_name() == "gemma3 SentencePiece");
}

TEST_CASE("gguf tokenizer: Gemma 4's own vocabulary gives the published ids") {
  const auto path = environment("LAPIDARY_GEMMA4_VOCABULARY");
  if (!path) {
    MESSAGE("skipped: LAPIDARY_GEMMA4_VOCABULARY does not name a file with Gemma 4's vocabulary");
    return;
  }
  const Tokenizer tokenizer = from_file(*path);
  const auto check = [&](const std::string& text, const std::vector<int32_t>& ids) {
    INFO("text: ", text);
    CHECK(tokenizer.encode(text, SpecialParsing::on) == ids);
    CHECK(tokenizer.decode(ids, SpecialParsing::on) == text);
  };
  check("Hello world! Café déjà vu — 123 😊",
        {9259, 1902, 236888, 62367, 29234, 11042, 2192, 236743, 236770, 236778, 236800, 103453});
  check(" Linus", {9684, 605});
  check("<bos>Hello,", {2, 9259, 236764});
  check("\n\n\n", {109});
  check("<bos><|turn>user\nHello<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
        {2, 105, 2364, 107, 9259, 106, 107, 105, 4368, 107, 100, 45518, 107, 101});
  for (const auto& [text, id] : std::vector<std::pair<const char*, int32_t>>{{"<|tool>", 46},
                                                                             {"<tool|>", 47},
                                                                             {"<|tool_call>", 48},
                                                                             {"<tool_call|>", 49},
                                                                             {"<|tool_response>", 50},
                                                                             {"<tool_response|>", 51},
                                                                             {"<|\"|>", 52},
                                                                             {"<|think|>", 98},
                                                                             {"<|image>", 255999},
                                                                             {"<|audio>", 256000},
                                                                             {"<|image|>", 258880},
                                                                             {"<|audio|>", 258881},
                                                                             {"<image|>", 258882},
                                                                             {"<audio|>", 258883},
                                                                             {"<|video|>", 258884}}) {
    CHECK(tokenizer.find(text) == id);
    CHECK(tokenizer.is_special(id));
  }
  // llama.cpp's own vectors lie beside its vocabulary: texts, and a line of ids each.
  const auto texts = read_file(*path + ".inp", 1 << 20), lines = read_file(*path + ".out", 1 << 20);
  if (!texts || !lines) return;
  size_t line = 0, at = 0, count = 0;
  const std::string separator = "\n__ggml_vocab_test__\n";
  while (at <= texts->size() && line < lines->size()) {
    const std::string text = texts->substr(at, std::min(texts->find(separator, at), texts->size()) - at);
    std::vector<int32_t> ids;
    const size_t end = std::min(lines->find('\n', line), lines->size());
    for (size_t p = line; p < end;) {
      const size_t stop = std::min(lines->find(' ', p), end);
      if (stop > p) ids.push_back(std::stoi(lines->substr(p, stop - p)));
      p = stop + 1;
    }
    check(text, ids);
    ++count;
    at += text.size() + separator.size();
    line = end + 1;
  }
  CHECK(count >= 40);
}

TEST_CASE("gguf tokenizer: SentencePiece joins by score, the leftmost of equals, and runs of spaces first") {
  Description description = minimal();
  description.add("ab", 1, -2);
  description.add("bc", 1, -1);
  description.add("aa", 1, -3);
  description.add("▁a", 1, -4);
  description.add("  ", 4, -1000);  // as llama.cpp writes the runs of this vocabulary
  description.add("   ", 4, -1000);
  description.add("<b>", 4, -1000);
  description.add("<|x|>", 4, -1000);
  description.add("<unused0>", 3, -1000);
  const Tokenizer tokenizer = load(description).value();
  CHECK(pieces(tokenizer, "abc") == Pieces{"a", "bc"});
  CHECK(pieces(tokenizer, "aaaaa") == Pieces{"aa", "aa", "a"});
  CHECK(pieces(tokenizer, " a  a") == Pieces{" a", "  ", "a"});
  CHECK(pieces(tokenizer, "    a") == Pieces{"   ", " a"});
  CHECK(pieces(tokenizer, "▁▁a") == Pieces{"  ", "a"});
  CHECK(pieces(tokenizer, "a<b><bos>") == Pieces{"a", "<b>", "<bos>"});
  CHECK(tokenizer.kind(tokenizer.find("<b>")) == TokenKind::added);
  CHECK(tokenizer.kind(tokenizer.find("<|x|>")) == TokenKind::visible);
  CHECK(tokenizer.kind(tokenizer.find("<unused0>")) == TokenKind::added);
}

TEST_CASE("gguf tokenizer: in Gemma 4's form, a token that no merge makes is an added one") {
  Description description = minimal();
  description.model = "gemma4";
  description.add("ab", 1, 0);
  description.add("<b>", 1, 0);
  description.add("\n\n", 1, 0);
  description.merges = {"a b", "b zz", "c c"};
  const Tokenizer tokenizer = load(description).value();
  CHECK(tokenizer.kind(tokenizer.find("<b>")) == TokenKind::added);
  CHECK(tokenizer.kind(tokenizer.find("ab")) == TokenKind::normal);
  CHECK(pieces(tokenizer, "abcc<b>\n\n\n") == Pieces{"ab", "c", "c", "<b>", "\n\n", "\n"});
}

TEST_CASE("gguf tokenizer: what it cannot read is refused by name") {
  const auto check = [](const Description& description, ErrorKind kind, const std::string& part) {
    const auto loaded = load(description);
    REQUIRE(!loaded.has_value());
    INFO(loaded.error().text());
    CHECK(loaded.error().kind == kind);
    CHECK(loaded.error().text().find(part) != std::string::npos);
  };
  const auto changed = [](auto&& change) {
    Description description = minimal();
    change(description);
    return description;
  };
  check(changed([](auto& d) { d.model = "gpt2"; }), ErrorKind::unsupported, "gpt2");
  check(changed([](auto& d) { d.space_prefix = true; }), ErrorKind::unsupported, "add_space_prefix");
  check(changed([](auto& d) { d.model = "gemma4"; }), ErrorKind::not_found, "merges");
  check(changed([](auto& d) { d.scores.pop_back(); }), ErrorKind::refused, "scores");
  check(changed([](auto& d) { d.scores.back() = NAN; }), ErrorKind::refused, "scores");
  check(changed([](auto& d) { d.types.pop_back(); }), ErrorKind::refused, "token_type");
  check(changed([](auto& d) { d.types.back() = 9; }), ErrorKind::refused, "token_type[260]");
  check(changed([](auto& d) { d.types.back() = 6; }), ErrorKind::refused, "tokens[260]");
  check(changed([](auto& d) { d.tokens[0] = "\xFF"; }), ErrorKind::refused, "UTF-8");
  check(changed([](auto& d) { d.tokens[0] = std::string(5000, 'x'); }), ErrorKind::refused, "5000 bytes");
  check(changed([](auto& d) { d.tokens[0x42] = "<0x42>"; }), ErrorKind::unsupported, "<0x41>");
  check(changed([](auto& d) { d.tokens.back() = "d"; }), ErrorKind::unsupported, "space");
  for (const char* rule : {"ab", "", "a ", " "})
    check(changed([&](auto& d) {
            d.model = "gemma4";
            d.merges = {"a b", rule};
          }),
          ErrorKind::refused, "merges[1]");
}

}  // namespace lapidary
