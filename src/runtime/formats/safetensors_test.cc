#include "formats/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>

#include "formats/gguf_builder_test.h"

namespace lapidary {
namespace {

std::string file_of(const std::string& header, size_t data) {
  std::string bytes(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data, '\0');
}

Result<TensorMap> parse(const std::string& bytes) {
  TensorMap map;
  LAPIDARY_CHECK(add_safetensors(as_bytes(bytes), "test", 0, map));
  return map;
}

std::string refusal(const std::string& header, size_t data) {
  const auto map = parse(file_of(header, data));
  REQUIRE(!map.has_value());
  return map.error().text();
}

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

const std::string one =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"s":{"dtype":"F32","shape":[],"data_offsets":[12,16]}})";

}  // namespace

TEST_CASE("tensors, scalars and metadata") {
  const auto map = parse(file_of(one, 16));
  REQUIRE_MESSAGE(map.has_value(), (map ? "" : map.error().text()));
  CHECK(map->tensors.size() == 2);
  CHECK(map->find("a")->shape == std::vector<int64_t>{2, 3});
  CHECK(map->find("s")->shape == std::vector<int64_t>{1});
  CHECK(map->find("s")->bytes.size() == 4);
}

TEST_CASE("advisories 1 and 11: offsets outside the data, sizes that disagree or overflow are refused") {
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 8), "inside 8 bytes"));
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[8,4]}})", 16), "offsets"));
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}})", 16), "20 bytes"));
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,16]}})", 16),
                 "64 bits"));
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,16]}})", 16), "sizes"));
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,16]}})", 16), "sizes"));
  CHECK(mentions(refusal(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1e3]}})", 16), "offsets"));
  CHECK(mentions(refusal(R"({"a":[1]})", 16), "data_offsets"));
  CHECK(
      mentions(refusal(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4), "dimensions"));
  CHECK(mentions(refusal("[]", 16), "an object"));
}

TEST_CASE("tensors that share bytes, leave a hole or stop short of the end are refused") {
  const auto two = [](const char* first, const char* second, size_t data) {
    return refusal(std::string(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)") + first +
                       R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}",
                   data);
  };
  CHECK(mentions(two("[0,8]", "[0,8]", 16), "begin at 8"));
  CHECK(mentions(two("[0,8]", "[4,12]", 12), "begin at 8"));
  CHECK(mentions(two("[8,16]", "[4,12]", 16), "begin at 0"));
  CHECK(mentions(two("[0,8]", "[12,20]", 20), "begin at 8"));
  CHECK(mentions(two("[0,8]", "[8,16]", 20), "16 bytes of data"));
  // In any order, and with an empty one in between.
  CHECK(parse(file_of(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,3],)"
                      R"("data_offsets":[4,4]},"a":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}})",
                      6))
            .has_value());
}

TEST_CASE("advisory 9: a header longer than the file is refused before it is read") {
  for (const uint64_t size : {uint64_t{100}, uint64_t{1} << 40, UINT64_MAX}) {
    std::string bytes(16, '\0');
    std::memcpy(bytes.data(), &size, 8);
    CHECK(!parse(bytes).has_value());
  }
  CHECK(!parse("short").has_value());
  CHECK(mentions(refusal(std::string(100'000, '['), 0), "nested"));
}

TEST_CASE("quantised or foreign types are refused by name, with what to take instead") {
  const std::string text = refusal(R"({"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4);
  CHECK(mentions(text, "F8_E4M3"));
  CHECK(mentions(text, "BF16"));
}

TEST_CASE("truncated at every 1/64th, a checkpoint is refused") {
  std::ifstream file("tests/golden/gemma3/model/model.safetensors", std::ios::binary);
  const std::string real(std::istreambuf_iterator<char>(file), {});
  REQUIRE(real.size() > 100'000);
  for (size_t part = 0; part < 64; ++part) CHECK(!parse(real.substr(0, real.size() * part / 64)).has_value());
  CHECK(parse(real).has_value());
}

}  // namespace lapidary
