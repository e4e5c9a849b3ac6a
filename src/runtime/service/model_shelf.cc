#include "service/model_shelf.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/system.h"
#include "engine/memory_plan.h"
#include "tensor/dtype.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

// "gemma.gguf" for a file, "spark" for a folder (also "spark/" and "spark/config.json").
std::string own_name(const std::string& path) {
  fs::path place = fs::path(path).lexically_normal();
  if (place.filename().empty()) place = place.parent_path();
  if (place.filename() == "config.json") place = place.parent_path();
  if (place.filename().empty() || place.filename() == ".") {
    std::error_code error;
    place = fs::weakly_canonical(path, error);
  }
  return place.filename().string();
}

std::string without_ending(const std::string& name) {
  return name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
}

int64_t modified_seconds(const std::string& path) {
  std::error_code error;
  const auto time = fs::last_write_time(path, error);
  if (error) return 0;
  const auto system = std::chrono::file_clock::to_sys(time);
  return std::chrono::duration_cast<std::chrono::seconds>(system.time_since_epoch()).count();
}

// The type that most of the weights' bytes have.
std::string main_type(const TensorMap& tensors) {
  std::map<std::string, uint64_t> bytes;
  for (const auto& [name, tensor] : tensors.tensors)
    bytes[std::string(dtype_info(tensor.dtype).name)] += tensor.bytes.size();
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& use) { return use.second; });
  return most == bytes.end() ? "" : most->first;
}

SamplerOptions advised(const GenerationDefaults& defaults) {
  SamplerOptions options;
  options.greedy = !defaults.sample;
  options.temperature = defaults.temperature;
  options.top_k = defaults.top_k;
  options.top_p = defaults.top_p;
  options.min_p = defaults.min_p;
  options.suppress = defaults.suppress_tokens;
  return options;
}

// The largest context of which all slots fit into what is free beside the model and the prefix cache.
int64_t context_that_fits(const ModelConfig& config, uint64_t file_bytes, KvType kv, int32_t slots, uint64_t available,
                          uint64_t cache) {
  constexpr int64_t step = 256;
  const auto fits = [&](int64_t context) {
    const MemoryPlan plan = plan_memory(config, file_bytes, kv, context);
    return plan.weights_bytes + plan.working_bytes + cache + plan.kv_bytes * static_cast<uint64_t>(slots) <= available;
  };
  int64_t low = 0, high = std::max<int64_t>(1, config.context_max / step);
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    fits(middle * step) ? low = middle : high = middle - 1;
  }
  return std::min(low * step, config.context_max);
}

}  // namespace

Result<std::unique_ptr<ModelShelf>> ModelShelf::create(const ServiceOptions& options) {
  if (options.models.empty()) return fail(ErrorKind::wrong_use, "service", "no model is named");
  if (options.slots < 1) return fail(ErrorKind::wrong_use, "service", "at least one slot is needed");
  std::unique_ptr<ModelShelf> shelf(new ModelShelf);
  shelf->any_model_ = options.any_model;
  LAPIDARY_TRY(const Kernels* kernels, select_kernels(options.kernels));
  shelf->kv_type_ = options.kv.value_or(kernels->quantize_row == nullptr ? KvType::f32 : KvType::f16);
  const uint64_t available = shelf->memory_bytes_ =
      options.memory_limit_bytes > 0 ? options.memory_limit_bytes : memory_state().available_bytes;
  shelf->prefix_cache_bytes_ = options.prefix_cache_bytes > 0 ? options.prefix_cache_bytes : available / 8;

  std::vector<std::shared_ptr<const LoadedModel>> opened_models;
  for (const ModelSource& source : options.models) {
    auto model = std::make_unique<Model>();
    model->source = source;
    LAPIDARY_TRY(const std::shared_ptr<const LoadedModel> opened, LoadedModel::open(source.path, source.projector));
    const ModelConfig& config = opened->config();
    ModelInfo& info = model->info;
    info.name = source.name.empty() ? without_ending(own_name(source.path)) : source.name;
    info.path = source.path;
    info.is_default = shelf->models_.empty();
    info.file_bytes = opened->file_bytes();
    info.modified_seconds = modified_seconds(source.path);
    info.architecture = config.architecture;
    info.quantization = main_type(opened->tensors());
    info.parameters = config.parameters;
    info.context_trained = config.context_max;
    info.sees = opened->weights().vision.has_value();
    info.hears = opened->weights().audio.has_value();
    const ChatFormat format = chat_format(opened->tokenizer());
    info.chats = format != ChatFormat::none;
    info.thinks = format == ChatFormat::gemma4;
    info.calls_tools = format == ChatFormat::gemma4;
    info.sampler = advised(config.generation);
    model->names = {info.name, own_name(source.path), without_ending(own_name(source.path))};
    for (const auto& other : shelf->models_)
      if (other->info.name == info.name)
        return fail(ErrorKind::wrong_use, source.path,
                    fmt::format("another model ({}) is called {} already", other->source.path, info.name));
    shelf->models_.push_back(std::move(model));
    opened_models.push_back(opened);
  }
  shelf->choose_contexts(options, opened_models);
  return shelf;
}

