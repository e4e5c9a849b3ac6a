// What both readers of configs share.
#pragma once

#include <vector>

#include "model/config.h"

namespace lapidary {

// 1 / base^(2i / head_dim) for the first `rotated` of head_dim / 2 pairs, divided by `factor`; 0 for the rest.
// gemma4.md 1.5: the denominator is the whole head, not the rotated part.
std::vector<float> rope_frequencies(int32_t head_dim, int32_t rotated_pairs, double base, double factor);

// Everything that can be checked without the weights: ranges, divisibility, token ids inside the vocabulary. Fills
// `parameters` with the count of all weights, the embedders' included.
Result<void> check_config(ModelConfig& config, const std::string& where);

// Suppresses every medium's marker: their rows in the tied head do not stand for text. gemma4.md 7.
void suppress_media_tokens(ModelConfig& config);

}  // namespace lapidary
