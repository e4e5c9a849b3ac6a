// How much each column of a matrix counts: the mean square of what it is multiplied with, over a text.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace lapidary {

// By the names that GGUF has: one weight a column, 1 on average and never far below, as the text is only a sample.
using Importance = std::map<std::string, std::vector<float>, std::less<>>;

// Runs the text through the model, in pieces of its own that begin with <bos>. Reads all weights for every piece. The
// engine is the caller's alone meanwhile. Errors: what the forward pass reports; cancelled.
Result<Importance> measure_importance(Engine& engine, std::span<const int32_t> text, const Progress& progress);

}  // namespace lapidary
