// Attention of the heads that share one KV head: scores, softmax, sum of values. A key or value is read and converted
// once for a tile of heads.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

inline constexpr int tile_keys = 2;
// Values are summed in runs of keys short enough to stay in the nearest cache while all parts of the head are done.
inline constexpr int32_t run_keys = 32;

template <int heads, int keys, typename Kv>
LAPIDARY_INLINE void score_tile(const AttentionCall& call, int32_t head, const uint8_t* key, int32_t position) {
  float sums[keys][heads];
  dot_tile<keys, heads, Kv>(key, call.head_dim * Kv::bytes, call.query + int64_t{head} * call.head_dim, call.head_dim,
                            call.head_dim, sums);
  for (int k = 0; k < keys; ++k)
    for (int h = 0; h < heads; ++h) call.scores[int64_t{head + h} * call.keys + position + k] = sums[k][h] * call.scale;
}

template <int keys, typename Kv>
LAPIDARY_INLINE void score_keys(const AttentionCall& call, const uint8_t* key, int32_t position) {
  int32_t head = 0;
  for (; head + tile_heads <= call.heads; head += tile_heads)
    score_tile<tile_heads, keys, Kv>(call, head, key, position);
  if constexpr (tile_heads > 4)
    for (; head + 4 <= call.heads; head += 4) score_tile<4, keys, Kv>(call, head, key, position);
  if constexpr (tile_heads > 2)
    for (; head + 2 <= call.heads; head += 2) score_tile<2, keys, Kv>(call, head, key, position);
  for (; head < call.heads; ++head) score_tile<1, keys, Kv>(call, head, key, position);
}

template <typename Kv>
void compute_scores(const AttentionCall& call) {
  const int64_t row_bytes = call.head_dim * Kv::bytes;
  int32_t position = 0;
  for (int32_t s = 0; s < call.span_count; ++s) {
    const KvSpan& span = call.spans[s];
    const uint8_t* keys = static_cast<const uint8_t*>(span.key);
    int32_t i = 0;
    for (; i + tile_keys <= span.count; i += tile_keys)
      score_keys<tile_keys, Kv>(call, keys + i * row_bytes, position + i);
    for (; i < span.count; ++i) score_keys<1, Kv>(call, keys + i * row_bytes, position + i);
    position += span.count;
  }
}

// The query as a computed key wants it: times the key's weight where nothing turns. The pairs that turn follow for each
// page.
void weigh_query(const AttentionCall& call, float* query) {
  for (int32_t h = 0; h < call.heads; ++h)
    map(call.query + int64_t{h} * call.head_dim, call.keys_from_values->weight, call.head_dim,
        query + int64_t{h} * call.head_dim, [](Lanes q, Lanes w) { return q * w; });
}

// The turning pairs of every head's query, turned back by a page's angle.
void turn_query_back(const AttentionCall& call, int64_t page, float* query) {
  const KeysFromValues& from = *call.keys_from_values;
  const int64_t half = call.head_dim / 2;
  const float* cos = from.pages + page * 2 * from.pairs;
  const float* sin = cos + from.pairs;
  for (int32_t h = 0; h < call.heads; ++h) {
    const float* q = call.query + int64_t{h} * call.head_dim;
    float* out = query + int64_t{h} * call.head_dim;
    map(q, cos, q + half, sin, from.pairs, out, [](Lanes a, Lanes c, Lanes b, Lanes s) { return a * c + b * s; });
    map(q, sin, q + half, cos, from.pairs, out + half,
        [](Lanes a, Lanes s, Lanes b, Lanes c) { return b * c - a * s; });
  }
}

