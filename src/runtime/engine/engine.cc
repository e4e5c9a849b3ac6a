#include "engine/engine.h"

#include <fmt/format.h>

#include "base/system.h"
#include "model/embedders.h"

namespace lapidary {
namespace {

// FNV-1a over the embeddings' bytes: enough to tell two media apart within a session.
uint64_t hash_of(const std::vector<float>& values) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(float); ++i) hash = (hash ^ bytes[i]) * 0x100000001B3ULL;
  return hash | 1;  // 0 stands for "text"
}

SoftBlock block_of(std::vector<float> embeddings, int64_t hidden, bool bidirectional) {
  SoftBlock block;
  block.count = static_cast<int64_t>(embeddings.size()) / hidden;
  block.bidirectional = bidirectional;
  block.content_hash = hash_of(embeddings);
  block.embeddings = std::make_shared<const std::vector<float>>(std::move(embeddings));
  return block;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const LoadedModel> model, const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine);
  engine->model_ = std::move(model);
  engine->options_ = options;
  LAPIDARY_TRY(engine->kernels_, select_kernels(options.kernels));
  engine->kv_type_ = options.kv.value_or(engine->kernels_->quantize_row == nullptr ? KvType::f32 : KvType::f16);
  engine->pool_ = std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : physical_cores());
  engine->decoder_ =
      std::make_unique<Decoder>(engine->model_->config(), engine->model_->weights(), *engine->kernels_, *engine->pool_);
  return engine;
}

void Engine::set_drafter(std::shared_ptr<const LoadedDrafter> drafter) {
  loaded_drafter_ = std::move(drafter);
  drafter_ =
      std::make_unique<Drafter>(loaded_drafter_->config(), loaded_drafter_->weights(), *decoder_, *kernels_, *pool_);
}

Result<SoftBlock> Engine::embed(const ImagePatches& patches) {
  if (!model_->weights().vision)
    return fail(ErrorKind::unsupported, model_->path(),
                "this model cannot see: it has no vision embedder (for a GGUF file, name its mmproj)");
  LAPIDARY_TRY(std::vector<float> values, embed_image(patches, config(), *model_->weights().vision, *kernels_, *pool_));
  return block_of(std::move(values), config().hidden, config().image_bidirectional);
}

Result<SoftBlock> Engine::embed(const Sound& sound) {
  if (!model_->weights().audio)
    return fail(ErrorKind::unsupported, model_->path(),
                "this model cannot hear: it has no audio embedder (for a GGUF file, name its mmproj)");
  LAPIDARY_TRY(std::vector<float> values, embed_sound(sound, config(), *model_->weights().audio, *kernels_, *pool_));
  return block_of(std::move(values), config().hidden, false);
}

}  // namespace lapidary
