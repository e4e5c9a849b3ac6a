#include "model/drafter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary {

int32_t last_layer(const ModelConfig& model, AttentionKind kind) {
  for (auto layer = static_cast<int32_t>(model.layers.size()) - 1; layer >= 0; --layer)
    if (model.layers[static_cast<size_t>(layer)].kind == kind) return layer;
  return -1;
}

Result<void> check_drafter_fits(const DrafterConfig& drafter, const ModelConfig& model) {
  const auto differs = [](const std::string& what, int64_t wanted, int64_t found) {
    return malformed("drafter", fmt::format("the model's {}, {}", what, wanted), std::to_string(found));
  };
  if (drafter.model_hidden != model.hidden) return differs("hidden size", model.hidden, drafter.model_hidden);
  if (drafter.layers.vocabulary != model.vocabulary)
    return differs("vocabulary", model.vocabulary, drafter.layers.vocabulary);
  for (const LayerConfig& layer : drafter.layers.layers) {
    const int32_t source = last_layer(model, layer.kind);
    if (source < 0)
      return malformed("drafter", "layers of the kinds that the model has", "a sliding or a full one more");
    const LayerConfig& from = model.layers[static_cast<size_t>(source)];
    if (layer.head_dim != from.head_dim) return differs("head size", from.head_dim, layer.head_dim);
    if (layer.query_heads % from.kv_heads != 0)
      return malformed("drafter", fmt::format("query heads in whole groups for {} KV heads", from.kv_heads),
                       std::to_string(layer.query_heads));
  }
  return {};
}

Drafter::Drafter(const DrafterConfig& config, const DrafterWeights& weights, Decoder& model, const Kernels& kernels,
                 ThreadPool& pool)
    : config_(config), weights_(weights), model_(model), kernels_(kernels), pool_(pool), products_(kernels, pool) {
  const auto fit = [](std::vector<float>& buffer, int64_t size) {
    if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
  };
  fit(input_, int64_t{2} * config.model_hidden);
  for (auto* buffer : {&hidden_, &normed_, &projected_}) fit(*buffer, config.layers.hidden);
  fit(logits_, config.layers.vocabulary);
  for (const LayerConfig& layer : config.layers.layers) {
    for (auto* buffer : {&query_, &attended_}) fit(*buffer, int64_t{layer.query_heads} * layer.head_dim);
    for (auto* buffer : {&gate_, &up_}) fit(*buffer, layer.feed_forward);
  }
}

void Drafter::begin(const KvCache& cache, int32_t token, std::span<const float> state) {
  cache_ = &cache;
  token_ = token;
  std::ranges::copy(state, input_.begin() + config_.model_hidden);
  const auto position = static_cast<float>(cache.length());
  for (Rotation* rotation : {&sliding_, &full_}) {
    const std::vector<float>& frequencies =
        rotation == &sliding_ ? config_.layers.rope_sliding : config_.layers.rope_full;
    rotation->cos.clear();
    rotation->sin.clear();
    for (const float frequency : frequencies) {
      const double angle = position * frequency;
      rotation->cos.push_back(static_cast<float>(std::cos(angle)));
      rotation->sin.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

void Drafter::norm(const float* x, const std::vector<float>& weight, float* out) const {
  kernels_.rms_norm(x, weight.data(), static_cast<int64_t>(weight.size()), config_.layers.norm_eps, out);
}

Drafter::Guess Drafter::next() {
  model_.embed_token(token_, input_.data());
  products_.multiply(input_.data(), 1, int64_t{2} * config_.model_hidden, {{&weights_.pre_projection, hidden_.data()}});
  for (size_t i = 0; i < weights_.layers.size(); ++i) layer(i);
  norm(hidden_.data(), weights_.output_norm, normed_.data());
  products_.multiply(
      normed_.data(), 1, config_.layers.hidden,
      {{&weights_.head, logits_.data()}, {&weights_.post_projection, input_.data() + config_.model_hidden}});
  const Guess guess = likeliest();
  token_ = guess.token;
  return guess;
}

// As a layer of the model (decoder.cc), but the keys and values are there already.
void Drafter::layer(size_t index) {
  const LayerConfig& shape = config_.layers.layers[index];
  const LayerWeights& weights = weights_.layers[index];
  const int64_t hidden = config_.layers.hidden;
  const bool full = shape.kind == AttentionKind::full;

  norm(hidden_.data(), weights.attention_norm, normed_.data());
  products_.multiply(normed_.data(), 1, hidden, {{&weights.query, query_.data()}});
  for (int32_t head = 0; head < shape.query_heads; ++head) {
    float* q = query_.data() + int64_t{head} * shape.head_dim;
    norm(q, weights.query_norm, q);
    kernels_.rotate(q, (full ? full_ : sliding_).cos.data(), (full ? full_ : sliding_).sin.data(), shape.head_dim / 2);
  }
  // A sliding layer sees one position more than the model's own would, as in the official code, if it is there still.
  const int64_t first =
      full ? 0 : std::max({int64_t{0}, cache_->length() - config_.layers.window - 1, cache_->ring_first()});
  model_.attend_cached(*cache_, last_layer(model_.config(), shape.kind), shape.query_heads, first, query_.data(),
                       attended_.data());
  products_.multiply(attended_.data(), 1, int64_t{shape.query_heads} * shape.head_dim,
                     {{&weights.attention_output, projected_.data()}});
  norm(projected_.data(), weights.post_attention_norm, projected_.data());
  kernels_.add(hidden_.data(), projected_.data(), hidden);

  norm(hidden_.data(), weights.feed_forward_norm, normed_.data());
  products_.multiply(normed_.data(), 1, hidden, {{&weights.gate, gate_.data()}, {&weights.up, up_.data()}});
  kernels_.gelu_multiply(gate_.data(), up_.data(), shape.feed_forward, gate_.data());
  products_.multiply(gate_.data(), 1, shape.feed_forward, {{&weights.down, projected_.data()}});
  norm(projected_.data(), weights.post_feed_forward_norm, projected_.data());
  kernels_.add(hidden_.data(), projected_.data(), hidden);
  if (weights.layer_scalar != 1.0F) kernels_.scale(hidden_.data(), weights.layer_scalar, hidden);
}

// Of equals the first, as in greedy sampling.
Drafter::Guess Drafter::likeliest() {
  struct Best {
    int64_t token = -1;
    float first = -INFINITY, second = -INFINITY;
  };
  constexpr int64_t part = 16384;
  const auto size = static_cast<int64_t>(logits_.size());
  std::vector<Best> parts(static_cast<size_t>((size + part - 1) / part));
  pool_.run(static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      Best& best = parts[static_cast<size_t>(p)];
      for (int64_t i = p * part; i < std::min(size, (p + 1) * part); ++i) {
        const float logit = logits_[static_cast<size_t>(i)];
        if (logit > best.first) {
          best = {i, logit, best.first};
        } else if (logit > best.second) {
          best.second = logit;
        }
      }
    }
  });
  Best best;
  for (const Best& one : parts) {
    if (one.first > best.first)
      best = {one.token, one.first, std::max(one.second, best.first)};
    else
      best.second = std::max(best.second, one.first);
  }
  return {static_cast<int32_t>(std::max<int64_t>(0, best.token)), best.first - best.second};
}

}  // namespace lapidary