// A value as the key for the query above: as it is where nothing turns, else weighed and turned by its place.
template <typename Kv>
LAPIDARY_INLINE void key_of_value(const AttentionCall& call, const uint8_t* value, int64_t place, float* key) {
  const KeysFromValues& from = *call.keys_from_values;
  const int64_t n = call.head_dim, half = n / 2;
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) store(key + i, Kv::load(value + i * Kv::bytes));
  if (i < n) store_some(key + i, Kv::load_some(value + i * Kv::bytes, n - i), n - i);
  map(key, from.weight, from.pairs, key, [](Lanes v, Lanes w) { return v * w; });
  map(key + half, from.weight + half, from.pairs, key + half, [](Lanes v, Lanes w) { return v * w; });
  const float* cos = from.places + place * 2 * from.pairs;
  turn_pairs(key, key + half, cos, cos + from.pairs, from.pairs);
}

template <typename Kv>
void compute_scores_from_values(const AttentionCall& call) {
  const int64_t row_bytes = call.head_dim * Kv::bytes;
  AttentionCall weighed = call;
  float* query = call.rows;
  float* keys = call.rows + int64_t{call.heads} * call.head_dim;
  weighed.query = query;
  weigh_query(call, query);
  int64_t page = -1;
  int32_t position = 0;
  for (int32_t s = 0; s < call.span_count; ++s) {
    const KvSpan& span = call.spans[s];
    if (span.position / kv_page_positions != page) {
      page = span.position / kv_page_positions;
      turn_query_back(call, page, query);
    }
    const int64_t place = span.position % kv_page_positions;
    const uint8_t* values = static_cast<const uint8_t*>(span.value);
    for (int32_t first = 0; first < span.count; first += key_rows_together) {
      const int32_t count = span.count - first < key_rows_together ? span.count - first : key_rows_together;
      for (int32_t i = 0; i < count; ++i)
        key_of_value<Kv>(call, values + (first + i) * row_bytes, place + first + i, keys + int64_t{i} * call.head_dim);
      const uint8_t* rows = reinterpret_cast<const uint8_t*>(keys);
      const int64_t stride = call.head_dim * Floats32::bytes;
      int32_t i = 0;
      for (; i + tile_keys <= count; i += tile_keys)
        score_keys<tile_keys, Floats32>(weighed, rows + i * stride, position + first + i);
      for (; i < count; ++i) score_keys<1, Floats32>(weighed, rows + i * stride, position + first + i);
    }
    position += span.count;
  }
}

template <typename Kv>
void score(const AttentionCall& call) {
  call.keys_from_values != nullptr ? compute_scores_from_values<Kv>(call) : compute_scores<Kv>(call);
}

float largest_score(const float* scores, int32_t n) {
  Lanes largest = broadcast(scores[0]);
  int32_t i = 0;
  for (; i + lane_count <= n; i += lane_count) largest = larger(largest, load(scores + i));
  for (; i < n; ++i) largest = larger(largest, broadcast(scores[i]));
  return largest_of(largest);
}

void softmax(float* scores, int32_t n) {
  const Lanes largest = broadcast(largest_score(scores, n));
  Lanes sum = broadcast(0);
  int32_t i = 0;
  for (; i + lane_count <= n; i += lane_count) {
    const Lanes weight = exponential(load(scores + i) - largest);
    store(scores + i, weight);
    sum = sum + weight;
  }
  if (const int32_t rest = n - i; rest > 0) {
    store_some(scores + i, exponential(load_some(scores + i, rest) - largest), rest);
    sum = sum + load_some(scores + i, rest);
  }
  scale(scores, 1.0f / sum_of(sum), n);
}

