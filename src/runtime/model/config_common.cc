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

namespace {

// A config under check: what may be said about its numbers.
struct Checker {
  const ModelConfig& config;
  const std::string& where;

  Result<void> number(const char* what, int64_t value, int64_t min, int64_t max) const {
    if (value < min || value > max)
      return malformed(where, fmt::format("{} from {} to {}", what, min, max), std::to_string(value));
    return {};
  }
  Result<void> real(const char* what, double value, double min, double max) const {
    if (!(value >= min && value <= max))
      return malformed(where, fmt::format("{} from {} to {}", what, min, max), fmt::format("{}", value));
    return {};
  }
  Result<void> epsilon(float value) const { return real("an epsilon", value, 1e-30, 1); }

  Result<void> scalars() const {
    LAPIDARY_CHECK(number("a hidden size", config.hidden, 1, 1 << 16));
    LAPIDARY_CHECK(number("a vocabulary", config.vocabulary, 1, 1 << 24));
    LAPIDARY_CHECK(number("layers", static_cast<int64_t>(config.layers.size()), 1, 1024));
    LAPIDARY_CHECK(number("a context", config.context_max, 1, 1LL << 28));
    LAPIDARY_CHECK(epsilon(config.norm_eps));
    LAPIDARY_CHECK(real("a softcap", config.logit_softcap, 0, 1e6));
    LAPIDARY_CHECK(real("a scale of attention", config.attention_scale, 1e-6, 1e6));
    const GenerationDefaults& g = config.generation;
    LAPIDARY_CHECK(real("a temperature", g.temperature, 0, 1000));
    LAPIDARY_CHECK(real("top_p", g.top_p, 0, 1));
    LAPIDARY_CHECK(real("min_p", g.min_p, 0, 1));
    for (const auto* rope : {&config.rope_sliding, &config.rope_full})
      for (const float frequency : *rope)
        if (!std::isfinite(frequency))
          return malformed(where, "finite rotation frequencies", fmt::format("{}", frequency));
    return {};
  }

  Result<void> layer(const LayerConfig& layer) const {
    LAPIDARY_CHECK(number("query heads", layer.query_heads, 1, 1024));
    LAPIDARY_CHECK(number("KV heads", layer.kv_heads, 1, 1024));
    LAPIDARY_CHECK(number("a head size", layer.head_dim, 2, 4096));
    LAPIDARY_CHECK(number("a feed-forward size", layer.feed_forward, 1, 1 << 20));
    if (layer.head_dim % 2 != 0) return malformed(where, "an even head size", std::to_string(layer.head_dim));
    if (layer.query_heads % layer.kv_heads != 0)
      return malformed(where, "query heads in whole groups per KV head",
                       fmt::format("{} and {}", layer.query_heads, layer.kv_heads));
    if (static_cast<int64_t>(config.rope(layer.kind).size()) * 2 != layer.head_dim)
      return malformed(where, "one head size for each kind of attention", std::to_string(layer.head_dim));
    if (layer.kind == AttentionKind::sliding) return number("a sliding window", config.window, 1, 1 << 24);
    return {};
  }

  Result<void> tokens() const {
    const SpecialTokens& t = config.tokens;
    for (const int32_t id :
         {t.bos, t.pad, t.image, t.image_begin, t.image_end, t.audio, t.audio_begin, t.audio_end, t.video})
      LAPIDARY_CHECK(number("token ids", id, -1, config.vocabulary - 1));
    for (const auto* list : {&config.generation.stop_tokens, &config.generation.suppress_tokens})
      for (const int32_t id : *list) LAPIDARY_CHECK(number("token ids", id, 0, config.vocabulary - 1));
    return {};
  }

  Result<void> media() const {
    if (config.vision) {
      LAPIDARY_CHECK(number("a patch side", config.vision->patch_pixels, 1, 512));
      LAPIDARY_CHECK(number("an embedder size", config.vision->embed_dim, 1, 1 << 16));
      LAPIDARY_CHECK(number("positions", config.vision->positions_max, 1, 1 << 20));
      LAPIDARY_CHECK(number("soft tokens", config.vision->default_soft_tokens, 1, 1 << 16));
      LAPIDARY_CHECK(epsilon(config.vision->norm_eps));
    }
    if (config.audio) {
      LAPIDARY_CHECK(number("samples a frame", config.audio->frame_samples, 1, 1 << 20));
      LAPIDARY_CHECK(epsilon(config.audio->norm_eps));
    }
    return {};
  }
};

// All weights, the embedders' included. Within 64 bits for every config that the checks let pass.
int64_t count_parameters(const ModelConfig& config) {
  const int64_t hidden = config.hidden;
  int64_t parameters = config.vocabulary * hidden + hidden;
  for (const LayerConfig& layer : config.layers) {
    const int64_t query = int64_t{layer.query_heads} * layer.head_dim, kv = int64_t{layer.kv_heads} * layer.head_dim;
    parameters += hidden * (2 * query + (layer.value_from_key ? 1 : 2) * kv + 3 * int64_t{layer.feed_forward} + 4);
    parameters += 2 * layer.head_dim + (config.architecture == "gemma4" ? 1 : 0);
  }
  if (config.vision) {
    const int64_t patch = int64_t{3} * config.vision->patch_pixels * config.vision->patch_pixels;
    const int64_t embed = config.vision->embed_dim;
    parameters +=
        2 * patch + embed * (patch + 1) + 4 * embed + 2 * embed * config.vision->positions_max + hidden * embed;
  }
  if (config.audio) parameters += config.audio->frame_samples * hidden;
  return parameters;
}

}  // namespace

Result<void> check_config(ModelConfig& config, const std::string& where) {
  const Checker checker{config, where};
  LAPIDARY_CHECK(checker.scalars());
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const std::string place = fmt::format("{}: layer {}", where, i);
    LAPIDARY_CHECK((Checker{config, place}.layer(config.layers[i])));
  }
  LAPIDARY_CHECK(checker.tokens());
  LAPIDARY_CHECK(checker.media());
  config.parameters = count_parameters(config);
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
