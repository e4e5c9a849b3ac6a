// Pictures and sound into the decoder's space, without an encoder: gemma4.md sections 3.2 and 4.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/ops.h"
#include "media/audio.h"
#include "media/image.h"
#include "model/config.h"
#include "model/weights.h"

namespace lapidary {

// One soft token a patch: [patches, hidden], to be inserted unscaled. The arithmetic is that of `ref` or fp32 in every
// variant: these weights are never quantised.
Result<std::vector<float>> embed_image(const ImagePatches& patches, const ModelConfig& config,
                                       const VisionWeights& weights, const Kernels& kernels, ThreadPool& pool);

// One soft token a frame of `config.audio->frame_samples` samples: [frames, hidden].
Result<std::vector<float>> embed_sound(const Sound& sound, const ModelConfig& config, const AudioWeights& weights,
                                       const Kernels& kernels, ThreadPool& pool);

}  // namespace lapidary
