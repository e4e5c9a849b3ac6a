// The models that a service knows: by which names, what they are, and which of them are open.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"
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
  void close(size_t model);  // the mapping goes when its last user has gone

  // Never changes after create(), but for loaded, expires_seconds and memory_bytes, which the service keeps.
  const ModelInfo& info(size_t model) const { return models_[model]->info; }
  KvType kv_type() const { return kv_type_; }
  uint64_t prefix_cache_bytes() const { return prefix_cache_bytes_; }

 private:
  struct Model {
    ModelSource source;
    ModelInfo info;
    std::vector<std::string> names;
    std::mutex mutex;
    std::shared_ptr<const LoadedModel> opened;
  };
  ModelShelf() = default;
  std::vector<std::unique_ptr<Model>> models_;
  bool any_model_ = false;
  KvType kv_type_ = KvType::f16;
  uint64_t prefix_cache_bytes_ = 0;
};

}  // namespace lapidary
