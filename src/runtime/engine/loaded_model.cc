#include "engine/loaded_model.h"

#include <filesystem>

#include "base/system.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

// The projector that lies beside a model: a file that calls itself mmproj and is one. Its name has to say so, as the
// folder may hold hundreds of others (Ollama's blobs); its content has to agree.
std::string projector_beside(const std::string& model_path) {
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(
           fs::path(model_path).parent_path().empty() ? "." : fs::path(model_path).parent_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.find("mmproj") == std::string::npos) continue;
    const auto kind = recognise(entry.path().string());
    if (kind && *kind == FileKind::gguf_mmproj) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found.empty() ? "" : found.front();
}

// What goes wrong inside a GGUF file names a key or a tensor; this adds the file.
template <typename T>
Result<T> in_file(const std::string& path, Result<T> result) {
  if (!result) return std::unexpected(std::move(result).error().in(path));
  return result;
}

}  // namespace

Result<std::unique_ptr<LoadedModel>> LoadedModel::open(const std::string& path, const std::string& projector) {
  LAPIDARY_TRY(const FileKind kind, recognise(path));
  std::unique_ptr<LoadedModel> model(new LoadedModel);
  model->path_ = path;
  switch (kind) {
    case FileKind::hugging_face: {
      LAPIDARY_TRY(model->folder_, HuggingFaceFolder::open(path));
      LAPIDARY_TRY(model->config_, read_config(*model->folder_));
      LAPIDARY_TRY(model->weights_, bind_weights(*model->folder_, model->config_));
      if (model->folder_->tokenizer_path.empty())
        return fail(ErrorKind::not_found, path, "the folder has no tokenizer.json");
      LAPIDARY_TRY(model->tokenizer_, Tokenizer::from_json_file(model->folder_->tokenizer_path));
      break;
    }
    case FileKind::gguf_model: {
      LAPIDARY_TRY(model->gguf_, Gguf::open(path));
      model->projector_path_ = projector.empty() ? projector_beside(path) : projector;
      if (!model->projector_path_.empty()) {
        LAPIDARY_TRY(model->projector_, Gguf::open(model->projector_path_));
      }
      auto config = read_config(*model->gguf_, model->projector_ ? &*model->projector_ : nullptr);
      if (!config && projector.empty() && model->projector_) {
        // A projector that only happens to lie there must not keep the model from loading as text.
        model->projector_.reset();
        model->projector_path_.clear();
        config = read_config(*model->gguf_, nullptr);
      }
      LAPIDARY_TRY(model->config_, in_file(path, std::move(config)));
      LAPIDARY_TRY(model->weights_,
                   in_file(path, bind_weights(*model->gguf_, model->projector_ ? &*model->projector_ : nullptr,
                                              model->config_)));
      LAPIDARY_TRY(model->tokenizer_, in_file(path, Tokenizer::from_gguf(*model->gguf_)));
      break;
    }
    case FileKind::gguf_mmproj:
      return fail(ErrorKind::refused, path,
                  "this is a projector (mmproj), which belongs to a model: name the model's file instead");
    case FileKind::tokenizer_json:
      return fail(ErrorKind::refused, path, "a tokenizer alone cannot run: name a model");
    case FileKind::unknown:
      return malformed(path, "a GGUF file or a folder with config.json and safetensors", "something else");
  }
  if (model->tokenizer_->size() > model->config_.vocabulary)
    return malformed(path, std::to_string(model->config_.vocabulary) + " tokens at most, as in the embedding",
                     std::to_string(model->tokenizer_->size()) + " in the tokenizer");
  return model;
}

uint64_t LoadedModel::file_bytes() const {
  uint64_t bytes = 0;
  for (const auto& file : tensors().files) bytes += file->bytes().size();
  if (projector_)
    for (const auto& file : projector_->tensors().files) bytes += file->bytes().size();
  return bytes;
}

Result<Tokenizer> open_tokenizer(const std::string& path) {
  LAPIDARY_TRY(const FileKind kind, recognise(path));
  switch (kind) {
    case FileKind::gguf_model: {
      LAPIDARY_TRY(const Gguf gguf, Gguf::open(path));
      return Tokenizer::from_gguf(gguf);
    }
    case FileKind::hugging_face: {
      const fs::path folder = fs::is_directory(path) ? fs::path(path) : fs::path(path).parent_path();
      return Tokenizer::from_json_file((folder / "tokenizer.json").string());
    }
    case FileKind::tokenizer_json:
      return Tokenizer::from_json_file(path);
    default:
      return malformed(path, "a model or a tokenizer.json", "something else");
  }
}

std::string bundled_model_path() {
  std::vector<fs::path> places;
  if (const auto folder = environment("LAPIDARY_MODELS")) places.emplace_back(*folder);
  const fs::path program = program_folder();
  places.push_back(program / "models");
  places.push_back(program / "../share/lapidary/models");
  if (const fs::path library = library_folder(); !library.empty()) {
    places.push_back(library / "../share/lapidary/models");
    places.push_back(library / "../../share/lapidary/models");  // lib/x86_64-linux-gnu
    places.push_back(library / "../../models");
  }
  // A build folder inside the source tree: build/PRESET/lapidary.
  places.push_back(program / "../../models");
  places.emplace_back("models");
  std::error_code error;
  for (const fs::path& place : places)
    if (fs::exists(place / "spark" / "config.json", error))
      return fs::weakly_canonical(place / "spark", error).string();
  return "";
}

}  // namespace lapidary
