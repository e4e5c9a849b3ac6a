#include "model/decoder.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "tensor/dequantize.h"

namespace lapidary {
namespace {

constexpr int64_t column_grain = 1024;  // columns of the feed-forward that a thread takes at a time

constexpr int64_t attention_scores_max = 1 << 20;  // that a thread keeps, unless one position needs more

// Positions that attend together: enough rows to make reading and converting a key pay.
int32_t attention_positions(int32_t heads) { return std::clamp(32 / heads, 4, 16); }

int64_t widest_activation(const ModelConfig& config) {
  int64_t widest = config.hidden;
  for (const LayerConfig& layer : config.layers)
    widest = std::max<int64_t>({widest, layer.feed_forward, int64_t{layer.query_heads} * layer.head_dim});
  return (widest + 31) / 32 * 32;
}

int64_t widest_heads(const ModelConfig& config, int32_t LayerConfig::* heads) {
  int64_t widest = 0;
  for (const LayerConfig& layer : config.layers) widest = std::max(widest, int64_t{layer.*heads} * layer.head_dim);
  return widest;
}

int64_t widest_feed_forward(const ModelConfig& config) {
  int64_t widest = 0;
  for (const LayerConfig& layer : config.layers) widest = std::max<int64_t>(widest, layer.feed_forward);
  return widest;
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, const ModelWeights& weights, const Kernels& kernels, ThreadPool& pool)
    : config_(config), weights_(weights), kernels_(kernels), pool_(pool), products_(kernels, pool) {}

uint64_t Decoder::working_bytes(const ModelConfig& config, int64_t rows) {
  const auto floats =
      static_cast<uint64_t>(3 * config.hidden + 2 * widest_heads(config, &LayerConfig::query_heads) +
                            2 * widest_heads(config, &LayerConfig::kv_heads) + 2 * widest_feed_forward(config)) +
      2 * (config.rope_sliding.size() + config.rope_full.size());
  return static_cast<uint64_t>(rows) * (4 * floats + Products::row_bytes(widest_activation(config)));
}

void Decoder::grow(int32_t rows) {
  rows_ = rows;
  const auto fit = [rows](auto& buffer, int64_t columns) {
    const auto size = static_cast<size_t>(rows) * static_cast<size_t>(columns);
    if (buffer.size() < size) buffer.resize(size);
  };
  for (auto* buffer : {&hidden_, &normed_, &projected_}) fit(*buffer, config_.hidden);
  for (auto* buffer : {&query_, &attended_}) fit(*buffer, widest_heads(config_, &LayerConfig::query_heads));
  for (auto* buffer : {&key_, &value_}) fit(*buffer, widest_heads(config_, &LayerConfig::kv_heads));
  for (auto* buffer : {&gate_, &up_}) fit(*buffer, widest_feed_forward(config_));
  for (Rotation* rotation : {&rotation_sliding_, &rotation_full_}) {
    rotation->half =
        static_cast<int64_t>((rotation == &rotation_sliding_ ? config_.rope_sliding : config_.rope_full).size());
    fit(rotation->cos, rotation->half);
    fit(rotation->sin, rotation->half);
  }
}

Result<void> Decoder::forward(const ForwardRequest& request) {
  places_.clear();
  for (size_t s = 0; s < request.segments.size(); ++s) {
    const BatchSegment& segment = request.segments[s];
    LAPIDARY_CHECK(segment.cache->reserve(static_cast<int64_t>(segment.rows.size())));
    for (size_t i = 0; i < segment.rows.size(); ++i)
      places_.push_back(
          {static_cast<int32_t>(s), segment.cache->length() + static_cast<int64_t>(i), segment.rows[i].visible_end});
  }
  grow(static_cast<int32_t>(places_.size()));

  const int32_t first_layer = request.state != nullptr ? request.state->next_layer : 0;
  if (first_layer == 0)
    embed(request);
  else
    std::copy(request.state->hidden.begin(), request.state->hidden.end(), hidden_.begin());
  rotations();
  int64_t last = 0;
  for (const Place& place : places_) last = std::max(last, place.position);
  key_rotations(last);
  if (first_layer == 0) observe(request, 0, hidden_.data());
  for (int32_t layer = first_layer; layer < static_cast<int32_t>(config_.layers.size()); ++layer) {
    if (request.cancelled != nullptr && request.cancelled->load(std::memory_order_relaxed))
      return fail(ErrorKind::cancelled, "", "stopped");
    if (layer > first_layer && request.state != nullptr && request.leave != nullptr && (*request.leave)()) {
      request.state->next_layer = layer;
      request.state->hidden.assign(hidden_.begin(), hidden_.begin() + rows_ * int64_t{config_.hidden});
      return fail(ErrorKind::cancelled, "", "left");
    }
    attention(request, layer);
    feed_forward(layer);
    observe(request, layer + 1, hidden_.data());
  }
  write_logits(request);
  if (request.state != nullptr) *request.state = {};
  for (const BatchSegment& segment : request.segments) segment.cache->commit(static_cast<int64_t>(segment.rows.size()));
  return {};
}

void Decoder::observe(const ForwardRequest& request, int32_t index, const float* values) const {
  if (request.observer != nullptr) (*request.observer)(index, values, rows_);
}

// h = E[token] * sqrt(hidden); soft tokens as they are. gemma4.md 1.3, step 1.
void Decoder::embed(const ForwardRequest& request) {
  const int64_t n = config_.hidden;
  pool_.run(rows_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Place& place = places_[static_cast<size_t>(r)];
      const BatchSegment& segment = request.segments[static_cast<size_t>(place.segment)];
      const BatchRow& row = segment.rows[static_cast<size_t>(place.position - segment.cache->length())];
      float* h = hidden_.data() + r * n;
      if (row.soft != nullptr)
        std::copy_n(row.soft, n, h);
      else
        embed_token(row.token, h);
    }
  });
}

