#include "bench/model_speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "base/system.h"

namespace lapidary {
namespace {

// A cheap generator: the same numbers on every machine.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  uint32_t next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<uint32_t>(state_ >> 33);
  }

 private:
  uint64_t state_;
};

uint64_t hash_of(std::span<const float> values) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const std::byte byte : std::as_bytes(values)) hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001B3ULL;
  return hash;
}

class SpeedRun {
 public:
  SpeedRun(Engine& engine, const SpeedOptions& options, const SpeedProgress& progress)
      : engine_(engine), options_(options), progress_(progress), trunk_(fresh_cache()) {
    int64_t rows = 1;
    for (const int32_t count : options.verify_rows) rows = std::max<int64_t>(rows, count);
    logits_.resize(static_cast<size_t>(rows * engine.config().vocabulary));
  }

  Result<ModelSpeed> run() {
    LAPIDARY_CHECK(warm_up());
    std::vector<int64_t> depths = options_.depths;
    if (!options_.verify_rows.empty()) depths.push_back(options_.verify_depth);
    std::sort(depths.begin(), depths.end());
    depths.erase(std::unique(depths.begin(), depths.end()), depths.end());
    for (const int64_t depth : depths) {
      LAPIDARY_CHECK(go_to(depth));
      if (std::find(options_.depths.begin(), options_.depths.end(), depth) != options_.depths.end())
        LAPIDARY_CHECK(measure_at(depth));
      if (!options_.verify_rows.empty() && depth == options_.verify_depth) LAPIDARY_CHECK(measure_verify());
    }
    return std::move(speed_);
  }

 private:
  KvCache fresh_cache() { return KvCache(engine_.config(), engine_.kv_pool(), engine_.kv_type()); }
  int32_t token_at(int64_t position) const {
    return static_cast<int32_t>(Numbers(static_cast<uint64_t>(position) + 1).next() %
                                static_cast<uint32_t>(engine_.config().vocabulary));
  }
  Result<void> announce(const std::string& step) {
    step_ = step;
    return go_on();
  }
  Result<void> go_on() {
    if (progress_ && !progress_(step_)) return fail(ErrorKind::cancelled, "bench", "stopped");
    return {};
  }

