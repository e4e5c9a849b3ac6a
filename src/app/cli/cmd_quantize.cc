// quantize: a model with fewer bits a weight, and what that costs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/system.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/open_model.h"
#include "cli/progress.h"
#include "cli/text_score.h"
#include "quantize/quantize_model.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

// What source and result are compared on: prose, a list, code, another language. About 250 tokens: one chunk, so that
// the source is read from the disk once.
constexpr std::string_view check_text =
    "The harbour lies behind a wall of grey stone, and in winter the waves come over it. Old Marten, who keeps the "
    "light, "
    "says that he has counted the steps of the tower every evening for thirty-one years, and that there are still 118 "
    "of "
    "them. \"One day there will be 117,\" he says, \"and then I shall retire.\"\n\n"
    "To bake a loaf of bread you need 500 g of flour, 350 ml of water, 10 g of salt and a little yeast. Mix "
    "everything, "
    "let it rest for an hour, fold it twice, and bake it at 230 degrees until it sounds hollow when you knock on "
    "it.\n\n"
    "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n    return total / "
    "len(values)\n\n"
    "Der Zug nach Norden fährt um 7:45 Uhr von Gleis 3 ab. Wer in Hamburg umsteigen muss, hat dort zwölf Minuten "
    "Zeit.\n\n"
    "Question: What is the capital of France, and on which river does it stand?\nAnswer: The capital of France is "
    "Paris, "
    "and it stands on the Seine.";
constexpr int64_t check_tokens_max = 256, calibration_tokens_max = 2048;

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", std::max(1.0, seconds));
  return fmt::format("{:.0f} min", seconds / 60);
}

Result<void> refuse_same_file(const QuantizeOptions& options, const ModelSource& source) {
  std::error_code error;
  for (const auto& file : source.files().files)
    if (fs::equivalent(file->path(), options.output, error))
      return fail(ErrorKind::wrong_use, options.output, "this is the model itself: name another file to write");
  return {};
}

Result<void> refuse_requantizing(const QuantizeOptions& options, const ModelSource& source, Console& console) {
  const auto before = quantized_already(source);
  if (!before) return {};
  const std::string_view name = dtype_info(*before).name;
  if (*before == DType::q8_0) {
    console.warn(fmt::format("{} was quantised before, to Q8_0: a little is lost twice", options.input));
    return {};
  }
  if (options.requantize) return {};
  return fail(
      ErrorKind::refused, options.input,
      fmt::format("its weights are {} already; to quantise them once more loses twice. Take the model in BF16, or "
                  "say --requantize",
                  name));
}

void say_lattice(const QuantizePlan& plan, Console& console) {
  if (!plan.lattice) return;
  if (plan.type == QuantizedType::q4_0)
    console.warn("the weights are those of a Q4_0 file already (quantisation-aware training): their scales are kept");
  else
    console.warn(
        "the weights are those of a Q4_0 file (quantisation-aware training): --type q4_0 would keep them exactly");
}

// Writes one file with a line that tells how far it is and how long it will take.
Result<void> write_file(const QuantizePlan& plan, const ModelSource& source, const std::string& path, ThreadPool& pool,
                        Console& console) {
  ProgressLine line(console, true);
  const double begin = monotonic_seconds();
  double shown = 0;
  return write_quantized(plan, source.files(), path, pool, [&](uint64_t done, uint64_t total) {
    const double now = monotonic_seconds();
    if (now - shown > 0.2 && total > 0) {
      shown = now;
      const double share = static_cast<double>(done) / static_cast<double>(total);
      constexpr int width = 24;
      const int full = static_cast<int>(share * width);
      std::string bar;
      for (int i = 0; i < width; ++i) bar += i < full ? "█" : "░";
      const std::string rest =
          done > 0 && now - begin > 1 ? fmt::format(", {} left", duration((now - begin) * (1 - share) / share)) : "";
      line.show(fmt::format("quantising {} {:.0f} %, {} of {}{}", bar, 100 * share,
                            format_bytes(static_cast<double>(done)), format_bytes(static_cast<double>(total)), rest));
    }
    return !interrupt_flag();
  });
}

std::string projector_path(const std::string& output) {
  const fs::path path(output);
  return (path.parent_path() / ("mmproj-" + path.filename().string())).string();
}

double weights_of(const QuantizePlan& plan) {
  double weights = 0;
  for (const QuantizePlan::Tensor& tensor : plan.tensors)
    weights += static_cast<double>(tensor.source->rows() * tensor.source->columns());
  return weights;
}

Result<OpenedEngine> open_text_model(const std::string& path, int32_t threads, Console& console) {
  EngineChoice choice;
  choice.threads = threads;
  return open_engine({path, ""}, choice, console);
}

// Seconds that `tokens` tokens take in pieces of a chunk, each of which reads the source, with float arithmetic.
double seconds_to_read(double bytes, double weights, int64_t tokens, int threads) {
  return bytes / 1.5e9 * std::ceil(static_cast<double>(tokens) / 256) +
         2 * weights * static_cast<double>(tokens) / (2e10 * threads);
}