void Decoder::embed_token(int32_t token, float* out) const {
  dequantize_row(weights_.embedding, token, out);
  kernels_.scale(out, config_.embedding_scale, config_.hidden);
}

// cos and sin of position * inverse frequency, the angle in fp32 as in the reference. gemma4.md 1.5.
void Decoder::rotations() {
  pool_.run(rows_, 1, [&](int64_t begin, int64_t end) {
    for (Rotation* rotation : {&rotation_sliding_, &rotation_full_}) {
      const std::vector<float>& frequencies = rotation == &rotation_sliding_ ? config_.rope_sliding : config_.rope_full;
      for (int64_t r = begin; r < end; ++r) {
        const auto position = static_cast<float>(places_[static_cast<size_t>(r)].position);
        for (int64_t i = 0; i < rotation->half; ++i) {
          const double angle = position * frequencies[static_cast<size_t>(i)];
          rotation->cos[static_cast<size_t>(r * rotation->half + i)] = static_cast<float>(std::cos(angle));
          rotation->sin[static_cast<size_t>(r * rotation->half + i)] = static_cast<float>(std::sin(angle));
        }
      }
    }
  });
}

// The tables for keys that follow from values, up to the position `last`. gemma4.md 1.4 and 1.5.
void Decoder::key_rotations(int64_t last) {
  const std::vector<float>& frequencies = config_.rope_full;
  const auto turn = [&](int64_t position, std::vector<float>& table) {
    for (const bool sine : {false, true})
      for (int64_t i = 0; i < key_pairs_; ++i) {
        const double angle = static_cast<double>(position) * static_cast<double>(frequencies[static_cast<size_t>(i)]);
        table.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
  };
  if (key_places_.empty()) {
    key_pairs_ = static_cast<int64_t>(frequencies.size());
    while (key_pairs_ > 0 && frequencies[static_cast<size_t>(key_pairs_ - 1)] == 0) --key_pairs_;
    for (int64_t place = 0; place < kv_page_positions; ++place) turn(place, key_places_);
  }
  for (auto page = static_cast<int64_t>(key_pages_.size()) / std::max<int64_t>(1, 2 * key_pairs_);
       key_pairs_ > 0 && page <= last / kv_page_positions; ++page)
    turn(page * kv_page_positions, key_pages_);
}

// h += post_attention_norm(o_proj(attend(q, k, v))). gemma4.md 1.3 and 1.4.
void Decoder::attention(const ForwardRequest& request, int32_t layer) {
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const int64_t hidden = config_.hidden, head_dim = shape.head_dim;
  const int64_t query_columns = shape.query_heads * head_dim, kv_columns = shape.kv_heads * head_dim;

  norm_rows(weights.attention_norm);
  if (shape.value_from_key)
    multiply(normed_.data(), hidden, {{&weights.query, query_.data()}, {&weights.key, key_.data()}});
  else
    multiply(normed_.data(), hidden,
             {{&weights.query, query_.data()}, {&weights.key, key_.data()}, {&weights.value, value_.data()}});

  // Norms and rotation per head, then K and V into the cache. Item i of a row: a query head, or after those a KV head.
  const Rotation& rotation = shape.kind == AttentionKind::sliding ? rotation_sliding_ : rotation_full_;
  const bool value_norm = config_.architecture == "gemma4";
  const int64_t items = shape.query_heads + shape.kv_heads;
  pool_.run(rows_ * items, 4, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t r = item / items, head = item % items;
      const Place& place = places_[static_cast<size_t>(r)];
      const float* cos = rotation.cos.data() + r * rotation.half;
      const float* sin = rotation.sin.data() + r * rotation.half;
      if (head < shape.query_heads) {
        float* q = query_.data() + r * query_columns + head * head_dim;
        kernels_.rms_norm(q, weights.query_norm.data(), head_dim, config_.norm_eps, q);
        kernels_.rotate(q, cos, sin, head_dim / 2);
        continue;
      }
      const auto kv_head = static_cast<int32_t>(head - shape.query_heads);
      float* k = key_.data() + r * kv_columns + kv_head * head_dim;
      float* v = value_.data() + r * kv_columns + kv_head * head_dim;
      if (shape.value_from_key) std::copy_n(k, head_dim, v);  // V is the raw projection, before k_norm
      if (value_norm) kernels_.rms_norm(v, nullptr, head_dim, config_.norm_eps, v);
      KvCache& cache = *request.segments[static_cast<size_t>(place.segment)].cache;
      if (!cache.values_alone(layer)) {
        kernels_.rms_norm(k, weights.key_norm.data(), head_dim, config_.norm_eps, k);
        kernels_.rotate(k, cos, sin, head_dim / 2);
      }
      cache.write(layer, kv_head, place.position, k, v, kernels_);
    }
  });

  attend(request, layer);
  multiply(attended_.data(), query_columns, {{&weights.attention_output, projected_.data()}});
  add_normed(weights.post_attention_norm, 1.0F);
}

