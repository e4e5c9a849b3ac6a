// Lists of token ids as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lapidary {

// "[2, 9259]"
std::string format_ids(std::span<const int32_t> ids);

// Every id must be in [0, vocabulary).
Result<std::vector<int32_t>> parse_ids(std::string_view json, const std::string& where, int32_t vocabulary);

}  // namespace lapidary
