// Prefill and decode of one model, as JSON: medians with minimum and maximum, weights read per second, and a hash of
// the last logits, so that two builds can be compared at a glance. Run it beside the other engine, in turn, on the same
// file.
//
//   model_bench MODEL [--threads N] [--prefill N] [--decode N] [--depth N] [--reps N] [--context N]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/system.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"

namespace lapidary {
namespace {

struct Options {
  std::string model;
  int32_t threads = 0;
  int64_t prefill = 512, decode = 32, depth = 0, reps = 3, context = 0;
};

std::string summary(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return fmt::format("{{\"median\":{:.3f},\"min\":{:.3f},\"max\":{:.3f}}}", values[values.size() / 2], values.front(),
                     values.back());
}

TokenizedPrompt tokens(int64_t count, int32_t vocabulary) {
  TokenizedPrompt prompt;
  uint64_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    prompt.ids.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocabulary)));
  }
  return prompt;
}

uint64_t hash(std::span<const float> values) {
  uint64_t h = 0xCBF29CE484222325ULL;
  const auto bytes = std::as_bytes(values);
  for (const std::byte byte : bytes) h = (h ^ std::to_integer<uint64_t>(byte)) * 0x100000001B3ULL;
  return h;
}

Result<void> measure(const Options& options) {
  const double begin = monotonic_seconds();
  LAPIDARY_TRY(auto loaded, LoadedModel::open(options.model));
  const std::shared_ptr<const LoadedModel> model = std::move(loaded);
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.kernels = environment("LAPIDARY_KERNELS");
  LAPIDARY_TRY(const auto engine, Engine::create(model, engine_options));
  const double load_seconds = monotonic_seconds() - begin;

  const int64_t longest = std::max(options.prefill, options.depth) + options.decode + 8;
  const int64_t context = std::max(longest, options.context);
  std::vector<double> prefill_tps, decode_tps;
  uint64_t logits_hash = 0;
  for (int64_t rep = 0; rep < options.reps + 1; ++rep) {  // the first run warms the page cache and does not count
    Session session(*engine, context);
    double start = monotonic_seconds();
    if (options.prefill > 0) {
      LAPIDARY_CHECK(session.set_prompt(tokens(options.prefill, model->config().vocabulary)));
      if (rep > 0) prefill_tps.push_back(static_cast<double>(options.prefill) / (monotonic_seconds() - start));
    }
    LAPIDARY_CHECK(session.set_prompt(tokens(std::max<int64_t>(1, options.depth), model->config().vocabulary)));
    start = monotonic_seconds();
    for (int64_t i = 0; i < options.decode; ++i) LAPIDARY_CHECK(session.append(static_cast<int32_t>(i % 1000 + 300)));
    if (rep > 0) decode_tps.push_back(static_cast<double>(options.decode) / (monotonic_seconds() - start));
    logits_hash = hash(session.logits());
  }
  // Every weight but the embedding is read once a token; a tied embedding is the head.
  uint64_t read_bytes = static_cast<uint64_t>(model->weights().head.bytes());
  for (const LayerWeights& layer : model->weights().layers)
    for (const TensorView* w :
         {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.up, &layer.down})
      read_bytes += static_cast<uint64_t>(w->bytes());
  std::vector<double> read_gbs;
  for (const double tps : decode_tps) read_gbs.push_back(tps * static_cast<double>(read_bytes) / 1e9);

  fmt::print("{{\"cpu\":\"{}\",\"kernels\":\"{}\",\"threads\":{},\"model\":\"{}\",\"load_s\":{:.3f}", cpu_name(),
             engine->kernels().name, engine->threads(), model->config().name, load_seconds);
  if (!prefill_tps.empty()) fmt::print(",\"pp{}_tps\":{}", options.prefill, summary(prefill_tps));
  fmt::print(
      ",\"tg{}_depth{}_tps\":{},\"decode_read_gb_per_s\":{},\"peak_rss_mb\":{},\"file_mb\":{},\"kv_peak_mb\":{},"
      "\"logits_hash\":\"{:016x}\"}}\n",
      options.decode, options.depth, summary(decode_tps), summary(read_gbs), resident_bytes_peak() / 1000000,
      model->file_bytes() / 1000000, engine->kv_pool().bytes_peak() / 1000000, logits_hash);
  return {};
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  lapidary::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::atoll(argv[++i]) : 0; };
    if (word == "--threads")
      options.threads = static_cast<int32_t>(number());
    else if (word == "--prefill")
      options.prefill = number();
    else if (word == "--decode")
      options.decode = number();
    else if (word == "--depth")
      options.depth = number();
    else if (word == "--reps")
      options.reps = number();
    else if (word == "--context")
      options.context = number();
    else
      options.model = word;
  }
  if (options.model.empty() || options.decode < 1 || options.reps < 1 || options.prefill < 0 || options.depth < 0) {
    fmt::print(
        stderr,
        "usage: model_bench MODEL [--threads N] [--prefill N] [--decode N] [--depth N] [--reps N] [--context N]\n");
    return 2;
  }
  const auto done = lapidary::measure(options);
  if (!done) fmt::print(stderr, "model_bench: {}\n", done.error().text());
  return done ? 0 : 1;
}
