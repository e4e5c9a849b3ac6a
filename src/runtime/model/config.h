// Everything about a model that is a number: shapes, kinds of layers, constants, token ids. Read from the file's own
// keys, never from its name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"
#include "formats/hugging_face.h"

namespace lapidary {

enum class AttentionKind : uint8_t { sliding, full };

// One layer. Per layer, since kinds differ in heads, head size and rotation (and E2B's layers in width).
struct LayerConfig {
  AttentionKind kind = AttentionKind::full;
  int32_t query_heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t feed_forward = 0;
  bool value_from_key = false;  // attention_k_eq_v: no v_proj, V is the normed raw k projection
};

// config.json vision_config / mmproj clip.vision.*: the 12B's patch embedder (gemma4_unified_vision).
struct VisionConfig {
  int32_t patch_pixels = 48;          // side of a soft token's square: patch_size * pooling_kernel_size
  int32_t embed_dim = 0;              // mm_embed_dim
  int32_t positions_max = 0;          // mm_posemb_size
  int32_t default_soft_tokens = 280;  // num_soft_tokens / processor max_soft_tokens
  float norm_eps = 1e-6F;             // of the last, weightless RMSNorm; the LayerNorms use 1e-5
};

// config.json audio_config / mmproj clip.audio.*: raw frames (gemma4_unified_audio).
struct AudioConfig {
  int32_t frame_samples = 640;  // at 16 kHz: 40 ms
  float norm_eps = 1e-6F;
};

// Ids of the tokens that mean something to the engine. -1: this model has none.
struct SpecialTokens {
  int32_t bos = -1, pad = -1;
  int32_t image = -1, image_begin = -1, image_end = -1;  // <|image|> <|image> <image|>
  int32_t audio = -1, audio_begin = -1, audio_end = -1;
  int32_t video = -1;
};

struct GenerationDefaults {
  bool sample = true;
  double temperature = 1.0, top_p = 1.0, min_p = 0.0;
  int32_t top_k = 0;                 // 0: off
  std::vector<int32_t> stop_tokens;  // eos_token_id list; any of them ends a turn
  std::vector<int32_t> suppress_tokens;
};

struct ModelConfig {
  std::string architecture;  // "gemma4" or "gemma3": which forward pass
  std::string name;          // for people: general.name, or the folder's
  std::string licence;       // "" if the file does not say
  int64_t parameters = 0;
  int32_t hidden = 0;
  int32_t vocabulary = 0;
  int64_t context_max = 0;
  int32_t window = 0;  // of sliding layers, the query itself included
  float norm_eps = 1e-6F;
  float embedding_scale = 1;         // sqrt(hidden)
  float attention_scale = 1;         // Gemma 4: 1; Gemma 3: query_pre_attn_scalar^-1/2
  float logit_softcap = 0;           // 0: none
  bool image_bidirectional = false;  // use_bidirectional_attention == "vision": blocks on sliding layers
  std::vector<LayerConfig> layers;
  // Inverse frequencies, one per pair (i, i + head_dim/2); 0: the pair does not rotate. By AttentionKind.
  std::vector<float> rope_sliding, rope_full;
  // What those were made from, for writing a file anew: 1 / base^(2i / head_dim) / factor.
  double rope_base_sliding = 1e4, rope_base_full = 1e6, rope_factor_full = 1;
  std::optional<VisionConfig> vision;
  std::optional<AudioConfig> audio;
  SpecialTokens tokens;
  GenerationDefaults generation;

  const std::vector<float>& rope(AttentionKind kind) const {
    return kind == AttentionKind::sliding ? rope_sliding : rope_full;
  }
};

// The drafter of a unified model: model/drafter.h.
struct DrafterConfig {
  ModelConfig layers;        // its own shapes; KV heads and head sizes are the model's
  int32_t model_hidden = 0;  // backbone_hidden_size, embedding_length_out
};

// `projector` is the mmproj file, if there is one. Parts of the family that are not built yet (per-layer embeddings,
// MoE, shared KV layers, ViT/conformer towers) give ErrorKind::unsupported with the part's name; a tower alone does
// not: the text model loads, vision/audio stay empty.
Result<ModelConfig> read_config(const Gguf& model, const Gguf* projector);
Result<ModelConfig> read_config(const HuggingFaceFolder& folder);

// Whether a file is a drafter, by what it says of itself.
bool is_drafter(const Gguf& file);
bool is_drafter(const HuggingFaceFolder& folder);
// Drafters of the kinds that are not built (with a head by clusters) give ErrorKind::unsupported.
Result<DrafterConfig> read_drafter_config(const Gguf& file);
Result<DrafterConfig> read_drafter_config(const HuggingFaceFolder& folder);
// The last of the model's layers of this kind, whose keys and values a drafter's layers look at. -1: it has none.
int32_t last_layer(const ModelConfig& model, AttentionKind kind);
// That it belongs to this model: hidden size, vocabulary and heads are the same.
Result<void> check_drafter_fits(const DrafterConfig& drafter, const ModelConfig& model);

}  // namespace lapidary
