// Name -> view: every tensor of a model where the forward pass wants it, checked once against the config.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "tensor/tensor.h"

namespace lapidary {

// Matrices are views into the mapped file, [out, in]. Vectors are few and small: copied to float.
// Norm weights are what the normed value is multiplied with (Gemma 3 checkpoints store w - 1; the loader adds the 1;
// its GGUF files already hold w).
struct LayerWeights {
  TensorView query, key, value;  // value is empty where LayerConfig::value_from_key
  TensorView attention_output;
  TensorView gate, up, down;
  std::vector<float> attention_norm, post_attention_norm, feed_forward_norm, post_feed_forward_norm;  // [hidden]
  std::vector<float> query_norm, key_norm;                                                            // [head_dim]
  float layer_scalar = 1;
};

// gemma4_unified's embedders (mmproj names in brackets). Patches are [row, column, channel]; a GGUF projector stores
// its columns [channel, row, column], which `channels_first` says.
struct VisionWeights {
  std::vector<float> patch_norm_weight, patch_norm_bias;        // [patch]     v.patch_norm.1
  TensorView patch_projection;                                  // [embed, patch]   v.patch_embd.weight
  std::vector<float> patch_projection_bias;                     // [embed]
  std::vector<float> embed_norm_weight, embed_norm_bias;        // [embed]     v.patch_norm.2
  TensorView position_x, position_y;                            // [positions, embed]; row stride may span both
  std::vector<float> position_norm_weight, position_norm_bias;  // [embed]     v.patch_norm.3
  TensorView output_projection;                                 // [hidden, embed]  mm.input_projection.weight
  bool channels_first = false;
};

struct AudioWeights {
  TensorView output_projection;  // [hidden, frame]  mm.a.input_projection.weight
};

struct ModelWeights {
  TensorView embedding;            // [vocabulary, hidden]
  TensorView head;                 // the same where tied
  std::vector<float> output_norm;  // [hidden]
  std::vector<LayerWeights> layers;
  std::optional<VisionWeights> vision;
  std::optional<AudioWeights> audio;
};

struct DrafterWeights {
  TensorView pre_projection;   // [hidden, 2 * model_hidden]: of the token's embedding, then the state
  TensorView post_projection;  // [model_hidden, hidden]: the state for the next guess
  TensorView head;             // [vocabulary, hidden]
  std::vector<float> output_norm;
  std::vector<LayerWeights> layers;  // no key, value, key_norm
};

// A missing tensor, a wrong shape or an unusable type is an error that names the tensor, what was expected and what was
// found.
Result<ModelWeights> bind_weights(const Gguf& model, const Gguf* projector, const ModelConfig& config);
Result<ModelWeights> bind_weights(const HuggingFaceFolder& folder, const ModelConfig& config);
Result<DrafterWeights> bind_drafter(const Gguf& file, const DrafterConfig& config);
Result<DrafterWeights> bind_drafter(const HuggingFaceFolder& folder, const DrafterConfig& config);

}  // namespace lapidary