// Each query head over the keys its position may see. gemma4.md 2.
void Decoder::attend(const ForwardRequest& request, int32_t layer) {
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const int32_t group = shape.query_heads / shape.kv_heads;

  // Heads that share a KV head, of a few neighbouring positions, are computed together, so that its rows are read once;
  // but not all of them when that would leave threads without work. A head's result does not depend on it.
  const int64_t tasks_wanted = int64_t{4} * pool_.threads();
  int32_t heads = group, positions = attention_positions(group);
  while (positions > 1 && rows_ * int64_t{shape.kv_heads} < tasks_wanted * positions) positions /= 2;
  while (heads % 2 == 0 && heads > 2 && int64_t{rows_} * shape.kv_heads * (group / heads) < tasks_wanted) heads /= 2;
  blocks_.clear();
  for (int32_t row = 0; row < rows_;) {
    const Place& place = places_[static_cast<size_t>(row)];
    const KeyRange seen = keys_seen(shape, place);
    const int64_t most = std::clamp<int64_t>(attention_scores_max / (heads * (seen.end - seen.first)), 1, positions);
    int32_t count = 1;
    while (count < most && row + count < rows_ && places_[static_cast<size_t>(row + count)].segment == place.segment)
      ++count;
    blocks_.push_back({row, count});
    row += count;
  }

  const int64_t parts = group / heads, items = shape.kv_heads * parts;
  pool_.run(static_cast<int64_t>(blocks_.size()) * items, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const auto kv_head = static_cast<int32_t>(item % items / parts);
      const auto first_head = static_cast<int32_t>(kv_head * group + item % parts * heads);
      attend_block(request, layer, blocks_[static_cast<size_t>(item / items)], {kv_head, first_head, heads});
    }
  });
}

