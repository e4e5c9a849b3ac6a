// A drafter on disk, opened for one model.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "engine/loaded_model.h"

namespace lapidary {

// Immutable; safe from any thread. The weights view the mapped files that it owns.
class LoadedDrafter {
 public:
  // `path`: a GGUF file or a Hugging Face folder. A drafter that does not fit the model is an error that says why.
  static Result<std::shared_ptr<const LoadedDrafter>> open(const std::string& path, const ModelConfig& model);
  // The one that lies beside the model and fits it: for a GGUF file, another in its folder that calls itself a drafter
  // (assistant, drafter or mtp in its name); for a folder, the folder of the same name with "-assistant" behind it.
  // Null: there is none.
  static std::shared_ptr<const LoadedDrafter> beside(const LoadedModel& model);

  const std::string& path() const { return path_; }
  const DrafterConfig& config() const { return config_; }
  const DrafterWeights& weights() const { return weights_; }
  uint64_t file_bytes() const;

 private:
  LoadedDrafter() = default;
  std::string path_;
  std::optional<Gguf> gguf_;
  std::optional<HuggingFaceFolder> folder_;
  DrafterConfig config_;
  DrafterWeights weights_;
};

}  // namespace lapidary
