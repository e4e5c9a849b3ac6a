#include "model/weights.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <initializer_list>
#include <utility>

#include "tensor/dequantize.h"

namespace lapidary {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// Looks tensors up by name, checks their shapes, and remembers the first complaint, so that the binding below reads as
// a list.
class Binder {
 public:
  explicit Binder(const TensorMap& tensors, float norm_shift = 0) : tensors_(tensors), norm_shift_(norm_shift) {}

  const std::optional<Error>& error() const { return error_; }
  bool has(const std::string& name) const { return tensors_.find(name) != nullptr; }

  TensorView matrix(const std::string& name, int64_t rows, int64_t columns) {
    const StoredTensor* stored = find(name, {rows, columns});
    if (stored == nullptr) return {};
    return view(*stored, rows, columns);
  }

  // A vector as floats. A scalar is a vector of one.
  std::vector<float> vector(const std::string& name, int64_t size) {
    const StoredTensor* stored = find(name, {size});
    std::vector<float> values;
    if (stored == nullptr) return values;
    values.resize(static_cast<size_t>(size));
    dequantize_row(stored->dtype, stored->bytes.data(), values.data(), size);
    for (const float value : values)
      if (!std::isfinite(value)) complain(name, "finite values", fmt::format("{}", value));
    return values;
  }

  // A norm's weight: what the normed value is multiplied with.
  std::vector<float> norm(const std::string& name, int64_t size) {
    std::vector<float> values = vector(name, size);
    for (float& value : values) value += norm_shift_;
    return values;
  }

  // One plane of a table [planes, rows, columns], or (interleaved) of [rows, planes, columns].
  TensorView plane(const std::string& name, int64_t planes, int64_t rows, int64_t columns, int64_t index,
                   bool interleaved) {
    const StoredTensor* stored =
        interleaved ? find(name, {rows, planes, columns}) : find(name, {planes, rows, columns});
    if (stored == nullptr) return {};
    TensorView table = view(*stored, rows, columns);
    table.data += index * (interleaved ? table.row_bytes : rows * table.row_bytes);
    if (interleaved) table.row_bytes *= planes;
    return table;
  }

 private:
  const StoredTensor* find(const std::string& name, const std::vector<int64_t>& shape) {
    const StoredTensor* stored = tensors_.find(name);
    if (stored == nullptr) {
      complain(name, fmt::format("a tensor {}", shape_text(shape)), "none of that name");
      return nullptr;
    }
    if (stored->shape != shape) {
      complain(name, shape_text(shape), shape_text(stored->shape));
      return nullptr;
    }
    return stored;
  }

  static TensorView view(const StoredTensor& stored, int64_t rows, int64_t columns) {
    const DTypeInfo& info = dtype_info(stored.dtype);
    return {stored.dtype, stored.bytes.data(), rows, columns, columns / info.block_values * info.block_bytes};
  }

  void complain(const std::string& name, std::string_view expected, std::string_view found) {
    if (!error_) error_ = malformed("tensor " + name, expected, found).error();
  }

