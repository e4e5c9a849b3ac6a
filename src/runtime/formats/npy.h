// NumPy's .npy, version 1.0: float32 arrays, little-endian, for `logits` and its dumps.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace lapidary {

Result<void> write_npy(const std::string& path, std::span<const float> values, std::span<const int64_t> shape);

}  // namespace lapidary
