#include "formats/hugging_face.h"

#include <fmt/format.h>

#include <cstring>
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
constexpr const char* no_adapters =
    "a LoRA adapter is not a model; take the model it was made for, or one with the adapter merged in";

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

// The scheme of a quantised checkpoint, by what its config says of it.
std::string scheme_of(const std::string& key, const Json& section) {
  if (section.is_object()) {
    const auto method = section.find("quant_method");
    if (method != section.end() && method->is_string()) return method->get<std::string>().substr(0, 40);
    if (section.contains("load_in_4bit") || section.contains("load_in_8bit")) return "bitsandbytes";
    if (section.contains("group_size") && section.contains("bits")) return "MLX";
  }
  return key == "quantization" ? "MLX" : "of an unnamed scheme";
}

// A quantised checkpoint says so in its config; its tensors mean nothing without the scheme.
Result<void> refuse_quantized(const Json& config, const std::string& where) {
  const auto text = config.find("text_config");
  for (const Json* section : {&config, text == config.end() ? &config : &*text})
    for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
      const auto found = section->find(key);
      if (found == section->end() || found->is_null()) continue;
      return fail(
          ErrorKind::unsupported, where,
          fmt::format("quantised safetensors ({}) are not supported; {}", scheme_of(key, *found), what_to_take));
    }
  return {};
}

struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* what;
  const char* advice = what_to_take;
};
using namespace std::string_view_literals;  // some have zeros inside
// Files that people try and that are something else.
constexpr Signature foreign[] = {
    {0, "LITERTLM", "a LiteRT-LM package (.litertlm)"},
    {4, "TFL3", "a TensorFlow Lite model"},
    {0, "PK\x03\x04", "a zip archive (a PyTorch checkpoint, a .task bundle?)"},
    {0, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights?)"},
    {0, "\x93NUMPY", "a NumPy array"},
    {0, "\x1f\x8b", "a gzip archive", "unpack it"},
    {0, "\xfd\x37zXZ\0"sv, "an xz archive", "unpack it"},
    {0, "\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"},
    {257, "ustar", "a tar archive", "unpack it"},
    {0, "lmgg", "a GGML file of the time before GGUF"},
    {0, "fmgg", "a GGML file of the time before GGUF"},
    {0, "tjgg", "a GGML file of the time before GGUF"},
    {0, "algg", "a LoRA adapter of the time before GGUF"},
    {0, "FUGG", "a GGUF file in reversed byte order", "take the little-endian one"},
    {0, "version https://git-lfs", "a Git LFS pointer, not the file it stands for", "fetch that with git lfs pull"},
    {0, "<!DOCTYPE html", "a web page", "the download went wrong: fetch the file itself"},
    {0, "<html", "a web page", "the download went wrong: fetch the file itself"},
};

// Pickles and ONNX models begin with numbers that depend on their version.
const char* foreign_by_version(std::string_view text) {
  if (text.size() < 3) return nullptr;
  const auto version = static_cast<unsigned char>(text[1]);
  if (text[0] == '\x80' && version >= 2 && version <= 5) return "a Python pickle (an old PyTorch checkpoint?)";
  // Field 1 (ir_version), then field 2 (producer_name) or 7 (graph).
  if (text[0] == '\x08' && version >= 1 && version <= 30 && (text[2] == '\x12' || text[2] == '\x3a'))
    return "an ONNX model";
  return nullptr;
}

// An error that names what the file is; nothing if that is not known.
Result<void> refuse_foreign(std::string_view text, const std::string& path) {
  for (const Signature& signature : foreign)
    if (text.size() > signature.offset && text.substr(signature.offset).starts_with(signature.bytes))
      return fail(ErrorKind::unsupported, path, fmt::format("this is {}; {}", signature.what, signature.advice));
  if (const char* what = foreign_by_version(text))
    return fail(ErrorKind::unsupported, path, fmt::format("this is {}; {}", what, what_to_take));
  return {};
}

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Adds one file of weights. What is no safetensors at all (a Git LFS pointer, say) is called by its name.
Result<void> add_weights(const fs::path& path, TensorMap& map) {
  auto added = add_safetensors(path.string(), map);
  if (added) return {};
  if (const auto file = MappedFile::open(path.string())) LAPIDARY_CHECK(refuse_foreign(text_of(**file), path.string()));
  return added;
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
    LAPIDARY_CHECK(add_weights(folder / shard, map));
  }
  for (const auto& [tensor, shard] : weight_map->items())
    if (!map.tensors.contains(tensor))
      return fail(ErrorKind::refused, index_path.string(),
                  fmt::format("tensor {} is in no part", tensor.substr(0, 80)));
  return {};
}

