#include "engine/penalties.h"

namespace lapidary {

void Penalties::add(int32_t token) {
  if (!options_.active()) return;
  ++counts_[token];
  if (options_.last_n < 0) return;
  window_.push_back(token);
  if (window_.size() <= static_cast<size_t>(options_.last_n)) return;
  const auto oldest = counts_.find(window_.front());
  if (--oldest->second == 0) counts_.erase(oldest);
  window_.pop_front();
}

std::span<const float> Penalties::apply(std::span<const float> logits) {
  if (counts_.empty()) return logits;
  penalised_.assign(logits.begin(), logits.end());
  for (const auto& [token, count] : counts_) {
    if (token < 0 || static_cast<size_t>(token) >= penalised_.size()) continue;
    float& logit = penalised_[static_cast<size_t>(token)];
    const double repeated = logit > 0 ? logit / options_.repeat : logit * options_.repeat;
    logit = static_cast<float>(repeated - static_cast<double>(count) * options_.frequency - options_.presence);
  }
  return penalised_;
}

}  // namespace lapidary
