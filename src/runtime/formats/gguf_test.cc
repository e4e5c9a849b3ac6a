#include "formats/gguf.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "base/system.h"
#include "formats/gguf_builder_test.h"
#include "formats/temporary_folder_test.h"

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
  CHECK(mentions(refusal(sound().bytes(1)), "version 1"));
  CHECK(mentions(refusal(sound().bytes(4)), "version 2 or 3"));
  CHECK(mentions(refusal(sound().bytes(0x03000000)), "big-endian"));
  CHECK(mentions(refusal("GGML and so on, long enough"), "magic"));
  CHECK(mentions(refusal(""), "magic"));
  CHECK(parse(sound().bytes(2)).has_value());
}

TEST_CASE("the alignment of the data is a multiple of 8, as the format says") {
  for (const uint32_t alignment : {0U, 4U, 12U, 1U << 24})
    CHECK(
        mentions(refusal(GgufBuilder().number("general.alignment", alignment).tensor("x", {4}, 0, 0).data(32).bytes()),
                 "general.alignment"));
  const std::string bytes = GgufBuilder().number("general.alignment", 64).tensor("x", {4}, 0, 32).data(64).bytes();
  CHECK(mentions(refusal(bytes), "multiple of 64"));
}

TEST_CASE("arrays of arrays and values of no known type are refused") {
  const auto with_type = [](uint32_t type) {
    std::string bytes = GgufBuilder().numbers("i", {1, 2}).bytes();
    std::memcpy(bytes.data() + bytes.size() - 20, &type, 4);
    return refusal(bytes);
  };
  CHECK(mentions(with_type(9), "array of arrays"));
  CHECK(mentions(with_type(13), "value type"));
  std::string bytes = GgufBuilder().truth("b", true).bytes();
  bytes.back() = 2;
  CHECK(mentions(refusal(bytes), "0 or 1"));
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

TEST_CASE("advisory 9: a huge file of nothing but claims takes no memory") {
  const TemporaryFolder folder;
  // 1 GB, with a hole after `bytes`.
  const auto refusal_of_huge = [&](const std::string& bytes) {
    const std::string path = folder.write("claims.gguf", bytes);
    std::filesystem::resize_file(path, 1 << 30);
    const uint64_t before = resident_bytes_peak();
    const auto gguf = Gguf::open(path);
    REQUIRE(!gguf.has_value());
    CHECK(resident_bytes_peak() - before < (16 << 20));
    return gguf.error().text();
  };
  // Half a billion numbers of a byte each are beyond what a header may take; 64 million are within it, but would be
  // 512 MB in memory.
  for (const uint64_t count : {uint64_t{1} << 29, uint64_t{1} << 26}) {
    std::string bytes = GgufBuilder().numbers("i", {}).bytes();
    const uint32_t one_byte_numbers = 0;
    std::memcpy(bytes.data() + bytes.size() - 12, &one_byte_numbers, 4);
    std::memcpy(bytes.data() + bytes.size() - 8, &count, 8);
    CHECK(mentions(refusal_of_huge(bytes), "elements"));
  }
  CHECK(mentions(refusal_of_huge(GgufBuilder().bytes_with_counts(0, 1 << 22)), "at most 65536 keys"));
  CHECK(mentions(refusal_of_huge(GgufBuilder().bytes_with_counts(1 << 21, 0)), "at most 131072 tensors"));
  std::string bytes = GgufBuilder().text("k", "").bytes();
  const uint64_t longer = 200 << 20;  // in the file, but not in a header
  std::memcpy(bytes.data() + bytes.size() - 8, &longer, 8);
  CHECK(mentions(refusal_of_huge(bytes), "key k"));
}

namespace {

GgufBuilder part(uint32_t number, uint32_t count) {
  GgufBuilder builder;
  builder.number("split.count", count).number("split.no", number).number("split.tensors.count", count);
  return builder;
}

}  // namespace

TEST_CASE("split files are joined from any part; a missing part is named") {
  const TemporaryFolder folder;
  const auto write = [&](uint32_t number, const std::string& tensor) {
    return folder.write("m-0000" + std::to_string(number) + "-of-00002.gguf",
                        part(number - 1, 2).number("only", number).tensor(tensor, {8}, 0, 0).data(32).bytes());
  };
  const std::string first = write(1, "a");
  const auto missing = Gguf::open(first);
  REQUIRE(!missing.has_value());
  CHECK(missing.error().kind == ErrorKind::not_found);
  CHECK(mentions(missing.error().text(), "m-00002-of-00002.gguf"));
  CHECK(mentions(missing.error().text(), "part 2 of 2"));
  const std::string second = write(2, "b");
  for (const std::string& name : {first, second}) {
    const auto whole = Gguf::open(name);
    REQUIRE_MESSAGE(whole.has_value(), (whole ? "" : whole.error().text()));
    CHECK(whole->tensors().tensors.size() == 2);
    CHECK(whole->tensors().files.size() == 2);
    CHECK(whole->tensors().find("b")->file == 1);
    CHECK(whole->integer("only", 0, 9).value() == 1);  // the first part's keys count
  }
  write(2, "a");
  CHECK(mentions(Gguf::open(first).error().text(), "tensor a"));
  std::filesystem::copy_file(first, folder.path() / "renamed.gguf");
  CHECK(mentions(Gguf::open((folder.path() / "renamed.gguf").string()).error().text(), "-of-00002.gguf"));
}

TEST_CASE("split files whose parts are mixed up, incomplete or damaged are refused") {
  const TemporaryFolder folder;
  const std::string first = folder.write("m-00001-of-00002.gguf", part(0, 2).tensor("a", {8}, 0, 0).data(32).bytes());
  const auto with_second = [&](const std::string& bytes) {
    folder.write("m-00002-of-00002.gguf", bytes);
    const auto whole = Gguf::open(first);
    REQUIRE(!whole.has_value());
    CHECK(mentions(whole.error().text(), folder.path().string()));
    return whole.error().text();
  };
  CHECK(mentions(with_second(part(0, 2).tensor("b", {8}, 0, 0).data(32).bytes()), "found part 1 of 2"));
  CHECK(mentions(with_second(part(1, 3).tensor("b", {8}, 0, 0).data(32).bytes()), "found part 2 of 3"));
  CHECK(mentions(with_second(GgufBuilder().tensor("b", {8}, 0, 0).data(32).bytes()), "found part 0 of 1"));
  CHECK(mentions(with_second(part(1, 2).bytes()), "2 tensors in all parts"));
  CHECK(mentions(with_second(part(1, 2).number("k", 1).number("k", 1).bytes()), "key k"));
  CHECK(mentions(with_second(GgufBuilder().text("split.count", "2").bytes()), "key split.count"));
  CHECK(mentions(with_second("GGUF"), "version"));
}

}  // namespace lapidary
