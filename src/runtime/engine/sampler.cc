#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace lapidary {
namespace {

bool is_allowed(std::span<const uint64_t> allowed, size_t token) {
  if (allowed.empty()) return true;
  return token / 64 < allowed.size() && (allowed[token / 64] >> (token % 64) & 1) != 0;
}

// Larger logit first; among equals the lower id.
bool before(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
}

// `probability` holds logits on entry, probabilities on return; candidates are sorted.
void softmax(std::vector<Candidate>& candidates) {
  const double highest = candidates.front().probability;
  double sum = 0;
  for (Candidate& candidate : candidates) sum += candidate.probability = std::exp(candidate.probability - highest);
  for (Candidate& candidate : candidates) candidate.probability /= sum;
}

// Sorted, and cut to the k highest and all that tie with the k-th.
void keep_top_k(std::vector<Candidate>& candidates, int32_t k) {
  if (k > 0 && static_cast<size_t>(k) < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + (k - 1), candidates.end(), before);
    const double least = candidates[static_cast<size_t>(k - 1)].probability;
    std::erase_if(candidates, [least](const Candidate& candidate) { return candidate.probability < least; });
  }
  std::sort(candidates.begin(), candidates.end(), before);
}

}  // namespace

std::vector<Candidate> filter(std::span<const float> logits, const SamplerOptions& options,
                              std::span<const uint64_t> allowed) {
  std::vector<Candidate> kept;
  size_t count = allowed.empty() ? logits.size() : 0;
  for (const uint64_t word : allowed) count += static_cast<size_t>(std::popcount(word));
  kept.reserve(std::min(count, logits.size()));
  std::vector<int32_t> suppressed = options.suppress;
  std::sort(suppressed.begin(), suppressed.end());
  auto next = suppressed.begin();
  const double temperature = options.temperature > 0 ? options.temperature : 1.0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!allowed.empty()) {
      if (i / 64 >= allowed.size()) break;
      if (i % 64 == 0 && allowed[i / 64] == 0) {
        i += 63;
        continue;
      }
      if (!is_allowed(allowed, i)) continue;
    }
    const auto token = static_cast<int32_t>(i);
    while (next != suppressed.end() && *next < token) ++next;
    if ((next != suppressed.end() && *next == token) || std::isnan(logits[i])) continue;
    kept.push_back({token, static_cast<double>(logits[i]) / temperature});
  }
  if (kept.empty()) return kept;
  keep_top_k(kept, options.top_k);
  softmax(kept);
  if (options.top_p < 1.0) {  // the least probable go while they have at most 1 - top_p together; summed from below, as
                              // the reference does
    double sum = 0;
    size_t left = kept.size();
    while (left > 1 && sum + kept[left - 1].probability <= 1.0 - options.top_p) sum += kept[--left].probability;
    kept.resize(left);
  }
  if (options.min_p > 0) {
    const double least = options.min_p * kept.front().probability;
    std::erase_if(kept, [least](const Candidate& candidate) { return candidate.probability < least; });
  }
  double sum = 0;
  for (const Candidate& candidate : kept) sum += candidate.probability;
  for (Candidate& candidate : kept) candidate.probability /= sum;
  return kept;
}

Sampler::Sampler(SamplerOptions options) : options_(std::move(options)), state_(options_.seed) {}

// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
double Sampler::uniform() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
  return static_cast<double>((z ^ z >> 31) >> 11) * 0x1.0p-53;
}

int32_t Sampler::next(std::span<const float> logits, std::span<const uint64_t> allowed) {
  if (options_.greedy || options_.temperature <= 0) {
    int32_t best = -1;
    float highest = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < logits.size(); ++i) {
      const auto token = static_cast<int32_t>(i);
      if (is_allowed(allowed, i) && (logits[i] > highest || (best < 0 && !std::isnan(logits[i]))) &&
          std::find(options_.suppress.begin(), options_.suppress.end(), token) == options_.suppress.end()) {
        best = token;
        highest = logits[i];
      }
    }
    return best;
  }
  const std::vector<Candidate> kept = filter(logits, options_, allowed);
  const double point = uniform();  // drawn even if nothing is left, so that a step always uses one number
  double sum = 0;
  for (const Candidate& candidate : kept) {
    sum += candidate.probability;
    if (point < sum) return candidate.token;
  }
  return kept.empty() ? -1 : kept.back().token;
}

}  // namespace lapidary
