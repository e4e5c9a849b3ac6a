#include "service/log_probability.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace lapidary {

TokenEvent token_event(std::span<const float> logits, int32_t chosen, int32_t count, const Tokenizer& tokenizer) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
  const double log_sum = highest + std::log(sum);
  const auto of = [&](int32_t token) {
    return TokenProbability{token, std::string(tokenizer.piece(token)),
                            static_cast<double>(logits[static_cast<size_t>(token)]) - log_sum};
  };
  TokenEvent event{of(chosen), {}};
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::clamp<int64_t>(count, 0, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (auto token = order.begin(); token != end; ++token) event.best.push_back(of(*token));
  return event;
}

}  // namespace lapidary
