#include "formats/gguf.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "formats/gguf_builder_test.h"

namespace lapidary {
namespace {

Result<Gguf> parse(const std::string& bytes) { return Gguf::parse(as_bytes(bytes), "test.gguf"); }

std::string refusal(const std::string& bytes) {
  const auto gguf = parse(bytes);
  REQUIRE(!gguf.has_value());
  return gguf.error().text();
}

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

GgufBuilder sound() {
  return GgufBuilder()
      .text("general.architecture", "gemma4")
      .number("n", 7)
      .texts("t", {"a", "bc"})
      .numbers("i", {-1, 2})
      .truth("b", true)
      .real("f", 0.5F)
      .tensor("x", {32, 2}, 8, 0)
      .tensor("y", {4}, 0, 96)
      .data(112);
}

}  // namespace

TEST_CASE("keys of every kind and tensors are read") {
  const std::string bytes = sound().bytes();
  const auto gguf = parse(bytes);
  REQUIRE_MESSAGE(gguf.has_value(), (gguf ? "" : gguf.error().text()));
  CHECK(gguf->string("general.architecture").value() == "gemma4");
  CHECK(gguf->integer("n", 0, 10).value() == 7);
  CHECK(gguf->number("f").value() == 0.5);
  CHECK(gguf->number("n").value() == 7.0);
  CHECK(gguf->boolean("b").value() == true);
  CHECK(gguf->strings("t").value()->at(1) == "bc");
  CHECK(gguf->integers("i", -5, 5).value().value() == std::vector<int64_t>{-1, 2});
  CHECK(!gguf->integer("absent", 0, 1).value().has_value());
  const StoredTensor* x = gguf->tensors().find("x");
  REQUIRE(x != nullptr);
  CHECK(x->dtype == DType::q8_0);
  CHECK(x->shape == std::vector<int64_t>{2, 32});
  CHECK(x->bytes.size() == 2 * 34);
  CHECK(gguf->tensors().find("y")->bytes.data() - x->bytes.data() == 96);
}

TEST_CASE("a key of the wrong type or out of range is an error that names it") {
  const std::string bytes = sound().bytes();
  const auto gguf = parse(bytes);
  CHECK(mentions(gguf->integer("general.architecture", 0, 1).error().text(), "general.architecture"));
  CHECK(mentions(gguf->integer("n", 0, 6).error().text(), "0 to 6"));
  CHECK(mentions(gguf->integers("i", 0, 5).error().text(), "key i"));
  CHECK(!gguf->string("n").has_value());
  CHECK(!gguf->boolean("n").has_value());
  CHECK(mentions(gguf->required_integer("absent", 0, 1).error().text(), "absent"));
}

TEST_CASE("advisory 1: an offset or a size beyond the file is refused, and nothing beyond it is reachable") {
  for (const uint64_t offset : {uint64_t{128}, uint64_t{1} << 40, UINT64_MAX - 31, uint64_t{1} << 63}) {
    const auto text = refusal(GgufBuilder().tensor("x", {32, 2}, 8, offset / 32 * 32).data(96).bytes());
    CHECK(mentions(text, "tensor x"));
  }
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {32, 2}, 8, 64).data(96).bytes()), "inside the file"));
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {32}, 8, 7).data(96).bytes()), "multiple of 32"));
  CHECK(parse(GgufBuilder().tensor("x", {32, 2}, 8, 0).data(96).bytes()).has_value());
}

TEST_CASE("advisory 9: counts are compared with what the file can hold before anything is allocated") {
  const GgufBuilder one = sound();
  for (const uint64_t count : {uint64_t{1} << 32, uint64_t{1} << 60, UINT64_MAX}) {
    CHECK(mentions(refusal(one.bytes_with_counts(count, 1)), "tensors"));
    CHECK(mentions(refusal(one.bytes_with_counts(1, count)), "keys"));
  }
  // An array that claims 2^60 elements, a text that claims 2^63 bytes.
  std::string bytes = GgufBuilder().numbers("i", {1, 2}).bytes();
  const uint64_t huge = uint64_t{1} << 60;
  std::memcpy(bytes.data() + bytes.size() - 16, &huge, 8);
  CHECK(mentions(refusal(bytes), "elements"));
  bytes = GgufBuilder().text("k", "v").bytes();
  const uint64_t longer = uint64_t{1} << 63;
  std::memcpy(bytes.data() + bytes.size() - 9, &longer, 8);
  CHECK(mentions(refusal(bytes), "byte "));
}