Result<Importance> calibrate(const QuantizeOptions& options, const ModelSource& source, int threads, Console& console) {
  constexpr uint64_t text_bytes_max = 64 << 20;
  LAPIDARY_TRY(const std::string text, read_file(options.calibrate, text_bytes_max));
  LAPIDARY_TRY(const OpenedEngine opened, open_text_model(options.input, options.threads, console));
  std::vector<int32_t> ids;
  opened.engine->model().tokenizer().encode(std::string_view(text).substr(0, 64 * calibration_tokens_max),
                                            SpecialParsing::off, ids);
  if (static_cast<int64_t>(ids.size()) > calibration_tokens_max) ids.resize(calibration_tokens_max);
  if (ids.size() < 16) return fail(ErrorKind::wrong_use, options.calibrate, "the text is too short to learn from");
  double bytes = 0;
  for (const auto& file : source.files().files) bytes += static_cast<double>(file->bytes().size());
  const double seconds = seconds_to_read(bytes, static_cast<double>(source.config().parameters),
                                         static_cast<int64_t>(ids.size()), threads);
  if (seconds >= 5)
    console.warn(
        fmt::format("learning from {} tokens which weights count takes about {}", ids.size(), duration(seconds)));
  ProgressLine line(console, true);
  return measure_importance(*opened.engine, ids, [&](int64_t done, int64_t total) {
    line.show("learning", done, total);
    return !interrupt_flag();
  });
}

// KL divergence and agreement on the short text. Maps the source whole.
Result<void> compare(const QuantizeOptions& options, const QuantizePlan& plan, int threads, Console& console) {
  const double seconds = seconds_to_read(static_cast<double>(plan.source_bytes + plan.file_bytes), weights_of(plan),
                                         check_tokens_max, threads);
  if (seconds >= 5)
    console.warn(fmt::format("comparing with the source on a short text takes about {} (--no-check leaves it out)",
                             duration(seconds)));
  LAPIDARY_TRY(const OpenedEngine source, open_text_model(options.input, options.threads, console));
  LAPIDARY_TRY(const OpenedEngine result, open_text_model(options.output, options.threads, console));
  LAPIDARY_CHECK(check_same_vocabulary(source.engine->model(), result.engine->model()));
  TokenizedPrompt prompt;
  const Tokenizer& tokenizer = source.engine->model().tokenizer();
  if (const int32_t bos = tokenizer.find("<bos>"); bos >= 0) prompt.ids.push_back(bos);
  tokenizer.encode(check_text, SpecialParsing::off, prompt.ids);
  const int64_t most = std::min(check_tokens_max, source.engine->config().context_max);
  if (static_cast<int64_t>(prompt.ids.size()) > most) prompt.ids.resize(static_cast<size_t>(most));
  LAPIDARY_TRY(const TextScore score, score_text(*source.engine, prompt, static_cast<int64_t>(prompt.ids.size()),
                                                 result.engine.get(), console));
  const auto scored = static_cast<double>(score.scored);
  console.print(
      fmt::format("against the source on {} tokens: KL divergence {:.6f} nats a token, likeliest token the same {:.1f} "
                  "%, perplexity "
                  "{:.3f} (source {:.3f})\n",
                  score.tokens, score.divergence / scored, 100 * static_cast<double>(score.agreed) / scored,
                  std::exp(score.nll_against / scored), std::exp(score.nll / scored)));
  return {};
}

Result<void> quantize(const QuantizeOptions& options, Console& console) {
  const auto type = quantized_type(options.type);
  if (!type)
    return fail(ErrorKind::wrong_use, "--type",
                fmt::format("expected q8_0, q6_k, q5_k_m, q4_k_m, q4_0, bf16 or f16, found \"{}\"", options.type));
  const double begin = monotonic_seconds();
  LAPIDARY_TRY(const ModelSource source, ModelSource::open(options.input));
  LAPIDARY_CHECK(refuse_same_file(options, source));
  LAPIDARY_CHECK(refuse_requantizing(options, source, console));
  const int threads = options.threads > 0 ? options.threads : physical_cores();
  Importance importance;
  if (!options.calibrate.empty()) {
    LAPIDARY_TRY(importance, calibrate(options, source, threads, console));
  }
  LAPIDARY_TRY(const QuantizePlan plan, plan_quantization(source, *type, &importance));
  say_lattice(plan, console);
  ThreadPool pool(threads);
  LAPIDARY_CHECK(write_file(plan, source, options.output, pool, console));
  console.print(fmt::format(
      "{}: {}, {:.2f} bits a weight, in {}\n", options.output, format_bytes(static_cast<double>(plan.file_bytes)),
      8 * static_cast<double>(plan.file_bytes) / weights_of(plan), duration(monotonic_seconds() - begin)));
  if (source.projector()) {
    const QuantizePlan projector = plan_projector(*source.projector());
    const std::string path = projector_path(options.output);
    LAPIDARY_CHECK(write_file(projector, source, path, pool, console));
    console.print(
        fmt::format("{}: {}, for pictures and sound\n", path, format_bytes(static_cast<double>(projector.file_bytes))));
  }
  return options.no_check ? Result<void>{} : compare(options, plan, pool.threads(), console);
}

}  // namespace

ExitStatus quantize_command(const QuantizeOptions& options, Console& console) {
  const auto done = quantize(options, console);
  if (!done && done.error().kind == ErrorKind::cancelled) return ExitStatus::interrupted;
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