// Contexts that nobody named: what lets all models stay side by side, each with the same share of what their weights
// leave; or, where that would be too little, the largest that each model can have alone.
void ModelShelf::choose_contexts(const ServiceOptions& options,
                                 const std::vector<std::shared_ptr<const LoadedModel>>& opened) {
  constexpr int64_t useful = 8192;
  uint64_t together = 0;
  for (const auto& model : opened) {
    const MemoryPlan plan = plan_memory(model->config(), model->file_bytes(), kv_type_, 0);
    together += plan.weights_bytes + plan.working_bytes + prefix_cache_bytes_;
  }
  const uint64_t share = memory_bytes_ > together ? (memory_bytes_ - together) / opened.size() : 0;
  const auto context_of = [&](const LoadedModel& model, bool beside_others) {
    const MemoryPlan plan = plan_memory(model.config(), model.file_bytes(), kv_type_, 0);
    const uint64_t own = plan.weights_bytes + plan.working_bytes + prefix_cache_bytes_ + share;
    return context_that_fits(model.config(), model.file_bytes(), kv_type_, options.slots,
                             beside_others ? own : memory_bytes_, prefix_cache_bytes_);
  };
  const bool side_by_side = std::ranges::all_of(opened, [&](const auto& model) {
    return context_of(*model, true) >= std::min(useful, model->config().context_max);
  });
  for (size_t i = 0; i < opened.size(); ++i)
    models_[i]->info.context = options.context > 0 ? std::min(options.context, opened[i]->config().context_max)
                                                   : context_of(*opened[i], side_by_side);
}

Result<size_t> ModelShelf::find(const std::string& name) const {
  if (name.empty()) return 0;
  for (size_t i = 0; i < models_.size(); ++i)
    if (models_[i]->info.name == name) return i;
  for (size_t i = 0; i < models_.size(); ++i)
    if (std::ranges::find(models_[i]->names, name) != models_[i]->names.end()) return i;
  if (name == "default" || any_model_) return 0;
  std::vector<std::string> known;
  for (const auto& model : models_) known.push_back(model->info.name);
  return fail(ErrorKind::not_found, "model",
              fmt::format("there is no model \"{}\"; known: {}", name.substr(0, 100), fmt::join(known, ", ")));
}

Result<std::shared_ptr<const LoadedModel>> ModelShelf::open(size_t index) {
  Model& model = *models_[index];
  const std::scoped_lock lock(model.mutex);
  model.opened_seconds = monotonic_seconds();
  if (model.opened == nullptr) {
    LAPIDARY_TRY(model.opened, LoadedModel::open(model.source.path, model.source.projector));
  }
  return model.opened;
}

std::shared_ptr<ConstraintShelf> ModelShelf::constraints(size_t index,
                                                         const std::shared_ptr<const LoadedModel>& opened) {
  Model& model = *models_[index];
  const std::scoped_lock lock(model.mutex);
  if (model.opened != opened) return std::make_shared<ConstraintShelf>(opened);  // it was closed since
  if (model.constraints == nullptr) model.constraints = std::make_shared<ConstraintShelf>(opened);
  return model.constraints;
}

void ModelShelf::close(size_t index) {
  Model& model = *models_[index];
  const std::scoped_lock lock(model.mutex);
  model.opened.reset();
  model.constraints.reset();
}

void ModelShelf::close_unused(double seconds) {
  for (const auto& model : models_) {
    const std::scoped_lock lock(model->mutex);
    if (model->loaded || monotonic_seconds() <= model->opened_seconds + seconds) continue;
    model->opened.reset();
    model->constraints.reset();
  }
}

ModelInfo ModelShelf::info_now(size_t index) {
  Model& model = *models_[index];
  ModelInfo info = model.info;
  const std::scoped_lock lock(model.mutex);
  info.loaded = model.loaded;
  info.memory_bytes = model.memory_bytes;
  info.expires_seconds = std::isinf(model.expires_at) ? -1 : std::max(0.0, model.expires_at - monotonic_seconds());
  return info;
}

void ModelShelf::set_loaded(size_t index, bool loaded, double expires_at, uint64_t memory_bytes) {
  Model& model = *models_[index];
  const std::scoped_lock lock(model.mutex);
  model.loaded = loaded;
  model.expires_at = expires_at;
  model.memory_bytes = memory_bytes;
}

}  // namespace lapidary