// Full layers are causal; sliding ones reach back a window and, inside a picture's block, forward to its end.
Decoder::KeyRange Decoder::keys_seen(const LayerConfig& shape, const Place& place) const {
  if (shape.kind == AttentionKind::full) return {0, place.position + 1};
  return {std::max<int64_t>(0, place.position - config_.window + 1), place.visible_end};
}

// Some heads of one KV head, at the positions of a block.
void Decoder::attend_block(const ForwardRequest& request, int32_t layer, const Rows& block, const Heads& heads) {
  thread_local std::vector<KvSpan> spans;
  thread_local std::vector<float> query, out;
  thread_local std::vector<int32_t> begins, ends;
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const Place* places = places_.data() + block.first;
  const KvCache& cache = *request.segments[static_cast<size_t>(places->segment)].cache;
  const int64_t columns = int64_t{heads.count} * shape.head_dim;
  const auto at = [&](int32_t i) {
    return (int64_t{block.first + i} * shape.query_heads + heads.first) * shape.head_dim;
  };
  KeyRange keys = keys_seen(shape, *places);
  for (int32_t i = 1; i < block.count; ++i) keys.end = std::max(keys.end, keys_seen(shape, places[i]).end);
  cache.spans(layer, heads.kv_head, keys.first, keys.end, spans);

  AttentionCall call;
  call.query = query_.data() + at(0);
  call.out = attended_.data() + at(0);
  call.heads = heads.count * block.count;
  call.head_dim = shape.head_dim;
  call.scale = config_.attention_scale;
  call.type = cache.type();
  call.spans = spans.data();
  call.span_count = static_cast<int32_t>(spans.size());
  call.keys = static_cast<int32_t>(keys.end - keys.first);
  if (block.count > 1) {
    query.resize(static_cast<size_t>(block.count * columns));
    out.resize(query.size());
    begins.clear();
    ends.clear();
    for (int32_t i = 0; i < block.count; ++i) {
      const KeyRange seen = keys_seen(shape, places[i]);
      std::copy_n(query_.data() + at(i), columns, query.data() + i * columns);
      begins.insert(begins.end(), static_cast<size_t>(heads.count), static_cast<int32_t>(seen.first - keys.first));
      ends.insert(ends.end(), static_cast<size_t>(heads.count), static_cast<int32_t>(seen.end - keys.first));
    }
    call.query = query.data();
    call.out = out.data();
    call.begins = begins.data();
    call.ends = ends.data();
  }
  attend_keys(call, cache, layer);
  if (block.count > 1)
    for (int32_t i = 0; i < block.count; ++i) std::copy_n(out.data() + i * columns, columns, attended_.data() + at(i));
}

// The call's scratch memory, keys that follow from values, and the call.
void Decoder::attend_keys(AttentionCall& call, const KvCache& cache, int32_t layer) const {
  thread_local std::vector<float> scores, rows;
  const auto scratch = static_cast<size_t>(call.heads) * static_cast<size_t>(call.keys);
  if (scores.size() < scratch) scores.resize(scratch + 1024);
  call.scores = scores.data();
  const KeysFromValues from_values{weights_.layers[static_cast<size_t>(layer)].key_norm.data(), key_pairs_,
                                   key_pages_.data(), key_places_.data()};
  if (cache.values_alone(layer)) {
    rows.resize(static_cast<size_t>((call.heads + key_rows_together) * call.head_dim));
    call.keys_from_values = &from_values;
    call.rows = rows.data();
  }
  kernels_.attend(call);
}

void Decoder::attend_cached(const KvCache& cache, int32_t layer, int32_t query_heads, int64_t first, const float* query,
                            float* out) {
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const int32_t group = query_heads / shape.kv_heads;
  key_rotations(cache.length());
  // As many tasks as there are KV heads, or more where that would leave threads without work.
  int32_t heads = group;
  while (heads % 2 == 0 && query_heads / heads < pool_.threads()) heads /= 2;
  pool_.run(query_heads / heads, 1, [&](int64_t begin, int64_t end) {
    thread_local std::vector<KvSpan> spans;
    for (int64_t item = begin; item < end; ++item) {
      const auto first_head = static_cast<int32_t>(item) * heads;
      cache.spans(layer, first_head / group, first, cache.length(), spans);
      AttentionCall call;
      call.query = query + int64_t{first_head} * shape.head_dim;
      call.out = out + int64_t{first_head} * shape.head_dim;
      call.heads = heads;
      call.head_dim = shape.head_dim;
      call.scale = config_.attention_scale;
      call.type = cache.type();
      call.spans = spans.data();
      call.span_count = static_cast<int32_t>(spans.size());
      call.keys = static_cast<int32_t>(cache.length() - first);
      attend_keys(call, cache, layer);
    }
  });
}

