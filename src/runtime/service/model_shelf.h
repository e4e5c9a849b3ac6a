// The models that a service knows: by which names, what they are, and which of them are open.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"
#include "service/constraint_shelf.h"
#include "service/service.h"

namespace lapidary {

// Safe from any thread. A model is opened (mapped, its tokenizer built) on first use and stays open until close().
class ModelShelf {
 public:
  // Opens every model once to learn what it is, and lets it go again. Errors name the model.
  static Result<std::unique_ptr<ModelShelf>> create(const ServiceOptions& options);

  size_t size() const { return models_.size(); }
  // "" and "default": the first. An alias, a file's name with or without ".gguf", a folder's name.
  // ErrorKind::not_found with the list of names, unless unknown names mean the default.
  Result<size_t> find(const std::string& name) const;

  Result<std::shared_ptr<const LoadedModel>> open(size_t model);
  // Of the model as it was opened; they go when it does.
  std::shared_ptr<ConstraintShelf> constraints(size_t model, const std::shared_ptr<const LoadedModel>& opened);
  void close(size_t model);  // the mapping goes when its last user has gone
  // Closes what nobody has asked for since `seconds`, but for loaded models.
  void close_unused(double seconds);

  // What does not change: everything but loaded, expires_seconds and memory_bytes.
  const ModelInfo& info(size_t model) const { return models_[model]->info; }
  // With those as they are now.
  ModelInfo info_now(size_t model);
  // `expires_at`: on the monotonic clock; infinite: never.
  void set_loaded(size_t model, bool loaded, double expires_at, uint64_t memory_bytes);

  KvType kv_type() const { return kv_type_; }
  uint64_t memory_bytes() const { return memory_bytes_; }  // that models may take together
  uint64_t prefix_cache_bytes() const { return prefix_cache_bytes_; }

 private:
  struct Model {
    ModelSource source;
    ModelInfo info;
    std::vector<std::string> names;
    std::mutex mutex;  // guards what follows
    std::shared_ptr<const LoadedModel> opened;
    std::shared_ptr<ConstraintShelf> constraints;  // of `opened`, if any were asked for
    double opened_seconds = 0;                     // when it was last asked for
    bool loaded = false;
    double expires_at = 0;
    uint64_t memory_bytes = 0;
  };
  ModelShelf() = default;
  void choose_contexts(const ServiceOptions& options, const std::vector<std::shared_ptr<const LoadedModel>>& opened);
  std::vector<std::unique_ptr<Model>> models_;
  bool any_model_ = false;
  KvType kv_type_ = KvType::f16;
  uint64_t prefix_cache_bytes_ = 0, memory_bytes_ = 0;
};

}  // namespace lapidary
