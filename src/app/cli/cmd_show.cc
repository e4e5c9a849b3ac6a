// show: what a model is, and what it needs.
#include <fmt/format.h>

#include <array>
#include <map>

#include "base/system.h"
#include "cli/commands.h"
#include "cli/open_model.h"
#include "cli/screen_text.h"
#include "engine/memory_plan.h"
#include "tensor/dtype.h"

namespace lapidary {
namespace {

constexpr std::array<int64_t, 4> contexts = {4096, 32'768, 131'072, 262'144};

struct TypeUse {
  int64_t tensors = 0;
  uint64_t bytes = 0;
};

struct Shown {
  std::shared_ptr<const LoadedModel> model;
  std::map<std::string, TypeUse> types;
  std::vector<MemoryPlan> plans;
  MemoryState memory;
  KvType kv = KvType::f16;
};

Result<Shown> look_at(const ShowOptions& options) {
  Shown shown;
  LAPIDARY_TRY(shown.model, open_model(options.model));
  LAPIDARY_TRY(shown.kv, kv_type(options.kv));
  shown.memory = memory_state();
  for (const auto& [name, tensor] : shown.model->tensors().tensors) {
    TypeUse& use = shown.types[std::string(dtype_info(tensor.dtype).name)];
    ++use.tensors;
    use.bytes += tensor.bytes.size();
  }
  const ModelConfig& config = shown.model->config();
  for (const int64_t context : contexts)
    if (context <= config.context_max)
      shown.plans.push_back(plan_memory(config, shown.model->file_bytes(), shown.kv, context));
  if (config.context_max < contexts.back() && (shown.plans.empty() || shown.plans.back().context < config.context_max))
    shown.plans.push_back(plan_memory(config, shown.model->file_bytes(), shown.kv, config.context_max));
  return shown;
}

bool fits(const MemoryPlan& plan, const MemoryState& memory) { return plan.total_bytes() <= memory.available_bytes; }

std::string as_json(const Shown& shown) {
  const ModelConfig& config = shown.model->config();
  OrderedJson types = OrderedJson::object();
  for (const auto& [name, use] : shown.types) types[name] = use.tensors;
  int64_t full_layers = 0;
  for (const LayerConfig& layer : config.layers) full_layers += layer.kind == AttentionKind::full;
  OrderedJson json = {{"architecture", config.architecture},
                      {"name", config.name},
                      {"parameters", config.parameters},
                      {"types", types},
                      {"tokenizer", shown.model->tokenizer().model_name()},
                      {"vocabulary", config.vocabulary},
                      {"licence", config.licence},
                      {"context", config.context_max},
                      {"layers", config.layers.size()},
                      {"full_attention_layers", full_layers},
                      {"hidden", config.hidden},
                      {"window", config.window},
                      {"vision", config.vision.has_value()},
                      {"audio", config.audio.has_value()},
                      {"file_bytes", shown.model->file_bytes()},
                      {"projector", shown.model->projector_path()},
                      {"kv_type", shown.kv == KvType::f32 ? "f32" : "f16"},
                      {"memory_available", shown.memory.available_bytes},
                      {"memory_limited_by", shown.memory.limited_by}};
  OrderedJson memory = OrderedJson::array();
  for (const MemoryPlan& plan : shown.plans)
    memory.push_back({{"context", plan.context},
                      {"weights", plan.weights_bytes},
                      {"kv", plan.kv_bytes},
                      {"working", plan.working_bytes},
                      {"total", plan.total_bytes()},
                      {"fits", fits(plan, shown.memory)}});
  json["memory"] = memory;
  return dump(json) + "\n";
}

std::string as_text(const Shown& shown) {
  const ModelConfig& config = shown.model->config();
  std::string text;
  const auto line = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{:<14}{}\n", name, safe_text(value));
  };
  const auto count = [](int64_t n) {
    return n >= 1'000'000'000 ? fmt::format("{:.2f} billion", n / 1e9) : fmt::format("{:.1f} million", n / 1e6);
  };
  int64_t full_layers = 0;
  for (const LayerConfig& layer : config.layers) full_layers += layer.kind == AttentionKind::full;
  line("model", config.name);
  line("architecture",
       fmt::format("{}, {} layers ({} with full attention), hidden size {}, window {}", config.architecture,
                   config.layers.size(), full_layers, config.hidden, config.window));
  line("parameters", count(config.parameters));
  std::string types;
  for (const auto& [name, use] : shown.types)
    types += fmt::format("{}{} {} ({} tensors)", types.empty() ? "" : ", ", name,
                         format_bytes(static_cast<double>(use.bytes)), use.tensors);
  line("types", types);
  line("tokenizer", fmt::format("{}, {} tokens", shown.model->tokenizer().model_name(), config.vocabulary));
  line("takes", fmt::format("text{}{}", config.vision ? ", pictures" : "", config.audio ? ", sound" : ""));
  if (!shown.model->projector_path().empty()) line("mmproj", shown.model->projector_path());
  line("licence", config.licence.empty() ? "the file does not say" : config.licence);
  line("context", fmt::format("{} tokens", config.context_max));
  text += fmt::format("\nmemory         {:>10} {:>10} {:>10} {:>10}\n", "weights", "KV cache", "working", "total");
  for (const MemoryPlan& plan : shown.plans) {
    const double missing = static_cast<double>(plan.total_bytes()) - static_cast<double>(shown.memory.available_bytes);
    text += fmt::format(
        "{:>6} tokens  {:>10} {:>10} {:>10} {:>10}   {}\n", plan.context,
        format_bytes(static_cast<double>(plan.weights_bytes)), format_bytes(static_cast<double>(plan.kv_bytes)),
        format_bytes(static_cast<double>(plan.working_bytes)), format_bytes(static_cast<double>(plan.total_bytes())),
        fits(plan, shown.memory) ? "fits" : fmt::format("{} too little", format_bytes(missing)));
  }
  text += fmt::format("available      {} ({})\n", format_bytes(static_cast<double>(shown.memory.available_bytes)),
                      shown.memory.limited_by);
  return text;
}

}  // namespace

ExitStatus show_command(const ShowOptions& options, Console& console) {
  const auto shown = look_at(options);
  if (!shown) return console.fail(shown.error());
  console.print(options.json ? as_json(*shown) : as_text(*shown));
  return ExitStatus::done;
}

}  // namespace lapidary