TEST_CASE("advisory 11: sizes that overflow are refused, not wrapped") {
  for (const auto& sizes : {std::vector<uint64_t>{1ULL << 40, 1ULL << 40},
                            {32, 1ULL << 40, 1ULL << 40},
                            {1ULL << 63},
                            {UINT64_MAX},
                            {32, UINT64_MAX}})
    CHECK(mentions(refusal(GgufBuilder().tensor("x", sizes, 8, 0).data(96).bytes()), "tensor x"));
}

TEST_CASE("advisory 10: zero sizes, no or too many dimensions, unknown types: clear errors") {
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {0}, 0, 0).data(32).bytes()), "dimension"));
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {}, 0, 0).data(32).bytes()), "dimensions"));
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {1, 1, 1, 1, 1}, 0, 0).data(32).bytes()), "dimensions"));
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {33}, 8, 0).data(96).bytes()), "whole Q8_0 blocks"));
}

TEST_CASE("types that are not handled are refused by name, with what to take instead") {
  const std::string text = refusal(GgufBuilder().tensor("blk.0.attn_q.weight", {256, 2}, 16, 0).data(1024).bytes());
  CHECK(mentions(text, "blk.0.attn_q.weight"));
  CHECK(mentions(text, "IQ2_XXS"));
  CHECK(mentions(text, "Q4_0"));
}

TEST_CASE("other versions, other byte orders and other files are told apart") {
  CHECK(mentions(refusal(sound().bytes(1)), "version 2 or 3"));
  CHECK(mentions(refusal(sound().bytes(0x03000000)), "big-endian"));
  CHECK(mentions(refusal("GGML and so on, long enough"), "magic"));
  CHECK(mentions(refusal(""), "magic"));
  CHECK(parse(sound().bytes(2)).has_value());
}

TEST_CASE("a tensor or key that stands twice is refused") {
  CHECK(mentions(refusal(GgufBuilder().number("n", 1).number("n", 2).bytes()), "key n"));
  CHECK(mentions(refusal(GgufBuilder().tensor("x", {4}, 0, 0).tensor("x", {4}, 0, 0).data(32).bytes()), "tensor x"));
}

TEST_CASE("truncated at every 1/64th and at every byte of the header, a file is refused or loads") {
  const std::string bytes = sound().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    const auto gguf = parse(cut);
    CHECK(!gguf.has_value());
  }
  std::ifstream file("tests/golden/dense/model/gguf/model-q8_0.gguf", std::ios::binary);
  const std::string real(std::istreambuf_iterator<char>(file), {});
  REQUIRE(real.size() > 100'000);
  for (size_t part = 0; part < 64; ++part) {
    const std::string cut = real.substr(0, real.size() * part / 64);
    CHECK(!parse(cut).has_value());
  }
  CHECK(parse(real).has_value());
}

TEST_CASE("split files are joined from any part; a missing part is named") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "lapidary-split";
  fs::create_directories(folder);
  const auto write = [&](int part, const std::string& tensor) {
    std::ofstream file(folder / ("m-0000" + std::to_string(part) + "-of-00002.gguf"), std::ios::binary);
    file << GgufBuilder()
                .text("general.architecture", "gemma4")
                .number("split.count", 2)
                .number("split.no", static_cast<uint32_t>(part - 1))
                .number("split.tensors.count", 2)
                .tensor(tensor, {8}, 0, 0)
                .data(32)
                .bytes();
  };
  write(1, "a");
  const auto missing = Gguf::open((folder / "m-00001-of-00002.gguf").string());
  REQUIRE(!missing.has_value());
  CHECK(mentions(missing.error().text(), "m-00002-of-00002.gguf"));
  write(2, "b");
  for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
    const auto whole = Gguf::open((folder / name).string());
    REQUIRE_MESSAGE(whole.has_value(), (whole ? "" : whole.error().text()));
    CHECK(whole->tensors().tensors.size() == 2);
    CHECK(whole->tensors().find("b")->file == 1);
  }
  fs::copy_file(folder / "m-00001-of-00002.gguf", folder / "renamed.gguf", fs::copy_options::overwrite_existing);
  CHECK(mentions(Gguf::open((folder / "renamed.gguf").string()).error().text(), "-of-00002.gguf"));
  fs::remove_all(folder);
}

}  // namespace lapidary