  // One call with the next `count` tokens; logits of the last, of all, or of none.
  enum class Logits : uint8_t { none, last, all };
  Result<void> forward(KvCache& cache, int64_t count, Logits wanted) {
    std::vector<BatchRow> rows(static_cast<size_t>(count));
    std::vector<int32_t> logit_rows;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = cache.length() + i;
      rows[static_cast<size_t>(i)] = {token_at(position), nullptr, position + 1};
      if (wanted == Logits::all || (wanted == Logits::last && i + 1 == count))
        logit_rows.push_back(static_cast<int32_t>(i));
    }
    const BatchSegment segment{&cache, rows};
    return engine_.decoder().forward({{&segment, 1}, logit_rows, logits_.data(), nullptr, nullptr});
  }

  // Reads a prompt as a session does: in chunks, logits for its last token.
  Result<void> prefill(KvCache& cache, int64_t count, bool with_logits) {
    for (int64_t done = 0; done < count;) {
      LAPIDARY_CHECK(go_on());
      const int64_t rows = std::min<int64_t>(engine_.chunk(), count - done);
      done += rows;
      LAPIDARY_CHECK(forward(cache, rows, with_logits && done == count ? Logits::last : Logits::none));
    }
    return {};
  }

  Result<void> warm_up() {
    LAPIDARY_CHECK(announce("warming up"));
    KvCache cache = fresh_cache();
    const int64_t longest = options_.prefill_tokens > 0 ? std::min<int64_t>(32, options_.prefill_tokens) : 1;
    LAPIDARY_CHECK(forward(cache, longest, Logits::last));
    return forward(cache, 1, Logits::last);
  }

  Result<void> go_to(int64_t depth) {
    if (depth > 0) LAPIDARY_CHECK(announce(fmt::format("filling the cache up to {}", depth)));
    if (depth <= computed_depth_max) return prefill(trunk_, depth - trunk_.length(), false);
    trunk_.clear();
    return fill_with_noise(depth);
  }

  // Keys and values like those of a normed projection: around 0, around 1 large. Sliding layers get only what can still
  // be seen.
  Result<void> fill_with_noise(int64_t depth) {
    const ModelConfig& config = engine_.config();
    Numbers numbers(depth);
    std::vector<float> noise(1 << 16);
    for (float& value : noise) value = static_cast<float>(numbers.next()) * 0x1p-29F - 2.0F;
    while (trunk_.length() < depth) {
      LAPIDARY_CHECK(go_on());
      const int64_t first = trunk_.length(), count = std::min<int64_t>(engine_.chunk(), depth - first);
      LAPIDARY_CHECK(trunk_.reserve(count));
      for (size_t layer = 0; layer < config.layers.size(); ++layer) {
        const LayerConfig& kind = config.layers[layer];
        if (kind.kind == AttentionKind::sliding && first + count + config.window < depth) continue;
        const auto room = static_cast<uint32_t>(noise.size()) - static_cast<uint32_t>(kind.head_dim);
        for (int64_t position = first; position < first + count; ++position)
          for (int32_t head = 0; head < kind.kv_heads; ++head)
            trunk_.write(static_cast<int32_t>(layer), head, position, noise.data() + numbers.next() % room,
                         noise.data() + numbers.next() % room, engine_.kernels());
      }
      trunk_.commit(count);
    }
    return {};
  }

  // Times `work`, which does `tokens` tokens on a copy of the trunk, options_.reps times.
  template <typename Work>
  Result<SpeedAt> repeat(int64_t tokens, const Work& work) {
    SpeedAt result{tokens, trunk_.length(), {}, 0};
    std::vector<double> rates, cpu_seconds;
    std::optional<uint64_t> hash;
    for (int32_t rep = 0; rep < options_.reps; ++rep) {
      LAPIDARY_CHECK(go_on());
      KvCache cache = trunk_.fork();
      const double begin = monotonic_seconds(), cpu_begin = process_cpu_seconds();
      LAPIDARY_CHECK(work(cache));
      rates.push_back(static_cast<double>(tokens) / (monotonic_seconds() - begin));
      cpu_seconds.push_back((process_cpu_seconds() - cpu_begin) / static_cast<double>(tokens));
      const uint64_t own = last_logits_hash();
      if (hash && own != *hash)
        return fail(ErrorKind::refused, "logits", "two runs of the same tokens gave different logits");
      hash = own;
    }
    if (trunk_.length() == smallest_depth()) speed_.logits_hash = hash.value_or(0);
    result.tokens_per_s = spread_of(std::move(rates));
    result.cpu_s_per_token = spread_of(std::move(cpu_seconds)).median;
    return result;
  }

  uint64_t last_logits_hash() const {
    return hash_of({logits_.data(), static_cast<size_t>(engine_.config().vocabulary)});
  }
  int64_t smallest_depth() const { return *std::min_element(options_.depths.begin(), options_.depths.end()); }

  Result<void> measure_at(int64_t depth) {
    if (options_.prefill_tokens > 0) {
      LAPIDARY_CHECK(announce(fmt::format("reading {} tokens at {}", options_.prefill_tokens, depth)));
      LAPIDARY_TRY(const SpeedAt result, repeat(options_.prefill_tokens, [&](KvCache& cache) {
                     return prefill(cache, options_.prefill_tokens, true);
                   }));
      speed_.prefill.push_back(result);
    }
    if (options_.decode_tokens > 0) {
      LAPIDARY_CHECK(announce(fmt::format("writing {} tokens at {}", options_.decode_tokens, depth)));
      LAPIDARY_TRY(const SpeedAt result, repeat(options_.decode_tokens,
                                                [&](KvCache& cache) { return decode(cache, options_.decode_tokens); }));
      speed_.decode.push_back(result);
    }
    return {};
  }

  Result<void> decode(KvCache& cache, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      LAPIDARY_CHECK(go_on());
      LAPIDARY_CHECK(forward(cache, 1, Logits::last));
    }
    return {};
  }

  // The calls take turns, so that a slow drift of the machine hits all alike.
  Result<void> measure_verify() {
    LAPIDARY_CHECK(announce(fmt::format("calls with several tokens at {}", options_.verify_depth)));
    KvCache cache = trunk_.fork();
    LAPIDARY_CHECK(forward(cache, 1, Logits::last));  // makes the shared page its own
    cache.truncate(options_.verify_depth);
    std::vector<std::vector<double>> times(options_.verify_rows.size());
    for (int32_t rep = 0; rep < 2 * options_.reps + 1; ++rep)
      for (size_t i = 0; i < times.size(); ++i) {
        LAPIDARY_CHECK(go_on());
        const double begin = monotonic_seconds();
        LAPIDARY_CHECK(forward(cache, options_.verify_rows[i], Logits::all));
        times[i].push_back(1e3 * (monotonic_seconds() - begin));
        cache.truncate(options_.verify_depth);
      }
    for (size_t i = 0; i < times.size(); ++i)
      speed_.verify.push_back({options_.verify_rows[i], spread_of(std::move(times[i]))});
    return {};
  }

  Engine& engine_;
  const SpeedOptions& options_;
  const SpeedProgress& progress_;
  KvCache trunk_;
  std::vector<float> logits_;
  std::string step_;
  ModelSpeed speed_;
};

}  // namespace

Result<ModelSpeed> measure_speed(Engine& engine, const SpeedOptions& options, const SpeedProgress& progress) {
  return SpeedRun(engine, options, progress).run();
}

int64_t deepest(const SpeedOptions& options) {
  int64_t tokens = 64;
  for (const int64_t depth : options.depths)
    tokens = std::max(tokens, depth + std::max(options.prefill_tokens, options.decode_tokens));
  for (const int32_t rows : options.verify_rows) tokens = std::max(tokens, options.verify_depth + rows);
  return tokens;
}

TokenWork token_work(const ModelWeights& weights) {
  TokenWork work;
  work.decode_bytes = static_cast<uint64_t>(weights.head.bytes());
  for (const LayerWeights& layer : weights.layers)
    for (const TensorView* matrix :
         {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.up, &layer.down}) {
      work.decode_bytes += static_cast<uint64_t>(matrix->bytes());
      work.prefill_operations += 2.0 * static_cast<double>(matrix->rows * matrix->columns);
    }
  return work;
}

}  // namespace lapidary
