#include "formats/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "formats/gguf_builder_test.h"
#include "formats/hugging_face.h"
#include "formats/npy.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

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

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// A folder that is emptied before and after.
struct Folder {
  fs::path path = fs::temp_directory_path() / "lapidary-folder";
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

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
  CHECK(mentions(refusal("[]", 16), "an object"));
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

TEST_CASE("shards: all parts are read; a missing one is named; names that leave the folder are refused") {
  Folder folder;
  write(folder.path / "config.json", R"({"model_type":"gemma3_text"})");
  write(folder.path / "one.safetensors", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
  write(folder.path / "model.safetensors.index.json",
        R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  CHECK(mentions(HuggingFaceFolder::open(folder.path.string()).error().text(), "two.safetensors"));
  write(folder.path / "two.safetensors", file_of(R"({"b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", 2));
  const auto whole = HuggingFaceFolder::open(folder.path.string());
  REQUIRE_MESSAGE(whole.has_value(), (whole ? "" : whole.error().text()));
  CHECK(whole->tensors.tensors.size() == 2);
  for (const char* name : {"../one.safetensors", "/etc/passwd", "a/../b", ""}) {
    write(folder.path / "model.safetensors.index.json", std::string(R"({"weight_map":{"a":")") + name + "\"}}");
    CHECK(mentions(HuggingFaceFolder::open(folder.path.string()).error().text(), "same folder"));
  }
}

TEST_CASE("quantised checkpoints and adapters are refused by name") {
  Folder folder;
  for (const char* method : {"compressed-tensors", "gptq", "awq"}) {
    write(folder.path / "config.json", std::string(R"({"quantization_config":{"quant_method":")") + method + "\"}}");
    CHECK(mentions(HuggingFaceFolder::open(folder.path.string()).error().text(), method));
  }
  write(folder.path / "config.json", R"({"quantization":{"group_size":64,"bits":4}})");
  CHECK(mentions(HuggingFaceFolder::open(folder.path.string()).error().text(), "MLX"));
  fs::remove(folder.path / "config.json");
  write(folder.path / "adapter_config.json", "{}");
  CHECK(mentions(HuggingFaceFolder::open(folder.path.string()).error().text(), "LoRA"));
}

TEST_CASE("files are recognised by what is in them, through links, whatever they are called") {
  Folder folder;
  const auto kind = [](const fs::path& path) { return recognise(path.string()); };
  write(folder.path / "blobs" / "sha256-1234", GgufBuilder().text("general.architecture", "gemma4").bytes());
  fs::create_symlink(folder.path / "blobs" / "sha256-1234", folder.path / "model.bin");
  CHECK(kind(folder.path / "model.bin").value() == FileKind::gguf_model);
  write(folder.path / "p", GgufBuilder().text("general.architecture", "clip").bytes());
  CHECK(kind(folder.path / "p").value() == FileKind::gguf_mmproj);
  write(folder.path / "l",
        GgufBuilder().text("general.architecture", "gemma4").text("general.type", "adapter").bytes());
  CHECK(mentions(kind(folder.path / "l").error().text(), "LoRA"));
  CHECK(kind("tests/golden/unified/model").value() == FileKind::hugging_face);
  CHECK(kind("tests/golden/unified/model/model.safetensors").value() == FileKind::hugging_face);
  CHECK(kind("tests/golden/unified/model/tokenizer.json").value() == FileKind::tokenizer_json);
  write(folder.path / "x.gguf", "LITERTLM and more");
  CHECK(mentions(kind(folder.path / "x.gguf").error().text(), "LiteRT-LM"));
  write(folder.path / "y.safetensors", "PK\x03\x04 and more");
  CHECK(mentions(kind(folder.path / "y.safetensors").error().text(), "PyTorch"));
  write(folder.path / "z", "just text");
  CHECK(kind(folder.path / "z").value() == FileKind::unknown);
  CHECK(kind(folder.path / "nothing").error().kind == ErrorKind::not_found);
  CHECK(!kind(folder.path / "blobs").has_value());
}

TEST_CASE("npy files have an aligned header and the values") {
  const fs::path path = fs::temp_directory_path() / "lapidary.npy";
  const float values[] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  REQUIRE(write_npy(path.string(), values, shape).has_value());
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  fs::remove(path);
  CHECK(bytes.substr(1, 5) == "NUMPY");
  CHECK(mentions(bytes, "'shape': (2, 3, )"));
  CHECK((bytes.size() - sizeof(values)) % 64 == 0);
  CHECK(std::memcmp(bytes.data() + bytes.size() - sizeof(values), values, sizeof(values)) == 0);
  CHECK(!write_npy("/nowhere/at/all.npy", values, shape).has_value());
}

}  // namespace lapidary
