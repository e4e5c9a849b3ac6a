// From the user's choices to an engine that is ready, and to a context that fits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/console.h"
#include "cli/options.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "engine/sampler.h"

namespace lapidary {

// The path that was named, or Spark's.
Result<std::string> model_path(const ModelChoice& choice);

Result<std::shared_ptr<const LoadedModel>> open_model(const ModelChoice& choice);

struct OpenedEngine {
  std::unique_ptr<Engine> engine;
  double load_seconds = 0;
};
// Maps the files and starts the threads; nothing large is read yet. Says on the terminal that it loads.
Result<OpenedEngine> open_engine(const ModelChoice& choice, const EngineChoice& engine, Console& console);

// Gives the engine the drafter that was named, or with "" the one beside its model, if there is one; "off": none.
Result<void> choose_drafter(const std::string& choice, Engine& engine);

// What is chosen, or else what the engine would take on this machine.
Result<KvType> kv_type(KvChoice choice);

// The context to give a session, checked against the memory unless `force`.
//   context_default   8192 or the model's, if that is less; more if `tokens_needed` are
//   context_auto      the largest that fits
//   N                 N
Result<int64_t> plan_context(const Engine& engine, int64_t wanted, int64_t tokens_needed, bool force);

// The model's defaults with what was chosen over them; a seed is drawn if none was chosen.
SamplerOptions sampler_options(const SamplingChoice& choice, const GenerationDefaults& defaults);

}  // namespace lapidary
