#include "formats/hugging_face.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "formats/gguf_builder_test.h"
#include "formats/temporary_folder_test.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

std::string file_of(const std::string& header, size_t data) {
  std::string bytes(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data, '\0');
}

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("shards: all parts are read; a missing one is named; names that leave the folder are refused") {
  const TemporaryFolder folder;
  folder.write("config.json", R"({"model_type":"gemma3_text"})");
  folder.write("one.safetensors", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  CHECK(mentions(HuggingFaceFolder::open(folder.path().string()).error().text(), "two.safetensors"));
  folder.write("two.safetensors", file_of(R"({"b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", 2));
  const auto whole = HuggingFaceFolder::open(folder.path().string());
  REQUIRE_MESSAGE(whole.has_value(), (whole ? "" : whole.error().text()));
  CHECK(whole->tensors.tensors.size() == 2);
  for (const char* name : {"../one.safetensors", "/etc/passwd", "a/../b", ""}) {
    folder.write("model.safetensors.index.json", std::string(R"({"weight_map":{"a":")") + name + "\"}}");
    CHECK(mentions(HuggingFaceFolder::open(folder.path().string()).error().text(), "same folder"));
  }
}

TEST_CASE("quantised checkpoints and adapters are refused by name") {
  const TemporaryFolder folder;
  for (const char* method : {"compressed-tensors", "gptq", "awq"}) {
    folder.write("config.json", std::string(R"({"quantization_config":{"quant_method":")") + method + "\"}}");
    CHECK(mentions(HuggingFaceFolder::open(folder.path().string()).error().text(), method));
  }
  for (const auto& [config, scheme] : {std::pair(R"({"quantization":{"group_size":64,"bits":4}})", "MLX"),
                                       {R"({"quantization_config":{"group_size":64,"bits":4}})", "MLX"},
                                       {R"({"quantization_config":{"load_in_4bit":true}})", "bitsandbytes"},
                                       {R"({"quantization_config":7})", "unnamed"},
                                       {R"({"text_config":{"quantization_config":{"quant_method":"fp8"}}})", "fp8"}}) {
    folder.write("config.json", config);
    const Error error = HuggingFaceFolder::open(folder.path().string()).error();
    CHECK(error.kind == ErrorKind::unsupported);
    CHECK(mentions(error.text(), scheme));
    CHECK(mentions(error.text(), "QAT Q4_0"));
  }
  fs::remove(folder.path() / "config.json");
  folder.write("adapter_config.json", "{}");
  CHECK(mentions(HuggingFaceFolder::open(folder.path().string()).error().text(), "LoRA"));
}

TEST_CASE("files are recognised by what is in them, through links, whatever they are called") {
  const TemporaryFolder folder;
  const auto kind = [](const fs::path& path) { return recognise(path.string()); };
  folder.write("blobs/sha256-1234", GgufBuilder().text("general.architecture", "gemma4").bytes());
  fs::create_symlink(folder.path() / "blobs" / "sha256-1234", folder.path() / "model.bin");
  CHECK(kind(folder.path() / "model.bin").value() == FileKind::gguf_model);
  folder.write("p", GgufBuilder().text("general.architecture", "clip").bytes());
  CHECK(kind(folder.path() / "p").value() == FileKind::gguf_mmproj);
  folder.write("l", GgufBuilder().text("general.architecture", "gemma4").text("general.type", "adapter").bytes());
  CHECK(mentions(kind(folder.path() / "l").error().text(), "LoRA"));
  CHECK(kind("tests/golden/unified/model").value() == FileKind::hugging_face);
  CHECK(kind("tests/golden/unified/model/model.safetensors").value() == FileKind::hugging_face);
  CHECK(kind("tests/golden/unified/model/tokenizer.json").value() == FileKind::tokenizer_json);
  folder.write("x.gguf", "LITERTLM and more");
  CHECK(mentions(kind(folder.path() / "x.gguf").error().text(), "LiteRT-LM"));
  folder.write("y.safetensors", "PK\x03\x04 and more");
  CHECK(mentions(kind(folder.path() / "y.safetensors").error().text(), "PyTorch"));
  folder.write("z", "just text");
  CHECK(kind(folder.path() / "z").value() == FileKind::unknown);
  CHECK(kind(folder.path() / "nothing").error().kind == ErrorKind::not_found);
  CHECK(!kind(folder.path() / "blobs").has_value());
}

TEST_CASE("what is no model is called by its name, with what to do instead") {
  const TemporaryFolder folder;
  const auto refusal = [&](std::string content) {
    content.resize(std::max<size_t>(content.size(), 300), ' ');
    const auto kind = recognise(folder.write("model.gguf", content));
    REQUIRE(!kind.has_value());
    CHECK(kind.error().kind == ErrorKind::unsupported);
    return kind.error().text();
  };
  CHECK(mentions(refusal("LITERTLM"), "LiteRT-LM"));
  CHECK(mentions(refusal("PK\x03\x04"), "PyTorch"));
  CHECK(mentions(refusal("\x80\x02}q"), "pickle"));
  CHECK(mentions(refusal("\x80\x04\x95"), "pickle"));
  CHECK(mentions(refusal("\x08\x07\x12\x07pytorch"), "ONNX"));
  CHECK(mentions(refusal("\x08\x0a\x12\x04onnx"), "ONNX"));
  CHECK(mentions(refusal(std::string("\x1c\0\0\0TFL3", 8)), "TensorFlow Lite"));
  CHECK(mentions(refusal("tjgg"), "before GGUF"));
  CHECK(mentions(refusal("\x1f\x8b"), "unpack"));
  CHECK(mentions(refusal(std::string("\xfd\x37zXZ\0", 6)), "unpack"));
  CHECK(mentions(refusal("version https://git-lfs.github.com/spec/v1"), "git lfs pull"));
  CHECK(mentions(refusal("<!DOCTYPE html>"), "web page"));
}

TEST_CASE("a checkpoint is not mistaken for a pickle by the length of its header") {
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  // A header of 640 bytes: its length begins with the same bytes as a pickle.
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header.resize(640, ' ');
  const std::string path = folder.write("model.safetensors", file_of(header, 4));
  CHECK(recognise(path).value() == FileKind::hugging_face);
  CHECK(HuggingFaceFolder::open(path).has_value());
  CHECK(HuggingFaceFolder::open(folder.path().string()).has_value());
}

TEST_CASE("folders without weights that can be read say what they have instead") {
  const TemporaryFolder folder;
  const auto opened = [&] { return HuggingFaceFolder::open(folder.path().string()).error().text(); };
  const auto kind = [&] { return recognise(folder.path().string()).error().text(); };
  CHECK(mentions(kind(), "config.json"));
  folder.write("gemma.gguf", "GGUF");
  CHECK(mentions(kind(), "name the file, such as gemma.gguf"));
  folder.write("config.json", "{}");
  CHECK(mentions(opened(), "neither model.safetensors"));
  folder.write("pytorch_model.bin", "PK");
  CHECK(mentions(opened(), "pickles"));
  folder.write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n");
  CHECK(mentions(opened(), "git lfs pull"));
  folder.write("config.json", "[]");
  CHECK(mentions(opened(), "an object"));
  folder.write("config.json", "{");
  CHECK(mentions(opened(), "config.json"));
}

TEST_CASE("an adapter's file is told from a model's") {
  const TemporaryFolder folder;
  folder.write("adapter_config.json", "{}");
  const std::string path = folder.write("adapter_model.safetensors", file_of("{}", 0));
  CHECK(mentions(recognise(path).error().text(), "LoRA"));
  CHECK(recognise(folder.path().string()).value() == FileKind::hugging_face);
  CHECK(mentions(recognise(folder.write("apart/x.safetensors", file_of("{}", 0))).error().text(), "config.json"));
}

}  // namespace lapidary
