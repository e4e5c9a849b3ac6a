#include "formats/hugging_face.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "base/byte_cursor.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t json_bytes_max = 64 << 20;
constexpr const char* what_to_take = "take the checkpoint in BF16, or a GGUF file such as Google's QAT Q4_0";

std::string folder_of(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return path;
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

bool there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

Result<Json> read_json(const fs::path& path) {
  LAPIDARY_TRY(const std::string text, read_file(path.string(), json_bytes_max));
  return parse_json(text, path.string());
}

Result<std::optional<Json>> read_json_if_there(const fs::path& path) {
  if (!there(path)) return std::optional<Json>();
  LAPIDARY_TRY(Json json, read_json(path));
  return std::optional(std::move(json));
}

// A quantised checkpoint says so in its config; its tensors mean nothing without the scheme.
Result<void> refuse_quantized(const Json& config, const std::string& where) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    std::string method = "MLX";
    if (found->is_object() && found->contains("quant_method") && (*found)["quant_method"].is_string())
      method = (*found)["quant_method"].get<std::string>();
    return fail(ErrorKind::unsupported, where,
                fmt::format("quantised safetensors ({}) are not supported; {}", method.substr(0, 40), what_to_take));
  }
  return {};
}

Result<void> add_shards(const fs::path& folder, const fs::path& index_path, TensorMap& map) {
  LAPIDARY_TRY(const Json index, read_json(index_path));
  const auto weight_map = index.find("weight_map");
  if (!index.is_object() || weight_map == index.end() || !weight_map->is_object())
    return malformed(index_path.string(), "an object with a \"weight_map\"", "something else");
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name.find('\\') != std::string::npos ||
        name.find("..") != std::string::npos)
      return malformed(index_path.string() + ": " + tensor.substr(0, 80), "the name of a file in the same folder",
                       dump(shard).substr(0, 80));
    shards.insert(name);
  }
  for (const std::string& shard : shards) {
    if (!there(folder / shard))
      return fail(ErrorKind::not_found, (folder / shard).string(), "this part of the checkpoint is missing");
    LAPIDARY_CHECK(add_safetensors((folder / shard).string(), map));
  }
  for (const auto& [tensor, shard] : weight_map->items())
    if (!map.tensors.contains(tensor))
      return fail(ErrorKind::refused, index_path.string(),
                  fmt::format("tensor {} is in no part", tensor.substr(0, 80)));
  return {};
}

struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* what;
};
// Files that people try and that are something else.
constexpr Signature foreign[] = {
    {0, "LITERTLM", "a LiteRT-LM package (.litertlm)"},
    {0, "PK\x03\x04", "a zip archive (a PyTorch checkpoint?)"},
    {0, "\x80\x02", "a Python pickle"},
    {4, "TFL3", "a TensorFlow Lite model"},
    {0, "\x08\x07\x12", "an ONNX model"},
    {0, "ggjt", "a GGML file of the years before GGUF"},
    {0, "lmgg", "a GGML file of the years before GGUF"},
};

Result<FileKind> recognise_gguf(const std::string& path) {
  LAPIDARY_TRY(const Gguf gguf, Gguf::open(path));
  LAPIDARY_TRY(const auto type, gguf.string("general.type"));
  LAPIDARY_TRY(const auto architecture, gguf.string("general.architecture"));
  if (type == "adapter")
    return fail(ErrorKind::unsupported, path,
                "a LoRA adapter is not a model; take the model it was made for, or one with the adapter merged in");
  if (type == "mmproj" || architecture == "clip") return FileKind::gguf_mmproj;
  return FileKind::gguf_model;
}

}  // namespace

Result<HuggingFaceFolder> HuggingFaceFolder::open(const std::string& path) {
  HuggingFaceFolder result;
  result.path = folder_of(path);
  const fs::path folder = result.path;
  if (!there(folder / "config.json") && there(folder / "adapter_config.json"))
    return fail(ErrorKind::unsupported, result.path,
                "a LoRA adapter is not a model; take the model it was made for, or one with the adapter merged in");
  LAPIDARY_TRY(result.config, read_json(folder / "config.json"));
  if (!result.config.is_object()) return malformed((folder / "config.json").string(), "an object", "something else");
  LAPIDARY_CHECK(refuse_quantized(result.config, (folder / "config.json").string()));
  LAPIDARY_TRY(result.generation_config, read_json_if_there(folder / "generation_config.json"));
  LAPIDARY_TRY(result.processor_config, read_json_if_there(folder / "processor_config.json"));
  if (!result.processor_config) {
    LAPIDARY_TRY(result.processor_config, read_json_if_there(folder / "preprocessor_config.json"));
  }
  LAPIDARY_TRY(result.tokenizer_config, read_json_if_there(folder / "tokenizer_config.json"));
  if (there(folder / "tokenizer.json")) result.tokenizer_path = (folder / "tokenizer.json").string();

  const fs::path index = folder / "model.safetensors.index.json";
  if (there(folder / "model.safetensors")) {
    LAPIDARY_CHECK(add_safetensors((folder / "model.safetensors").string(), result.tensors));
  } else if (there(index)) {
    LAPIDARY_CHECK(add_shards(folder, index, result.tensors));
  } else {
    return fail(ErrorKind::not_found, result.path,
                "the folder has neither model.safetensors nor model.safetensors.index.json");
  }
  return result;
}

Result<FileKind> recognise(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    if (there(fs::path(path) / "config.json") || there(fs::path(path) / "adapter_config.json"))
      return FileKind::hugging_face;
    return malformed(path, "a folder with config.json and safetensors", "a folder without config.json");
  }
  LAPIDARY_TRY(const auto file, MappedFile::open(path));
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  if (text.starts_with("GGUF")) return recognise_gguf(path);
  for (const Signature& signature : foreign)
    if (text.size() > signature.offset && text.substr(signature.offset).starts_with(signature.bytes))
      return fail(ErrorKind::unsupported, path, fmt::format("this is {}; {}", signature.what, what_to_take));
  const std::string_view begin = text.substr(0, 4096);
  const size_t brace = begin.find_first_not_of(" \t\r\n");
  if (brace != std::string_view::npos && begin[brace] == '{') {
    if (text.substr(0, 1 << 16).find("\"added_tokens\"") != std::string_view::npos ||
        text.substr(0, 1 << 16).find("\"truncation\"") != std::string_view::npos)
      return FileKind::tokenizer_json;
    if (there(fs::path(folder_of(path)) / "config.json")) return FileKind::hugging_face;
  }
  if (text.size() > 9 && text[8] == '{' && there(fs::path(folder_of(path)) / "config.json"))
    return FileKind::hugging_face;
  if (text.size() > 9 && text[8] == '{')
    return fail(ErrorKind::refused, path, "safetensors without the config.json that belongs beside it");
  return FileKind::unknown;
}

}  // namespace lapidary
