#include "quantize/model_source.h"

#include <fmt/format.h>

#include "quantize/gguf_keys.h"
#include "quantize/recipe.h"

namespace lapidary {
namespace {

SourceTensor matrix(std::string name, const TensorView& view) {
  return {std::move(name), {view.rows, view.columns}, {view}, {}, false, {}};
}

SourceTensor vector(std::string name, std::vector<float> values) {
  const auto size = static_cast<int64_t>(values.size());
  return {std::move(name), {size}, {}, std::move(values), false, DType::f32};
}

// A matrix of an embedder: in 32 bits, or as it is.
SourceTensor high(SourceTensor tensor, bool as_is) {
  tensor.kept = as_is ? tensor.dtype() : DType::f32;
  return tensor;
}

void add_layer(const LayerWeights& layer, const std::string& prefix, bool scalar, std::vector<SourceTensor>& tensors) {
  const auto add_matrix = [&](const char* name, const TensorView& view) {
    if (!view.empty()) tensors.push_back(matrix(prefix + name, view));
  };
  const auto add_vector = [&](const char* name, const std::vector<float>& values) {
    tensors.push_back(vector(prefix + name, values));
  };
  add_vector("attn_norm.weight", layer.attention_norm);
  add_matrix("attn_q.weight", layer.query);
  add_vector("attn_q_norm.weight", layer.query_norm);
  add_matrix("attn_k.weight", layer.key);
  add_vector("attn_k_norm.weight", layer.key_norm);
  add_matrix("attn_v.weight", layer.value);
  add_matrix("attn_output.weight", layer.attention_output);
  add_vector("post_attention_norm.weight", layer.post_attention_norm);
  add_vector("ffn_norm.weight", layer.feed_forward_norm);
  add_matrix("ffn_gate.weight", layer.gate);
  add_matrix("ffn_up.weight", layer.up);
  add_matrix("ffn_down.weight", layer.down);
  add_vector("post_ffw_norm.weight", layer.post_feed_forward_norm);
  if (scalar) add_vector("layer_output_scale.weight", {layer.layer_scalar});
}

// What the frequencies of full layers are divided by; 1e30: the pair does not rotate.
std::vector<float> rope_divisors(const ModelConfig& config) {
  std::vector<float> divisors;
  divisors.reserve(config.rope_full.size());
  for (const float frequency : config.rope_full) divisors.push_back(frequency == 0 ? 1e30F : 1.0F);
  return divisors;
}

std::vector<SourceTensor> text_tensors(const ModelWeights& weights, const ModelConfig& config) {
  const bool gemma4 = config.architecture == "gemma4";
  std::vector<SourceTensor> tensors;
  tensors.push_back(matrix("token_embd.weight", weights.embedding));
  if (weights.head.data != weights.embedding.data) tensors.push_back(matrix("output.weight", weights.head));
  tensors.push_back(vector("output_norm.weight", weights.output_norm));
  if (gemma4) tensors.push_back(vector("rope_freqs.weight", rope_divisors(config)));
  for (size_t i = 0; i < weights.layers.size(); ++i)
    add_layer(weights.layers[i], fmt::format("blk.{}.", i), gemma4, tensors);
  return tensors;
}

// [row, column, channel] -> [channel, row, column]
std::vector<float> channels_first(const std::vector<float>& patch) {
  const size_t pixels = patch.size() / 3;
  std::vector<float> out(patch.size());
  for (size_t channel = 0; channel < 3; ++channel)
    for (size_t pixel = 0; pixel < pixels; ++pixel) out[channel * pixels + pixel] = patch[pixel * 3 + channel];
  return out;
}

std::vector<SourceTensor> projector_tensors(const ModelWeights& weights) {
  std::vector<SourceTensor> tensors;
  if (weights.vision) {
    const VisionWeights& v = *weights.vision;
    tensors.push_back(high(matrix("v.patch_embd.weight", v.patch_projection), false));
    tensors.back().channels_first = true;
    tensors.push_back(vector("v.patch_embd.bias", v.patch_projection_bias));
    tensors.push_back(vector("v.patch_norm.1.weight", channels_first(v.patch_norm_weight)));
    tensors.push_back(vector("v.patch_norm.1.bias", channels_first(v.patch_norm_bias)));
    tensors.push_back(vector("v.patch_norm.2.weight", v.embed_norm_weight));
    tensors.push_back(vector("v.patch_norm.2.bias", v.embed_norm_bias));
    tensors.push_back(vector("v.patch_norm.3.weight", v.position_norm_weight));
    tensors.push_back(vector("v.patch_norm.3.bias", v.position_norm_bias));
    tensors.push_back({"v.position_embd.weight",
                       {2, v.position_x.rows, v.position_x.columns},
                       {v.position_x, v.position_y},
                       {},
                       false,
                       DType::f32});
    tensors.push_back(high(matrix("mm.input_projection.weight", v.output_projection), true));
  }
  if (weights.audio)
    tensors.push_back(high(matrix("mm.a.input_projection.weight", weights.audio->output_projection), true));
  return tensors;
}

}  // namespace

int64_t SourceTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

Result<void> ModelSource::read_gguf(const std::string& path) {
  LAPIDARY_TRY(gguf_, Gguf::open(path));
  LAPIDARY_TRY(config_, read_config(*gguf_, nullptr));
  LAPIDARY_CHECK(bind_weights(*gguf_, nullptr, config_));  // that all tensors are there, in the right shapes
  LAPIDARY_CHECK(copy_keys(files().files.front()->bytes(), model_.keys));
  for (const auto& [name, stored] : files().tensors) {
    SourceTensor tensor;
    tensor.name = name;
    tensor.shape = stored.shape.empty() ? std::vector<int64_t>{1} : stored.shape;
    const DTypeInfo& info = dtype_info(stored.dtype);
    const int64_t columns = tensor.columns();
    tensor.parts = {
        {stored.dtype, stored.bytes.data(), tensor.rows(), columns, columns / info.block_values * info.block_bytes}};
    // Vectors in 32 bits, as all programs want them; what is no matrix of the text model stays as it is.
    if (tensor.shape.size() == 1)
      tensor.kept = DType::f32;
    else if (!is_quantizable(name))
      tensor.kept = stored.dtype;
    model_.tensors.push_back(std::move(tensor));
  }
  return {};
}

Result<void> ModelSource::read_folder(const std::string& path) {
  LAPIDARY_TRY(folder_, HuggingFaceFolder::open(path));
  LAPIDARY_TRY(config_, read_config(*folder_));
  LAPIDARY_TRY(const ModelWeights weights, bind_weights(*folder_, config_));
  LAPIDARY_CHECK(add_model_keys(config_, model_.keys));
  LAPIDARY_CHECK(add_tokenizer_keys(*folder_, config_, model_.keys));
  model_.tensors = text_tensors(weights, config_);
  if (!weights.vision && !weights.audio) return {};
  projector_.emplace();
  add_projector_keys(config_, projector_->keys);
  projector_->tensors = projector_tensors(weights);
  return {};
}

Result<ModelSource> ModelSource::open(const std::string& path) {
  LAPIDARY_TRY(const FileKind kind, recognise(path));
  ModelSource source;
  switch (kind) {
    case FileKind::gguf_model:
      LAPIDARY_CHECK(source.read_gguf(path));
      return source;
    case FileKind::hugging_face:
      LAPIDARY_CHECK(source.read_folder(path));
      return source;
    case FileKind::gguf_mmproj:
      return fail(ErrorKind::refused, path, "this is a projector (mmproj): it is small, and stays as it is");
    default:
      return malformed(path, "a GGUF file or a folder with config.json and safetensors", "something else");
  }
}

}  // namespace lapidary
