// NumPy's .npy, version 1.0: float32 and int32 arrays, written for `logits` and its dumps, read by tests.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace lapidary {

Result<void> write_npy(const std::string& path, std::span<const float> values, std::span<const int64_t> shape);

}  // namespace lapidary
