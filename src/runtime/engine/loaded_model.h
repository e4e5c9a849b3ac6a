// A model on disk, opened: files, config, weights (mapped, not read), tokenizer.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "formats/gguf.h"
#include "formats/hugging_face.h"
#include "model/config.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

// Immutable; safe from any thread. Everything inside views the mapped files that it owns.
class LoadedModel {
 public:
  // `path`: a GGUF file or a Hugging Face folder. `projector`: the mmproj file; "" looks for one beside a GGUF file.
  static Result<std::unique_ptr<LoadedModel>> open(const std::string& path, const std::string& projector = "");

  const std::string& path() const { return path_; }
  const std::string& projector_path() const { return projector_path_; }  // "" if there is none
  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const TensorMap& tensors() const { return gguf_ ? gguf_->tensors() : folder_->tensors; }
  bool is_gguf() const { return gguf_.has_value(); }
  uint64_t file_bytes() const;  // of all mapped files

 private:
  LoadedModel() = default;
  std::string path_, projector_path_;
  std::optional<Gguf> gguf_, projector_;
  std::optional<HuggingFaceFolder> folder_;
  ModelConfig config_;
  ModelWeights weights_;
  std::optional<Tokenizer> tokenizer_;
};

// The tokenizer of any of: a GGUF file, a Hugging Face folder, a tokenizer.json.
Result<Tokenizer> open_tokenizer(const std::string& path);

// Where Spark is: $LAPIDARY_MODELS, beside the program or the library, their
// ../share/lapidary/models, or the source tree. "" if nowhere.
std::string bundled_model_path();

}  // namespace lapidary