  const TensorMap& tensors_;
  const float norm_shift_;
  std::optional<Error> error_;
};

// The names that differ between the two containers.
struct LayerNames {
  const char *query, *key, *value, *output, *gate, *up, *down;
  const char *attention_norm, *post_attention_norm, *feed_forward_norm, *post_feed_forward_norm, *query_norm, *key_norm,
      *scalar;
};
constexpr LayerNames hugging_face_names = {"self_attn.q_proj.weight",
                                           "self_attn.k_proj.weight",
                                           "self_attn.v_proj.weight",
                                           "self_attn.o_proj.weight",
                                           "mlp.gate_proj.weight",
                                           "mlp.up_proj.weight",
                                           "mlp.down_proj.weight",
                                           "input_layernorm.weight",
                                           "post_attention_layernorm.weight",
                                           "pre_feedforward_layernorm.weight",
                                           "post_feedforward_layernorm.weight",
                                           "self_attn.q_norm.weight",
                                           "self_attn.k_norm.weight",
                                           "layer_scalar"};
constexpr LayerNames gguf_names = {
    "attn_q.weight",        "attn_k.weight",      "attn_v.weight",      "attn_output.weight",         "ffn_gate.weight",
    "ffn_up.weight",        "ffn_down.weight",    "attn_norm.weight",   "post_attention_norm.weight", "ffn_norm.weight",
    "post_ffw_norm.weight", "attn_q_norm.weight", "attn_k_norm.weight", "layer_output_scale.weight"};

// What every layer has.
LayerWeights bind_queries(Binder& binder, const std::string& prefix, const LayerNames& names, const ModelConfig& config,
                          const LayerConfig& layer) {
  const int64_t hidden = config.hidden, query = int64_t{layer.query_heads} * layer.head_dim;
  LayerWeights w;
  w.query = binder.matrix(prefix + names.query, query, hidden);
  w.attention_output = binder.matrix(prefix + names.output, hidden, query);
  w.gate = binder.matrix(prefix + names.gate, layer.feed_forward, hidden);
  w.up = binder.matrix(prefix + names.up, layer.feed_forward, hidden);
  w.down = binder.matrix(prefix + names.down, hidden, layer.feed_forward);
  w.attention_norm = binder.norm(prefix + names.attention_norm, hidden);
  w.post_attention_norm = binder.norm(prefix + names.post_attention_norm, hidden);
  w.feed_forward_norm = binder.norm(prefix + names.feed_forward_norm, hidden);
  w.post_feed_forward_norm = binder.norm(prefix + names.post_feed_forward_norm, hidden);
  w.query_norm = binder.norm(prefix + names.query_norm, layer.head_dim);
  if (config.architecture == "gemma4") {
    const std::vector<float> scalar = binder.vector(prefix + names.scalar, 1);
    if (!scalar.empty()) w.layer_scalar = scalar[0];
  }
  return w;
}

LayerWeights bind_layer(Binder& binder, const std::string& prefix, const LayerNames& names, const ModelConfig& config,
                        const LayerConfig& layer) {
  const int64_t kv = int64_t{layer.kv_heads} * layer.head_dim;
  LayerWeights w = bind_queries(binder, prefix, names, config, layer);
  w.key = binder.matrix(prefix + names.key, kv, config.hidden);
  if (!layer.value_from_key) w.value = binder.matrix(prefix + names.value, kv, config.hidden);
  w.key_norm = binder.norm(prefix + names.key_norm, layer.head_dim);
  return w;
}

struct DrafterNames {
  const char *pre_projection, *post_projection, *head, *output_norm, *layer;
};
constexpr DrafterNames drafter_gguf_names = {"nextn.pre_projection.weight", "nextn.post_projection.weight",
                                             "token_embd.weight", "output_norm.weight", "blk."};
constexpr DrafterNames drafter_hugging_face_names = {"pre_projection.weight", "post_projection.weight",
                                                     "model.embed_tokens.weight", "model.norm.weight", "model.layers."};

DrafterWeights bind_drafter(Binder& binder, const DrafterNames& names, const LayerNames& layer_names,
                            const DrafterConfig& config) {
  const ModelConfig& layers = config.layers;
  DrafterWeights weights;
  weights.pre_projection = binder.matrix(names.pre_projection, layers.hidden, int64_t{2} * config.model_hidden);
  weights.post_projection = binder.matrix(names.post_projection, config.model_hidden, layers.hidden);
  weights.head = binder.matrix(names.head, layers.vocabulary, layers.hidden);
  weights.output_norm = binder.norm(names.output_norm, layers.hidden);
  for (size_t i = 0; i < layers.layers.size(); ++i)
    weights.layers.push_back(
        bind_queries(binder, fmt::format("{}{}.", names.layer, i), layer_names, layers, layers.layers[i]));
  return weights;
}

Result<void> done(const Binder& binder, const std::string& where) {
  if (binder.error()) return std::unexpected(Error(*binder.error()).in(where));
  return {};
}

int64_t patch_values(const VisionConfig& vision) { return int64_t{3} * vision.patch_pixels * vision.patch_pixels; }

}  // namespace

Result<ModelWeights> bind_weights(const Gguf& model, const Gguf* projector, const ModelConfig& config) {
  Binder binder(model.tensors());
  ModelWeights weights;
  weights.embedding = binder.matrix("token_embd.weight", config.vocabulary, config.hidden);
  weights.head = binder.has("output.weight") ? binder.matrix("output.weight", config.vocabulary, config.hidden)
                                             : weights.embedding;
  weights.output_norm = binder.norm("output_norm.weight", config.hidden);
  for (size_t i = 0; i < config.layers.size(); ++i)
    weights.layers.push_back(bind_layer(binder, fmt::format("blk.{}.", i), gguf_names, config, config.layers[i]));
  LAPIDARY_CHECK(done(binder, "model"));
  if (projector == nullptr) return weights;

  Binder media(projector->tensors());
  if (config.vision) {
    const int64_t embed = config.vision->embed_dim, patch = patch_values(*config.vision),
                  positions = config.vision->positions_max;
    VisionWeights v;
    v.channels_first = true;
    v.patch_norm_weight = media.vector("v.patch_norm.1.weight", patch);
    v.patch_norm_bias = media.vector("v.patch_norm.1.bias", patch);
    v.patch_projection = media.matrix("v.patch_embd.weight", embed, patch);
    v.patch_projection_bias = media.vector("v.patch_embd.bias", embed);
    v.embed_norm_weight = media.vector("v.patch_norm.2.weight", embed);
    v.embed_norm_bias = media.vector("v.patch_norm.2.bias", embed);
    v.position_x = media.plane("v.position_embd.weight", 2, positions, embed, 0, false);
    v.position_y = media.plane("v.position_embd.weight", 2, positions, embed, 1, false);
    v.position_norm_weight = media.vector("v.patch_norm.3.weight", embed);
    v.position_norm_bias = media.vector("v.patch_norm.3.bias", embed);
    v.output_projection = media.matrix("mm.input_projection.weight", config.hidden, embed);
    weights.vision = std::move(v);
  }
  if (config.audio)
    weights.audio =
        AudioWeights{media.matrix("mm.a.input_projection.weight", config.hidden, config.audio->frame_samples)};
  LAPIDARY_CHECK(done(media, "projector"));
  return weights;
}

