#include "cli/open_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/system.h"
#include "cli/progress.h"
#include "engine/memory_plan.h"

namespace lapidary {
namespace {

constexpr int64_t usual_context = 8192, context_step = 256;

}  // namespace

Result<std::string> model_path(const ModelChoice& choice) {
  if (!choice.path.empty()) return choice.path;
  std::string spark = bundled_model_path();
  if (spark.empty())
    return fail(ErrorKind::not_found, "Spark",
                "the model in the box is not there (LAPIDARY_MODELS names its folder's parent); name a model");
  return spark;
}

Result<std::shared_ptr<const LoadedModel>> open_model(const ModelChoice& choice) {
  LAPIDARY_TRY(const std::string path, model_path(choice));
  std::error_code error;
  if (!choice.projector.empty() && !std::filesystem::exists(choice.projector, error))
    return fail(ErrorKind::not_found, choice.projector, "no such file");
  LAPIDARY_TRY(std::unique_ptr<LoadedModel> model, LoadedModel::open(path, choice.projector));
  return std::shared_ptr<const LoadedModel>(std::move(model));
}

Result<OpenedEngine> open_engine(const ModelChoice& choice, const EngineChoice& engine, Console& console) {
  const double begin = monotonic_seconds();
  ProgressLine progress(console, true);
  LAPIDARY_TRY(const std::string path, model_path(choice));
  progress.show(fmt::format("loading {}", std::filesystem::path(path).filename().string()));
  LAPIDARY_TRY(auto model, open_model(choice));
  EngineOptions options;
  options.threads = engine.threads;
  options.kernels = environment("LAPIDARY_KERNELS");
  if (engine.kv != KvChoice::automatic) {
    LAPIDARY_TRY(options.kv, kv_type(engine.kv));
  }
  LAPIDARY_TRY(auto created, Engine::create(std::move(model), options));
  return OpenedEngine{std::move(created), monotonic_seconds() - begin};
}

Result<void> choose_drafter(const std::string& choice, Engine& engine) {
  if (choice == "off") return {};
  std::shared_ptr<const LoadedDrafter> drafter;
  if (choice.empty()) {
    drafter = LoadedDrafter::beside(engine.model());
  } else {
    LAPIDARY_TRY(drafter, LoadedDrafter::open(choice, engine.config()));
  }
  if (drafter) engine.set_drafter(std::move(drafter));
  return {};
}

Result<KvType> kv_type(KvChoice choice) {
  switch (choice) {
    case KvChoice::f16:
      return KvType::f16;
    case KvChoice::f16_keys:
      return KvType::f16_keys;
    case KvChoice::f32:
      return KvType::f32;
    case KvChoice::automatic:
      break;
  }
  LAPIDARY_TRY(const Kernels* kernels, select_kernels(environment("LAPIDARY_KERNELS")));
  return kernels->quantize_row == nullptr ? KvType::f32 : KvType::f16;
}

Result<int64_t> plan_context(const Engine& engine, int64_t wanted, int64_t tokens_needed, bool force) {
  const ModelConfig& config = engine.config();
  const MemoryState memory = memory_state();
  const uint64_t file_bytes =
      engine.model().file_bytes() + (engine.loaded_drafter() != nullptr ? engine.loaded_drafter()->file_bytes() : 0);
  if (wanted > config.context_max)
    return fail(ErrorKind::wrong_use, "--context",
                fmt::format("this model's context is {} tokens at most, not {}", config.context_max, wanted));
  int64_t context = wanted;
  if (wanted == context_auto) context = largest_context(config, file_bytes, engine.kv_type(), memory.available_bytes);
  if (context <= 0) {
    const int64_t needed = (tokens_needed + context_step - 1) / context_step * context_step;
    context = std::min(config.context_max, std::max(usual_context, needed));
  }
  if (!force) LAPIDARY_CHECK(check_memory(config, file_bytes, engine.kv_type(), context, memory));
  return context;
}

SamplerOptions sampler_options(const SamplingChoice& choice, const GenerationDefaults& defaults) {
  SamplerOptions options;
  const bool chosen = choice.temperature || choice.top_k || choice.top_p || choice.min_p;
  options.greedy = choice.greedy || (!defaults.sample && !chosen);
  options.temperature = choice.temperature.value_or(defaults.temperature);
  options.top_k = choice.top_k.value_or(defaults.top_k);
  options.top_p = choice.top_p.value_or(defaults.top_p);
  options.min_p = choice.min_p.value_or(defaults.min_p);
  // 32 bits: a number that one can type again.
  options.seed = choice.seed ? *choice.seed : std::random_device{}();
  options.suppress = defaults.suppress_tokens;
  options.penalties.repeat = choice.repeat_penalty;
  options.penalties.last_n = choice.repeat_last_n;
  options.penalties.prompt = true;
  return options;
}

}  // namespace lapidary