Result<FileKind> recognise_gguf(const std::string& path) {
  LAPIDARY_TRY(const Gguf gguf, Gguf::open(path));
  LAPIDARY_TRY(const auto type, gguf.string("general.type"));
  LAPIDARY_TRY(const auto architecture, gguf.string("general.architecture"));
  if (type == "adapter") return fail(ErrorKind::unsupported, path, no_adapters);
  if (type == "mmproj" || architecture == "clip") return FileKind::gguf_mmproj;
  return FileKind::gguf_model;
}

}  // namespace

Result<HuggingFaceFolder> HuggingFaceFolder::open(const std::string& path) {
  HuggingFaceFolder result;
  result.path = folder_of(path);
  const fs::path folder = result.path;
  if (!there(folder / "config.json") && there(folder / "adapter_config.json"))
    return fail(ErrorKind::unsupported, result.path, no_adapters);
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
    LAPIDARY_CHECK(add_weights(folder / "model.safetensors", result.tensors));
  } else if (there(index)) {
    LAPIDARY_CHECK(add_shards(folder, index, result.tensors));
  } else if (there(folder / "pytorch_model.bin") || there(folder / "pytorch_model.bin.index.json")) {
    return fail(ErrorKind::unsupported, result.path,
                fmt::format("weights in pytorch_model.bin, which are Python pickles; {}", what_to_take));
  } else {
    return fail(ErrorKind::not_found, result.path,
                "the folder has neither model.safetensors nor model.safetensors.index.json");
  }
  return result;
}

namespace {

Result<FileKind> recognise_folder(const fs::path& folder) {
  if (there(folder / "config.json") || there(folder / "adapter_config.json")) return FileKind::hugging_face;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".gguf")
      return fail(ErrorKind::wrong_use, folder.string(),
                  fmt::format("a folder of GGUF files: name the file, such as {}", entry->path().filename().string()));
  return malformed(folder.string(), "a folder with config.json and safetensors", "a folder without config.json");
}

// A header's length, then the header. Told before the foreign kinds, since any two bytes may begin a length.
bool is_safetensors(std::string_view text) {
  uint64_t header_bytes = 0;
  if (text.size() <= sizeof(header_bytes) || text[sizeof(header_bytes)] != '{') return false;
  std::memcpy(&header_bytes, text.data(), sizeof(header_bytes));
  return header_bytes < (1 << 30);
}

// Safetensors count as a checkpoint where a config.json lies beside them.
Result<FileKind> recognise_safetensors(const std::string& path) {
  const fs::path folder = folder_of(path);
  if (there(folder / "config.json")) return FileKind::hugging_face;
  if (there(folder / "adapter_config.json")) return fail(ErrorKind::unsupported, path, no_adapters);
  return fail(ErrorKind::refused, path, "safetensors without the config.json that belongs beside it");
}

FileKind recognise_json(std::string_view text, const std::string& path) {
  const size_t brace = text.substr(0, 4096).find_first_not_of(" \t\r\n");
  if (brace == std::string_view::npos || text[brace] != '{') return FileKind::unknown;
  for (const char* key : {"\"added_tokens\"", "\"truncation\""})
    if (text.substr(0, 1 << 16).find(key) != std::string_view::npos) return FileKind::tokenizer_json;
  return there(fs::path(folder_of(path)) / "config.json") ? FileKind::hugging_face : FileKind::unknown;
}

}  // namespace

Result<FileKind> recognise(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return recognise_folder(path);
  LAPIDARY_TRY(const auto file, MappedFile::open(path));
  const std::string_view text = text_of(*file);
  if (text.starts_with("GGUF")) return recognise_gguf(path);
  if (is_safetensors(text)) return recognise_safetensors(path);
  LAPIDARY_CHECK(refuse_foreign(text, path));
  return recognise_json(text, path);
}

}  // namespace lapidary
