// A model to be written as GGUF, whatever container it comes from: keys, and tensors under the names that GGUF has.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "formats/hugging_face.h"
#include "model/config.h"
#include "model/weights.h"

namespace lapidary {

struct SourceTensor {
  std::string name;
  std::vector<int64_t> shape;     // outermost first
  std::vector<TensorView> parts;  // its rows, part after part; views into the mapped files
  std::vector<float> values;      // instead of parts: small vectors
  bool channels_first = false;    // columns are [row, column, channel] of a patch, to be written [channel, row, column]
  std::optional<DType> kept;      // the type that it gets whatever is asked for

  int64_t columns() const { return shape.back(); }
  int64_t rows() const;
  DType dtype() const { return parts.empty() ? DType::f32 : parts.front().dtype; }
};

// Everything of one file to be written, but the types of its tensors.
struct SourceFile {
  GgufWriter keys;  // all but general.file_type and general.quantization_version
  std::vector<SourceTensor> tensors;
};

class ModelSource {
 public:
  // `path`: a GGUF file or a Hugging Face folder of an architecture that this program runs.
  static Result<ModelSource> open(const std::string& path);

  const ModelConfig& config() const { return config_; }
  const SourceFile& model() const { return model_; }
  // The projector that a folder's embedders make. A GGUF file has its own beside it: nothing.
  const std::optional<SourceFile>& projector() const { return projector_; }
  const TensorMap& files() const { return gguf_ ? gguf_->tensors() : folder_->tensors; }

 private:
  Result<void> read_gguf(const std::string& path);
  Result<void> read_folder(const std::string& path);

  std::optional<Gguf> gguf_;
  std::optional<HuggingFaceFolder> folder_;
  ModelConfig config_;
  SourceFile model_;
  std::optional<SourceFile> projector_;
};

}  // namespace lapidary
