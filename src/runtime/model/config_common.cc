#include "model/config_common.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary {

std::vector<float> rope_frequencies(int32_t head_dim, int32_t rotated_pairs, double base, double factor) {
  std::vector<float> frequencies(static_cast<size_t>(head_dim / 2), 0.0F);
  for (int32_t i = 0; i < std::min(rotated_pairs, head_dim / 2); ++i)
    frequencies[static_cast<size_t>(i)] = static_cast<float>(std::pow(base, -2.0 * i / head_dim) / factor);
  return frequencies;
}

Result<void> check_config(ModelConfig& config, const std::string& where) {
  const auto number = [&](const char* what, int64_t value, int64_t min, int64_t max) -> Result<void> {
    if (value < min || value > max)
      return malformed(where, fmt::format("{} from {} to {}", what, min, max), std::to_string(value));
    return {};
  };
  LAPIDARY_CHECK(number("a hidden size", config.hidden, 1, 1 << 16));
  LAPIDARY_CHECK(number("a vocabulary", config.vocabulary, 1, 1 << 24));
  LAPIDARY_CHECK(number("layers", static_cast<int64_t>(config.layers.size()), 1, 1024));
  LAPIDARY_CHECK(number("a context", config.context_max, 1, 1LL << 28));
  if (!(config.norm_eps > 0) || !(config.norm_eps < 1))
    return malformed(where, "an epsilon between 0 and 1", fmt::format("{}", config.norm_eps));
  if (!(config.logit_softcap >= 0) || !std::isfinite(config.logit_softcap))
    return malformed(where, "a softcap of 0 or more", fmt::format("{}", config.logit_softcap));
  int64_t parameters = int64_t{config.vocabulary} * config.hidden + config.hidden;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    LAPIDARY_CHECK(number("query heads", layer.query_heads, 1, 1024));
    LAPIDARY_CHECK(number("KV heads", layer.kv_heads, 1, 1024));
    LAPIDARY_CHECK(number("a head size", layer.head_dim, 2, 4096));
    LAPIDARY_CHECK(number("a feed-forward size", layer.feed_forward, 1, 1 << 20));
    if (layer.head_dim % 2 != 0) return malformed(where, "an even head size", std::to_string(layer.head_dim));
    if (layer.query_heads % layer.kv_heads != 0)
      return malformed(fmt::format("{}: layer {}", where, i), "query heads in whole groups per KV head",
                       fmt::format("{} and {}", layer.query_heads, layer.kv_heads));
    if (static_cast<int64_t>(config.rope(layer.kind).size()) * 2 != layer.head_dim)
      return malformed(fmt::format("{}: layer {}", where, i), "one head size for each kind of attention",
                       std::to_string(layer.head_dim));
    if (layer.kind == AttentionKind::sliding) LAPIDARY_CHECK(number("a sliding window", config.window, 1, 1 << 24));
    const int64_t query = int64_t{layer.query_heads} * layer.head_dim, kv = int64_t{layer.kv_heads} * layer.head_dim;
    parameters +=
        config.hidden * (2 * query + (layer.value_from_key ? 1 : 2) * kv + 3 * int64_t{layer.feed_forward} + 4) +
        2 * layer.head_dim;
    if (config.architecture == "gemma4") ++parameters;
  }
  for (const auto& rope : {config.rope_sliding, config.rope_full})
    for (const float frequency : rope)
      if (!std::isfinite(frequency))
        return malformed(where, "finite rotation frequencies", fmt::format("{}", frequency));
  const auto inside = [&](int32_t id) { return id >= -1 && id < config.vocabulary; };
  const SpecialTokens& t = config.tokens;
  for (const int32_t id :
       {t.bos, t.pad, t.image, t.image_begin, t.image_end, t.audio, t.audio_begin, t.audio_end, t.video})
    if (!inside(id)) return malformed(where, fmt::format("token ids below {}", config.vocabulary), std::to_string(id));
  for (const auto* list : {&config.generation.stop_tokens, &config.generation.suppress_tokens})
    for (const int32_t id : *list)
      if (id < 0 || !inside(id))
        return malformed(where, fmt::format("token ids below {}", config.vocabulary), std::to_string(id));
  if (config.vision) {
    LAPIDARY_CHECK(number("a patch side", config.vision->patch_pixels, 1, 512));
    LAPIDARY_CHECK(number("an embedder size", config.vision->embed_dim, 1, 1 << 16));
    LAPIDARY_CHECK(number("positions", config.vision->positions_max, 1, 1 << 20));
    LAPIDARY_CHECK(number("soft tokens", config.vision->default_soft_tokens, 1, 1 << 16));
    const int64_t patch = int64_t{3} * config.vision->patch_pixels * config.vision->patch_pixels,
                  embed = config.vision->embed_dim;
    parameters +=
        2 * patch + embed * (patch + 1) + 4 * embed + 2 * embed * config.vision->positions_max + config.hidden * embed;
  }
  if (config.audio) {
    LAPIDARY_CHECK(number("samples a frame", config.audio->frame_samples, 1, 1 << 20));
    parameters += int64_t{config.audio->frame_samples} * config.hidden;
  }
  config.parameters = parameters;
  return {};
}

void suppress_media_tokens(ModelConfig& config) {
  const SpecialTokens& t = config.tokens;
  std::vector<int32_t>& suppressed = config.generation.suppress_tokens;
  for (const int32_t id : {t.image, t.image_begin, t.image_end, t.audio, t.audio_begin, t.audio_end, t.video})
    if (id >= 0) suppressed.push_back(id);
  std::sort(suppressed.begin(), suppressed.end());
  suppressed.erase(std::unique(suppressed.begin(), suppressed.end()), suppressed.end());
}

}  // namespace lapidary
