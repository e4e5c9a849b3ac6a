// A checkpoint folder as Hugging Face lays it out: config.json, model.safetensors or its shards with an index,
// tokenizer.json, tokenizer_config.json, generation_config.json, processor_config.json / preprocessor_config.json.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "formats/model_file.h"

namespace lapidary {

struct HuggingFaceFolder {
  std::string path;
  Json config;
  std::optional<Json> generation_config, processor_config, tokenizer_config;
  std::string tokenizer_path;  // "" if there is none
  TensorMap tensors;

  // `path` is the folder or one of its files. Quantised checkpoints (quantization_config: compressed-tensors, MLX,
  // GPTQ, AWQ …) and adapters (LoRA) are refused by name.
  static Result<HuggingFaceFolder> open(const std::string& path);
};

// What `path` is, from its content; follows links. Damaged or foreign files give `unknown` or an error that names what
// it looks like (.litertlm, LoRA adapter, PyTorch pickle, ONNX …) and what to take instead.
Result<FileKind> recognise(const std::string& path);

}  // namespace lapidary