// out[h] += the sum over `count` keys, in order, of weight * value, for the lanes `first` to `first` + 16 * parts; for
// a part that is cut short, parts is 1 and `lanes` its length.
template <int heads, int parts, bool cut, typename Kv>
LAPIDARY_INLINE void value_tile(const AttentionCall& call, int32_t head, int32_t first, int32_t lanes,
                                const uint8_t* value, int32_t count, int32_t position) {
  float* out = call.out + int64_t{head} * call.head_dim + first;
  const float* weights = call.scores + int64_t{head} * call.keys + position;
  Lanes sums[heads][parts];
  for (int h = 0; h < heads; ++h)
    for (int p = 0; p < parts; ++p) {
      const float* at = out + int64_t{h} * call.head_dim + p * lane_count;
      sums[h][p] = cut ? load_some(at, lanes) : load(at);
    }
  for (int32_t i = 0; i < count; ++i) {
    const uint8_t* row = value + (int64_t{i} * call.head_dim + first) * Kv::bytes;
    Lanes values[parts];
    for (int p = 0; p < parts; ++p)
      values[p] = cut ? Kv::load_some(row, lanes) : Kv::load(row + p * lane_count * Kv::bytes);
    for (int h = 0; h < heads; ++h) {
      const Lanes weight = broadcast(weights[int64_t{h} * call.keys + i]);
      for (int p = 0; p < parts; ++p) sums[h][p] = fused(weight, values[p], sums[h][p]);
    }
  }
  for (int h = 0; h < heads; ++h)
    for (int p = 0; p < parts; ++p) {
      float* at = out + int64_t{h} * call.head_dim + p * lane_count;
      if constexpr (cut)
        store_some(at, sums[h][p], lanes);
      else
        store(at, sums[h][p]);
    }
}

template <int heads, typename Kv>
LAPIDARY_INLINE void add_values(const AttentionCall& call, int32_t head, const uint8_t* value, int32_t count,
                                int32_t position) {
  int32_t d = 0;
  for (; d + 2 * lane_count <= call.head_dim; d += 2 * lane_count)
    value_tile<heads, 2, false, Kv>(call, head, d, lane_count, value, count, position);
  for (; d + lane_count <= call.head_dim; d += lane_count)
    value_tile<heads, 1, false, Kv>(call, head, d, lane_count, value, count, position);
  if (d < call.head_dim) value_tile<heads, 1, true, Kv>(call, head, d, call.head_dim - d, value, count, position);
}

template <typename Kv>
void sum_values(const AttentionCall& call) {
  int32_t position = 0;
  for (int32_t s = 0; s < call.span_count; ++s) {
    const KvSpan& span = call.spans[s];
    for (int32_t i = 0; i < span.count; i += run_keys) {
      const uint8_t* value = static_cast<const uint8_t*>(span.value) + int64_t{i} * call.head_dim * Kv::bytes;
      const int32_t count = span.count - i < run_keys ? span.count - i : run_keys;
      int32_t head = 0;
      for (; head + tile_heads <= call.heads; head += tile_heads)
        add_values<tile_heads, Kv>(call, head, value, count, position + i);
      if constexpr (tile_heads > 4)
        for (; head + 4 <= call.heads; head += 4) add_values<4, Kv>(call, head, value, count, position + i);
      if constexpr (tile_heads > 2)
        for (; head + 2 <= call.heads; head += 2) add_values<2, Kv>(call, head, value, count, position + i);
      for (; head < call.heads; ++head) add_values<1, Kv>(call, head, value, count, position + i);
    }
    position += span.count;
  }
}

void attend(const AttentionCall& call) {
  const int64_t outputs = int64_t{call.heads} * call.head_dim;
  call.type == KvType::f32 ? score<Floats32>(call) : score<Halves>(call);
  for (int64_t i = 0; i < outputs; ++i) call.out[i] = 0;
  for (int32_t h = 0; h < call.heads; ++h) {
    float* scores = call.scores + int64_t{h} * call.keys;
    if (call.begins == nullptr) {
      softmax(scores, call.keys);
      continue;
    }
    const int32_t begin = call.begins[h], end = call.ends[h];
    softmax(scores + begin, end - begin);
    for (int32_t i = 0; i < begin; ++i) scores[i] = 0;
    for (int32_t i = end; i < call.keys; ++i) scores[i] = 0;
  }
  call.type == KvType::f32 ? sum_values<Floats32>(call) : sum_values<Halves>(call);
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