// h += post_feed_forward_norm(down(gelu(gate x) * up x)); h *= layer_scalar. gemma4.md 1.3, steps 3 and 4.
void Decoder::feed_forward(int32_t layer) {
  const LayerConfig& shape = config_.layers[static_cast<size_t>(layer)];
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const int64_t columns = shape.feed_forward;

  norm_rows(weights.feed_forward_norm);
  multiply(normed_.data(), config_.hidden, {{&weights.gate, gate_.data()}, {&weights.up, up_.data()}});
  const int64_t parts = (columns + column_grain - 1) / column_grain;
  pool_.run(rows_ * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % parts * column_grain, count = std::min(column_grain, columns - first);
      float* gate = gate_.data() + item / parts * columns + first;
      kernels_.gelu_multiply(gate, up_.data() + item / parts * columns + first, count, gate);
    }
  });
  multiply(gate_.data(), columns, {{&weights.down, projected_.data()}});
  add_normed(weights.post_feed_forward_norm, weights.layer_scalar);
}

// normed_ = rms_norm(hidden_) * weight, row by row.
void Decoder::norm_rows(const std::vector<float>& weight) {
  const int64_t n = config_.hidden;
  pool_.run(rows_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      kernels_.rms_norm(hidden_.data() + r * n, weight.data(), n, config_.norm_eps, normed_.data() + r * n);
  });
}

// hidden_ = (hidden_ + rms_norm(projected_) * weight) * factor, row by row.
void Decoder::add_normed(const std::vector<float>& weight, float factor) {
  const int64_t n = config_.hidden;
  pool_.run(rows_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* h = hidden_.data() + r * n;
      float* y = projected_.data() + r * n;
      kernels_.rms_norm(y, weight.data(), n, config_.norm_eps, y);
      kernels_.add(h, y, n);
      if (factor != 1.0F) kernels_.scale(h, factor, n);
    }
  });
}

// out = W x for all rows and several W of one input at once. The activations are quantised once for all of them.
void Decoder::multiply(const float* x, int64_t columns, std::initializer_list<Product> products) {
  multiply_rows(x, rows_, columns, products);
}

void Decoder::multiply_rows(const float* x, int32_t rows, int64_t columns, std::initializer_list<Product> products) {
  if (product_observer_)
    for (const Product& product : products) product_observer_(*product.weights, x, rows);
  products_.multiply(x, rows, columns, products);
}

// Final norm, head, softcap: for the rows that asked. gemma4.md 1.3, step 5.
void Decoder::write_logits(const ForwardRequest& request) {
  const int64_t n = config_.hidden, vocabulary = config_.vocabulary;
  if (request.observer != nullptr) {
    norm_rows(weights_.output_norm);
    observe(request, static_cast<int32_t>(config_.layers.size()) + 1, normed_.data());
  }
  const auto count = static_cast<int32_t>(request.logit_rows.size());
  if (count == 0) return;
  for (int32_t i = 0; i < count; ++i)
    kernels_.rms_norm(hidden_.data() + request.logit_rows[static_cast<size_t>(i)] * n, weights_.output_norm.data(), n,
                      config_.norm_eps, normed_.data() + i * n);
  if (request.states != nullptr) std::copy_n(normed_.data(), count * n, request.states);
  multiply_rows(normed_.data(), count, n, {{&weights_.head, request.logits}});
  if (config_.logit_softcap <= 0) return;
  constexpr int64_t part = 16384;
  const int64_t parts = (vocabulary + part - 1) / part;
  pool_.run(count * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % parts * part;
      kernels_.softcap(request.logits + item / parts * vocabulary + first, config_.logit_softcap,
                       std::min(part, vocabulary - first));
    }
  });
}

}  // namespace lapidary
