// safetensors: an 8-byte header length, a JSON directory, then the bytes.
// Spec: the format section of the safetensors README (header at most 100 MB, offsets relative to the data, no holes).
#pragma once

#include <string>

#include "base/result.h"
#include "formats/model_file.h"

namespace lapidary {

// Adds all tensors of one file to `map`. Only F32, F16 and BF16 are weights here; other types (quantised checkpoints)
// are refused by name, with what to take instead.
Result<void> add_safetensors(const std::string& path, TensorMap& map);

// Parses from bytes (fuzzing): tensors view `bytes`.
Result<void> add_safetensors(std::span<const std::byte> bytes, const std::string& name, uint32_t file, TensorMap& map);

}  // namespace lapidary
