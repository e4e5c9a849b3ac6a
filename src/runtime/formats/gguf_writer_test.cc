#include "formats/gguf_writer.h"

#include <doctest/doctest.h>

#include "formats/gguf.h"

namespace lapidary {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string complete(const GgufWriter& writer) {
  GgufWriter::Layout layout = writer.layout();
  layout.header.resize(layout.file_bytes, '\x3c');
  return layout.header;
}

GgufWriter example() {
  GgufWriter writer;
  writer.text("general.architecture", "gemma4");
  writer.number("a.number", 4'000'000'000U);
  writer.integer("an.integer", -7);
  writer.real("a.real", 0.25F);
  writer.truth("a.truth", true);
  writer.integers("integers", std::vector<int32_t>{1, -2, 3});
  writer.reals("reals", std::vector<float>{0.5F, -1});
  writer.truths("truths", {true, false, true});
  writer.texts("texts", std::vector<std::string>{"", "a", "\xE2\x96\x81"});
  writer.tensor("vector", std::vector<int64_t>{3}, DType::f32);
  writer.tensor("matrix", std::vector<int64_t>{5, 64}, DType::q4_0);
  writer.tensor("table", std::vector<int64_t>{2, 3, 4}, DType::bf16);
  return writer;
}

}  // namespace

TEST_CASE("what the writer writes, the reader reads") {
  const std::string file = complete(example());
  const auto gguf = Gguf::parse(bytes_of(file), "test");
  REQUIRE_MESSAGE(gguf, gguf.error().text());
  CHECK(gguf->string("general.architecture").value() == "gemma4");
  CHECK(gguf->integer("a.number", 0, int64_t{1} << 40).value() == 4'000'000'000);
  CHECK(gguf->integer("an.integer", -10, 10).value() == -7);
  CHECK(gguf->number("a.real").value() == 0.25);
  CHECK(gguf->boolean("a.truth").value() == true);
  CHECK(gguf->integers("integers", -5, 5).value() == std::vector<int64_t>{1, -2, 3});
  CHECK(gguf->numbers("reals").value() == std::vector<double>{0.5, -1});
  CHECK(gguf->integers("truths", 0, 1).value() == std::vector<int64_t>{1, 0, 1});
  CHECK(gguf->strings("texts").value()->at(2) == "\xE2\x96\x81");
  const GgufWriter::Layout layout = example().layout();
  const char* names[] = {"vector", "matrix", "table"};
  for (size_t i = 0; i < 3; ++i) {
    const StoredTensor* tensor = gguf->tensors().find(names[i]);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->bytes.data() == bytes_of(file).data() + layout.offsets[i]);
    CHECK(layout.offsets[i] % gguf_alignment == 0);
  }
  CHECK(gguf->tensors().find("matrix")->bytes.size() == 5 * 2 * 18);
  CHECK(gguf->tensors().find("table")->shape == std::vector<int64_t>{2, 3, 4});
}

TEST_CASE("keys are copied with their exact types") {
  const std::string file = complete(example());
  const auto keys = gguf_raw_keys(bytes_of(file));
  REQUIRE(keys);
  GgufWriter copy;
  for (const GgufRawKey& key : *keys) copy.copy(key);
  copy.tensor("vector", std::vector<int64_t>{3}, DType::f32);
  copy.tensor("matrix", std::vector<int64_t>{5, 64}, DType::q4_0);
  copy.tensor("table", std::vector<int64_t>{2, 3, 4}, DType::bf16);
  CHECK(complete(copy) == file);
}

TEST_CASE("a file that is cut off anywhere gives an error, not its end") {
  const std::string file = complete(example());
  const auto whole = gguf_raw_keys(bytes_of(file));
  REQUIRE(whole);
  const size_t keys_end =
      static_cast<size_t>(whole->back().value.data() + whole->back().value.size() - bytes_of(file).data());
  for (size_t size = 0; size < keys_end; ++size) CHECK(!gguf_raw_keys(bytes_of(file).first(size)));
  CHECK(gguf_raw_keys(bytes_of(file).first(keys_end)));
  std::string nested = file;
  const size_t place = nested.find("integers") + 8 + 4;
  nested[place] = 9;  // an array of arrays
  CHECK(!gguf_raw_keys(bytes_of(nested)));
}

}  // namespace lapidary
