// bench: how fast a model runs here, beside what the machine could do.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "base/system.h"
#include "base/terminal.h"
#include "bench/machine_peak.h"
#include "bench/model_speed.h"
#include "bench/speculation_speed.h"
#include "cli/bench_grammar.h"
#include "cli/commands.h"
#include "cli/open_model.h"
#include "cli/progress.h"
#include "commit.h"

namespace lapidary {
namespace {

constexpr int machine_reps = 7;
constexpr int64_t drafter_tokens = 200;
constexpr uint64_t stream_bytes_max = 2ULL << 30, stream_bytes_min = 256ULL << 20;

struct Figures {
  double load_s = 0;
  ModelSpeed speed;
  TokenWork work;
  std::optional<SpeculationSpeed> edit;
  std::vector<std::pair<double, SpeculationSpeed>> drafter;  // by how often its guesses are right
  uint64_t peak_rss_bytes = 0;  // of loading and the timed run; what measures the machine comes later
  Spread stream_gb_s;
  std::optional<Spread> int8_gops;
};

std::string_view kv_name(KvType type) {
  switch (type) {
    case KvType::f16:
      return "f16";
    case KvType::f16_keys:
      return "f16-keys";
    case KvType::f32:
      break;
  }
  return "f32";
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

// Rounded, so that the JSON is readable; no measurement is more exact.
double rounded(double value) { return std::stod(fmt::format("{:.5g}", value)); }

OrderedJson speculation_json(const SpeculationSpeed& speed) {
  return {{"tokens", speed.tokens},
          {"tokens_per_s", rounded(speed.tokens_per_s)},
          {"plain_tokens_per_s", rounded(speed.plain_tokens_per_s)},
          {"speedup", rounded(speed.speedup())},
          {"calls", speed.calls},
          {"drafted", speed.guesses.drafted},
          {"accepted", speed.guesses.accepted}};
}

OrderedJson report_json(const Figures& figures, const BenchOptions& options, const Engine& engine) {
  OrderedJson prefill = OrderedJson::array(), decode = OrderedJson::array(), verify = OrderedJson::array();
  for (const SpeedAt& at : figures.speed.prefill) {
    OrderedJson row = {{"tokens", at.tokens},
                       {"depth", at.depth},
                       {"tokens_per_s", rounded(at.tokens_per_s.median)},
                       {"pct_peak", nullptr},
                       {"min", rounded(at.tokens_per_s.min)},
                       {"max", rounded(at.tokens_per_s.max)},
                       {"cpu_s_per_token", rounded(at.cpu_s_per_token)}};
    if (figures.int8_gops)
      row["pct_peak"] =
          rounded(percent(at.tokens_per_s.median * figures.work.prefill_operations / 1e9, figures.int8_gops->median));
    prefill.push_back(std::move(row));
  }
  for (const SpeedAt& at : figures.speed.decode)
    decode.push_back({{"depth", at.depth},
                      {"tokens_per_s", rounded(at.tokens_per_s.median)},
                      {"pct_bandwidth",
                       rounded(percent(at.tokens_per_s.median * static_cast<double>(figures.work.decode_bytes) / 1e9,
                                       figures.stream_gb_s.median))},
                      {"cpu_s_per_token", rounded(at.cpu_s_per_token)},
                      {"tokens", at.tokens},
                      {"min", rounded(at.tokens_per_s.min)},
                      {"max", rounded(at.tokens_per_s.max)}});
  for (const VerifySpeed& calls : figures.speed.verify)
    verify.push_back({{"m", calls.rows},
                      {"ms", rounded(calls.ms.median)},
                      {"min", rounded(calls.ms.min)},
                      {"max", rounded(calls.ms.max)}});
  OrderedJson drafter = OrderedJson::array();
  for (const auto& [right, speed] : figures.drafter) {
    drafter.push_back(speculation_json(speed));
    drafter.back()["right"] = right;
  }
  OrderedJson json = {{"cpu", cpu_name()},
                      {"variant", engine.kernels().name},
                      {"threads", engine.threads()},
                      {"file", std::filesystem::path(engine.model().path()).filename().string()},
                      {"commit", LAPIDARY_COMMIT},
                      {"kv", kv_name(engine.kv_type())},
                      {"load_s", rounded(figures.load_s)},
                      {"stream_gb_s", rounded(figures.stream_gb_s.median)},
                      {"int8_peak_gops", nullptr},
                      {"pp", std::move(prefill)},
                      {"tg", std::move(decode)},
                      {"verify_depth", options.verify_depth},
                      {"verify", std::move(verify)},
                      {"peak_rss_bytes", figures.peak_rss_bytes},
                      {"logits_hash", fmt::format("{:016x}", figures.speed.logits_hash)},
                      {"reps", options.reps}};
  if (figures.edit) json["edit"] = speculation_json(*figures.edit);
  if (!drafter.empty()) json["drafter"] = std::move(drafter);
  if (figures.int8_gops) json["int8_peak_gops"] = rounded(figures.int8_gops->median);
  return json;
}

std::string row_text(std::string_view what, const Spread& spread, std::string_view unit, std::string_view rest) {
  return fmt::format("{:<24} {:>8.4g} {:<9} ({:.4g} to {:.4g}){}{}\n", what, spread.median, unit, spread.min,
                     spread.max, rest.empty() ? "" : "   ", rest);
}

std::string speculation_text(const std::string& what, const SpeculationSpeed& speed) {
  return fmt::format("{:<24} {:>8.4g} {:<9} {:.2f} times {:.4g}; {} calls, {} of {} guesses right\n", what,
                     speed.tokens_per_s, "tokens/s", speed.speedup(), speed.plain_tokens_per_s, speed.calls,
                     speed.guesses.accepted, speed.guesses.drafted);
}

std::string report_text(const Figures& figures, const Engine& engine) {
  const double file_bytes = static_cast<double>(engine.model().file_bytes());
  std::string text = fmt::format("{}\nkernels {}, {} threads, {} KV cache, commit {}\n\n", cpu_name(),
                                 engine.kernels().name, engine.threads(), kv_name(engine.kv_type()), LAPIDARY_COMMIT);
  text += row_text("memory is read at", figures.stream_gb_s, "GB/s", "");
  if (figures.int8_gops) text += row_text("cores multiply at", *figures.int8_gops, "Gop/s", "int8, these kernels");
  text += fmt::format("{:<24} {:>8.3g} s\n\n", "the file is open after", figures.load_s);
  for (const SpeedAt& at : figures.speed.prefill) {
    const double gops = at.tokens_per_s.median * figures.work.prefill_operations / 1e9;
    std::string rest = fmt::format("{:.4g} Gop/s", gops);
    if (figures.int8_gops) rest += fmt::format(" = {:.0f} % of the peak", percent(gops, figures.int8_gops->median));
    rest += fmt::format(", {:.3g} CPU-s a token", at.cpu_s_per_token);
    text += row_text(fmt::format("reads {} tokens at {}", at.tokens, at.depth), at.tokens_per_s, "tokens/s", rest);
  }
  for (const SpeedAt& at : figures.speed.decode) {
    const double gb_s = at.tokens_per_s.median * static_cast<double>(figures.work.decode_bytes) / 1e9;
    text += row_text(fmt::format("writes {} tokens at {}", at.tokens, at.depth), at.tokens_per_s, "tokens/s",
                     fmt::format("{:.4g} GB/s = {:.0f} % of the memory's, {:.3g} CPU-s a token", gb_s,
                                 percent(gb_s, figures.stream_gb_s.median), at.cpu_s_per_token));
  }
  for (const VerifySpeed& calls : figures.speed.verify)
    text += row_text(fmt::format("a call with {} token{}", calls.rows, calls.rows == 1 ? "" : "s"), calls.ms, "ms",
                     fmt::format("{:.2f} of one call", calls.ms.median / figures.speed.verify[0].ms.median));
  if (figures.edit) text += speculation_text(fmt::format("edits {} tokens", figures.edit->tokens), *figures.edit);
  for (const auto& [right, speed] : figures.drafter)
    text += speculation_text(fmt::format("drafter right at {:.2g}", right), speed);
  text += fmt::format("\npeak resident            {} (the file: {})\nhash of the logits       {:016x}\n",
                      format_bytes(static_cast<double>(figures.peak_rss_bytes)), format_bytes(file_bytes),
                      figures.speed.logits_hash);
  return text;
}

Result<void> measure_machine(const Engine& engine, Figures& figures) {
  const uint64_t buffer = std::clamp(memory_state().available_bytes / 4, stream_bytes_min, stream_bytes_max);
  LAPIDARY_TRY(figures.stream_gb_s, measure_stream(engine.threads(), buffer, machine_reps));
  figures.int8_gops = measure_int8(engine.kernels().name, engine.threads(), machine_reps);
  return {};
}

// Constrained output, which needs a vocabulary and no model.
Result<void> measure_grammar(const BenchOptions& options, Console& console) {
  LAPIDARY_TRY(const std::string path, model_path(options.model));
  LAPIDARY_TRY(const Tokenizer tokenizer, open_tokenizer(path));
  LAPIDARY_TRY(const std::string report,
               bench_grammar(tokenizer, {options.grammar_file, options.details_file, options.json}));
  console.print(report);
  return {};
}

Result<void> bench(const BenchOptions& options, Console& console) {
  if (!options.grammar_file.empty()) return measure_grammar(options, console);
  LAPIDARY_TRY(const OpenedEngine opened, open_engine(options.model, options.engine, console));
  Engine& engine = *opened.engine;
  const SpeedOptions wanted = {options.prefill_tokens, options.decode_tokens, options.depths,
                               options.verify_rows,    options.verify_depth,  options.reps};
  if (!options.draft.empty()) LAPIDARY_CHECK(choose_drafter(options.draft, engine));
  LAPIDARY_CHECK(
      plan_context(engine, std::max(deepest(wanted), 2 * options.edit_tokens + 64), 0, options.engine.force));
  Figures figures;
  figures.load_s = opened.load_seconds;
  figures.work = token_work(engine.model().weights());
  ProgressLine progress(console, true);
  std::string shown;
  LAPIDARY_TRY(figures.speed, measure_speed(engine, wanted, [&](std::string_view step) {
                 if (step != shown) progress.show(step);
                 shown = step;
                 return !interrupt_flag();
               }));
  figures.peak_rss_bytes = resident_bytes_peak();
  const GoOn go_on = [] { return !interrupt_flag(); };
  if (options.edit_tokens > 0) {
    progress.show("editing");
    LAPIDARY_TRY(figures.edit, measure_edit(engine, options.edit_tokens, go_on));
  }
  for (const double right : engine.drafter() != nullptr ? options.draft_right : std::vector<double>()) {
    progress.show("drafting");
    LAPIDARY_TRY(const SpeculationSpeed speed, measure_drafter(engine, drafter_tokens, right, go_on));
    figures.drafter.emplace_back(right, speed);
  }
  progress.show("measuring the machine");
  LAPIDARY_CHECK(measure_machine(engine, figures));
  progress.clear();
  console.print(options.json ? dump(report_json(figures, options, engine)) + "\n" : report_text(figures, engine));
  return {};
}

}  // namespace

ExitStatus bench_command(const BenchOptions& options, Console& console) {
  const auto done = bench(options, console);
  if (!done && done.error().kind == ErrorKind::cancelled) return ExitStatus::interrupted;
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