namespace {

// The head's tensor; "" where it is the embedding.
Result<std::string> head_name(const HuggingFaceFolder& folder, const TensorMap& tensors) {
  for (const char* name : {"lm_head.weight", "language_model.lm_head.weight"})
    if (tensors.find(name) != nullptr) return name;
  const std::string where = folder.path + ": config.json";
  const auto text = folder.config.find("text_config");
  const Json& nested = text == folder.config.end() ? folder.config : *text;
  LAPIDARY_TRY(const bool nested_tied, json_bool(nested, "tie_word_embeddings", true, where));
  LAPIDARY_TRY(const bool tied, json_bool(folder.config, "tie_word_embeddings", nested_tied, where));
  // Untied and not there: the name that should have been there, for the complaint.
  return tied ? "" : "lm_head.weight";
}

}  // namespace

Result<ModelWeights> bind_weights(const HuggingFaceFolder& folder, const ModelConfig& config) {
  const TensorMap& tensors = folder.tensors;
  // Checkpoints nest the text model differently, by age and by kind.
  std::string prefix;
  for (const char* candidate : {"model.language_model.", "language_model.model.", "model.", "language_model.", ""})
    if (tensors.find(std::string(candidate) + "embed_tokens.weight") != nullptr) {
      prefix = candidate;
      break;
    }
  Binder binder(tensors, config.architecture == "gemma3" ? 1.0F : 0.0F);
  ModelWeights weights;
  weights.embedding = binder.matrix(prefix + "embed_tokens.weight", config.vocabulary, config.hidden);
  weights.head = weights.embedding;
  LAPIDARY_TRY(const std::string head, head_name(folder, tensors));
  if (!head.empty()) weights.head = binder.matrix(head, config.vocabulary, config.hidden);
  weights.output_norm = binder.norm(prefix + "norm.weight", config.hidden);
  for (size_t i = 0; i < config.layers.size(); ++i)
    weights.layers.push_back(
        bind_layer(binder, fmt::format("{}layers.{}.", prefix, i), hugging_face_names, config, config.layers[i]));

  const std::string media = tensors.find("model.embed_vision.embedding_projection.weight") != nullptr ||
                                    tensors.find("model.embed_audio.embedding_projection.weight") != nullptr
                                ? "model."
                                : "";
  if (config.vision) {
    const int64_t embed = config.vision->embed_dim, patch = patch_values(*config.vision),
                  positions = config.vision->positions_max;
    // Newer files nest the embedder under embed_vision.
    std::string base = media + "vision_embedder.";
    if (!binder.has(base + "patch_dense.weight")) base = media + "embed_vision.";
    if (!binder.has(base + "patch_dense.weight")) base = media + "embed_vision.vision_embedder.";
    VisionWeights v;
    v.patch_norm_weight = binder.vector(base + "patch_ln1.weight", patch);
    v.patch_norm_bias = binder.vector(base + "patch_ln1.bias", patch);
    v.patch_projection = binder.matrix(base + "patch_dense.weight", embed, patch);
    v.patch_projection_bias = binder.vector(base + "patch_dense.bias", embed);
    v.embed_norm_weight = binder.vector(base + "patch_ln2.weight", embed);
    v.embed_norm_bias = binder.vector(base + "patch_ln2.bias", embed);
    v.position_x = binder.plane(base + "pos_embedding", 2, positions, embed, 0, true);
    v.position_y = binder.plane(base + "pos_embedding", 2, positions, embed, 1, true);
    v.position_norm_weight = binder.vector(base + "pos_norm.weight", embed);
    v.position_norm_bias = binder.vector(base + "pos_norm.bias", embed);
    v.output_projection = binder.matrix(media + "embed_vision.embedding_projection.weight", config.hidden, embed);
    weights.vision = std::move(v);
  }
  if (config.audio)
    weights.audio = AudioWeights{
        binder.matrix(media + "embed_audio.embedding_projection.weight", config.hidden, config.audio->frame_samples)};
  LAPIDARY_CHECK(done(binder, folder.path));
  return weights;
}

Result<DrafterWeights> bind_drafter(const Gguf& file, const DrafterConfig& config) {
  Binder binder(file.tensors());
  DrafterWeights weights = bind_drafter(binder, drafter_gguf_names, gguf_names, config);
  LAPIDARY_CHECK(done(binder, "drafter"));
  return weights;
}

Result<DrafterWeights> bind_drafter(const HuggingFaceFolder& folder, const DrafterConfig& config) {
  Binder binder(folder.tensors);
  DrafterWeights weights = bind_drafter(binder, drafter_hugging_face_names, hugging_face_names, config);
  LAPIDARY_CHECK(done(binder, folder.path));
  return weights;
}

}  // namespace lapidary
