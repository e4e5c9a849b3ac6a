// Logits -> log probabilities of the chosen token and of the best ones.
#pragma once

#include <cstdint>
#include <span>

#include "service/service.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

// Of the whole vocabulary, before any filter; `count` best, most probable first (ties: lower id first).
TokenEvent token_event(std::span<const float> logits, int32_t chosen, int32_t count, const Tokenizer& tokenizer);

}  // namespace lapidary
