// The keys of a GGUF file: copied from another one, or made from a Hugging Face folder as llama.cpp wants them.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"
#include "formats/gguf_writer.h"
#include "formats/hugging_face.h"
#include "model/config.h"

namespace lapidary {

// All but those that say how the file is cut or quantised.
Result<void> copy_keys(std::span<const std::byte> gguf, GgufWriter& out);

// general.* and the architecture's own.
Result<void> add_model_keys(const ModelConfig& config, GgufWriter& out);
// tokenizer.*, the chat template included, if there is one.
Result<void> add_tokenizer_keys(const HuggingFaceFolder& folder, const ModelConfig& config, GgufWriter& out);
// clip.*, for the embedders that the config has.
void add_projector_keys(const ModelConfig& config, GgufWriter& out);

}  // namespace lapidary
