// config.json and what lies beside it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "model/config.h"
#include "model/config_common.h"

namespace lapidary {
namespace {

constexpr int64_t many = 1LL << 28;

const Json* object_in(const Json& parent, const char* key) {
  const auto found = parent.find(key);
  return found != parent.end() && found->is_object() ? &*found : nullptr;
}

// A list of ids, or one.
Result<std::vector<int32_t>> ids_in(const Json& parent, const char* key, const std::string& where) {
  std::vector<int32_t> ids;
  const auto found = parent.find(key);
  if (found == parent.end() || found->is_null()) return ids;
  for (const Json& id : found->is_array() ? *found : Json::array({*found})) {
    const Json one = {{key, id}};
    LAPIDARY_TRY(const int64_t value, json_integer(one, key, -1, 0, many, where));
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

Result<int32_t> integer(const Json& object, const char* key, int64_t fallback, int64_t min, const std::string& where) {
  LAPIDARY_TRY(const int64_t value, json_integer(object, key, fallback, min, many, where));
  return static_cast<int32_t>(value);
}

// What model_type says. The names of the text model alone and of the whole model mean the same decoder.
struct Family {
  bool gemma4 = false;
  bool unified = false;  // of the 12B, whose defaults differ from its relatives'
};

Result<Family> family_of(const Json& top, const std::string& where) {
  LAPIDARY_TRY(const std::string type, json_string(top, "model_type", "", where));
  if (type.ends_with("_assistant"))
    return fail(ErrorKind::refused, where, "this is a drafter, which belongs to a model: name the model instead");
  if (type == "gemma4_unified" || type == "gemma4_unified_text") return Family{true, true};
  if (type == "gemma4" || type == "gemma4_text") return Family{true, false};
  if (type == "gemma3" || type == "gemma3_text") return Family{false, false};
  return fail(
      ErrorKind::unsupported, where,
      fmt::format("model type \"{}\"; this program runs gemma4_unified, gemma4 and gemma3", type.substr(0, 60)));
}

// Parts of the family that are not built, by what the config says and (where it leaves that open) by the weights.
Result<const char*> unbuilt_part(const HuggingFaceFolder& folder, const Json& text, const std::string& where) {
  constexpr const char *per_layer = "per-layer embeddings (E2B, E4B)", *experts = "experts (26B-A4B)";
  LAPIDARY_TRY(const int64_t per_layer_size, json_integer(text, "hidden_size_per_layer_input", 0, 0, many, where));
  LAPIDARY_TRY(const int64_t shared, json_integer(text, "num_kv_shared_layers", 0, 0, many, where));
  LAPIDARY_TRY(const bool moe, json_bool(text, "enable_moe_block", false, where));
  if (per_layer_size > 0) return per_layer;
  if (shared > 0) return "layers that share their KV (E2B, E4B)";
  if (moe) return experts;
  for (const auto& [name, tensor] : folder.tensors.tensors) {
    if (name.ends_with("embed_tokens_per_layer.weight")) return per_layer;
    if (name.find(".experts.") != std::string::npos) return experts;
  }
  return nullptr;
}

Result<void> refuse_unbuilt(const HuggingFaceFolder& folder, const Json& text, const std::string& where) {
  LAPIDARY_TRY(const char* const part, unbuilt_part(folder, text, where));
  if (part != nullptr)
    return fail(ErrorKind::unsupported, where, fmt::format("{} are not built yet; take the 12B", part));
  LAPIDARY_TRY(const std::string activation, json_string(text, "hidden_activation", "gelu_pytorch_tanh", where));
  if (activation != "gelu_pytorch_tanh")
    return malformed(where + ": \"hidden_activation\"", "gelu_pytorch_tanh", activation.substr(0, 60));
  LAPIDARY_TRY(const bool bias, json_bool(text, "attention_bias", false, where));
  if (bias) return fail(ErrorKind::unsupported, where, "attention with biases is not supported");
  LAPIDARY_TRY(const double score_cap, json_number(text, "attn_logit_softcapping", 0, where));
  if (score_cap != 0) return fail(ErrorKind::unsupported, where, "a soft cap on attention scores is not supported");
  return {};
}

// Gemma 4 says "vision", or nothing; Gemma 3 has a truth value that only its encoders set.
Result<bool> image_bidirectional(const Json& text, const Family& family, const std::string& where) {
  const auto found = text.find("use_bidirectional_attention");
  if (found == text.end()) return family.unified;
  if (found->is_null() || *found == false) return false;
  if (family.gemma4 && *found == "vision") return true;
  return fail(
      ErrorKind::unsupported, where + ": \"use_bidirectional_attention\"",
      fmt::format("{}: models whose text is not causal (encoders) are not supported", dump(*found).substr(0, 40)));
}

// layer_types, or (Gemma 3, older files) a period: every n-th layer is full. Gemma 4's last layer is full whatever it
// says, as in the official code.
Result<std::vector<AttentionKind>> layer_kinds(const Json& text, bool gemma4, const std::string& where) {
  LAPIDARY_TRY(const int64_t count, json_integer(text, "num_hidden_layers", 0, 1, 1024, where));
  if (count == 0) return malformed(where + ": \"num_hidden_layers\"", "a number of layers", "no such key");
  std::vector<AttentionKind> kinds;
  const auto types = text.find("layer_types");
  if (types != text.end() && types->is_array()) {
    for (const Json& type : *types) {
      if (type != "sliding_attention" && type != "full_attention")
        return malformed(where + ": \"layer_types\"", "sliding_attention or full_attention", dump(type).substr(0, 60));
      kinds.push_back(type == "full_attention" ? AttentionKind::full : AttentionKind::sliding);
    }
    if (static_cast<int64_t>(kinds.size()) != count)
      return malformed(where + ": \"layer_types\"", fmt::format("{} layers", count), std::to_string(kinds.size()));
  } else {
    LAPIDARY_TRY(int64_t period, json_integer(text, "sliding_window_pattern", 6, 1, 1024, where));
    LAPIDARY_TRY(period, json_integer(text, "_sliding_window_pattern", period, 1, 1024, where));
    for (int64_t i = 0; i < count; ++i)
      kinds.push_back((i + 1) % period == 0 ? AttentionKind::full : AttentionKind::sliding);
  }
  if (gemma4) kinds.back() = AttentionKind::full;
  return kinds;
}

struct Rope {
  double base = 10'000, factor = 1, partial = 1;
};

// Newer files keep one section for each kind of attention in rope_parameters; older ones have rope_theta,
// rope_local_base_freq and rope_scaling (of full layers) beside the sizes. A base that the section lacks comes from
// there.
Result<Rope> rope_of(const Json& text, AttentionKind kind, bool gemma4, const std::string& where) {
  const bool full = kind == AttentionKind::full;
  Rope rope;
  LAPIDARY_TRY(rope.base, json_number(text, full ? "rope_theta" : "rope_local_base_freq", full ? 1e6 : 1e4, where));
  const Json* section = nullptr;
  if (const Json* all = object_in(text, "rope_parameters")) {
    section = object_in(*all, full ? "full_attention" : "sliding_attention");
    if (section == nullptr && object_in(*all, full ? "sliding_attention" : "full_attention") == nullptr) section = all;
  }
  if (section != nullptr) {
    LAPIDARY_TRY(rope.base, json_number(*section, "rope_theta", rope.base, where));
  } else {
    if (full) section = object_in(text, "rope_scaling");
    if (full && gemma4) rope.partial = 0.25;
  }
  if (section != nullptr) {
    LAPIDARY_TRY(const std::string old_type, json_string(*section, "type", "default", where));
    LAPIDARY_TRY(const std::string type, json_string(*section, "rope_type", old_type, where));
    LAPIDARY_TRY(rope.factor, json_number(*section, "factor", 1, where));
    if (type == "proportional") {
      LAPIDARY_TRY(rope.partial, json_number(*section, "partial_rotary_factor", 1, where));
    } else if (type != "default" && type != "linear") {
      return fail(ErrorKind::unsupported, where,
                  fmt::format("rope type \"{}\" is not supported, only default, linear and proportional are",
                              type.substr(0, 40)));
    }
  }
  if (!(rope.base > 0) || !(rope.factor > 0) || !(rope.partial > 0) || rope.partial > 1 || !std::isfinite(rope.base))
    return malformed(where + ": rope", "a base and factors above 0",
                     fmt::format("{}, {}, {}", rope.base, rope.factor, rope.partial));
  return rope;
}

// per_layer_config: what single layers have otherwise, by their number. Current transformers write this instead of
// global_head_dim and num_global_key_value_heads.
Result<void> apply_overrides(const Json& overrides, std::vector<LayerConfig>& layers, const std::string& where) {
  for (const auto& [number, values] : overrides.items()) {
    const std::string place = fmt::format("{}: per_layer_config {}", where, number.substr(0, 20));
    size_t index = layers.size();
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), index);
    if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size() || index >= layers.size() ||
        !values.is_object())
      return malformed(place, fmt::format("an object for one of {} layers", layers.size()), dump(values).substr(0, 40));
    LayerConfig& layer = layers[index];
    for (const auto& [key, value] : values.items())
      if (key != "head_dim" && key != "num_key_value_heads" && key != "num_attention_heads" &&
          key != "intermediate_size")
        return fail(ErrorKind::unsupported, place,
                    fmt::format("\"{}\" of one layer alone is not supported", key.substr(0, 60)));
    LAPIDARY_TRY(layer.head_dim, integer(values, "head_dim", layer.head_dim, 2, place));
    LAPIDARY_TRY(layer.kv_heads, integer(values, "num_key_value_heads", layer.kv_heads, 1, place));
    LAPIDARY_TRY(layer.query_heads, integer(values, "num_attention_heads", layer.query_heads, 1, place));
    LAPIDARY_TRY(layer.feed_forward, integer(values, "intermediate_size", layer.feed_forward, 1, place));
  }
  return {};
}

Result<void> read_ropes(const Json& text, bool gemma4, ModelConfig& config, const std::string& where) {
  for (const AttentionKind kind : {AttentionKind::sliding, AttentionKind::full}) {
    const auto layer =
        std::find_if(config.layers.begin(), config.layers.end(), [&](const LayerConfig& l) { return l.kind == kind; });
    if (layer == config.layers.end()) continue;
    if (layer->head_dim > 4096) return malformed(where, "a head size of at most 4096", std::to_string(layer->head_dim));
    LAPIDARY_TRY(const Rope rope, rope_of(text, kind, gemma4, where));
    (kind == AttentionKind::full ? config.rope_base_full : config.rope_base_sliding) = rope.base;
    if (kind == AttentionKind::full) config.rope_factor_full = rope.factor;
    auto& frequencies = kind == AttentionKind::full ? config.rope_full : config.rope_sliding;
    const auto rotated = static_cast<int32_t>(layer->head_dim * rope.partial / 2);
    frequencies = rope_frequencies(layer->head_dim, rotated, rope.base, rope.factor);
  }
  return {};
}

Result<void> read_layers(const Json& text, bool gemma4, ModelConfig& config, const std::string& where) {
  LAPIDARY_TRY(const std::vector<AttentionKind> kinds, layer_kinds(text, gemma4, where));
  LAPIDARY_TRY(const int32_t heads, integer(text, "num_attention_heads", gemma4 ? 0 : 8, 1, where));
  LAPIDARY_TRY(const int32_t kv_heads, integer(text, "num_key_value_heads", gemma4 ? heads : 4, 1, where));
  LAPIDARY_TRY(const int32_t head_dim, integer(text, "head_dim", 256, 2, where));
  LAPIDARY_TRY(const bool key_is_value, json_bool(text, "attention_k_eq_v", false, where));
  LAPIDARY_TRY(const int32_t feed_forward, integer(text, "intermediate_size", 0, 1, where));
  for (const AttentionKind kind : kinds)
    config.layers.push_back(
        {kind, heads, kv_heads, head_dim, feed_forward, gemma4 && kind == AttentionKind::full && key_is_value});
  if (!gemma4) return read_ropes(text, gemma4, config, where);

  if (const Json* overrides = object_in(text, "per_layer_config")) {
    LAPIDARY_CHECK(apply_overrides(*overrides, config.layers, where));
  } else {
    // Null: as sliding layers. Absent: 512, but the KV heads as they are.
    const int32_t absent = text.contains("global_head_dim") ? head_dim : 512;
    LAPIDARY_TRY(const int32_t full_head_dim, integer(text, "global_head_dim", absent, 2, where));
    LAPIDARY_TRY(const int32_t full_kv_heads, integer(text, "num_global_key_value_heads", kv_heads, 1, where));
    for (LayerConfig& layer : config.layers) {
      if (layer.kind != AttentionKind::full) continue;
      layer.head_dim = full_head_dim;
      if (key_is_value) layer.kv_heads = full_kv_heads;
    }
  }
  return read_ropes(text, gemma4, config, where);
}

// Ids under the names of Gemma 4 and of Gemma 3.
Result<void> read_media_tokens(const Json& top, SpecialTokens& tokens, const std::string& where) {
  struct Key {
    int32_t SpecialTokens::* token;
    const char *name, *other_name;
  };
  for (const Key& key : std::initializer_list<Key>{{&SpecialTokens::image_begin, "boi_token_id", "boi_token_index"},
                                                   {&SpecialTokens::image_end, "eoi_token_id", "eoi_token_index"},
                                                   {&SpecialTokens::image, "image_token_id", "image_token_index"},
                                                   {&SpecialTokens::audio_begin, "boa_token_id", "boa_token_index"},
                                                   {&SpecialTokens::audio_end, "eoa_token_id", "eoa_token_index"},
                                                   {&SpecialTokens::audio, "audio_token_id", "audio_token_index"},
                                                   {&SpecialTokens::video, "video_token_id", "video_token_index"}}) {
    LAPIDARY_TRY(tokens.*key.token, integer(top, key.other_name, -1, -1, where));
    LAPIDARY_TRY(tokens.*key.token, integer(top, key.name, tokens.*key.token, -1, where));
  }
  return {};
}

Result<VisionConfig> read_vision(const HuggingFaceFolder& folder, const Json& vision, int32_t hidden,
                                 const std::string& where) {
  VisionConfig v;
  LAPIDARY_TRY(const int32_t patch, integer(vision, "patch_size", 16, 1, where));
  LAPIDARY_TRY(const int32_t pooling, integer(vision, "pooling_kernel_size", 3, 1, where));
  if (patch > 512 || pooling > 512)
    return malformed(where, "a patch of at most 512 pixels", std::to_string(std::max(patch, pooling)));
  LAPIDARY_TRY(v.patch_pixels, integer(vision, "model_patch_size", int64_t{patch} * pooling, 1, where));
  LAPIDARY_TRY(v.embed_dim, integer(vision, "mm_embed_dim", hidden, 1, where));
  LAPIDARY_TRY(v.positions_max, integer(vision, "mm_posemb_size", 1120, 1, where));
  LAPIDARY_TRY(v.default_soft_tokens, integer(vision, "num_soft_tokens", 280, 1, where));
  LAPIDARY_TRY(const double eps, json_number(vision, "rms_norm_eps", 1e-6, where));
  v.norm_eps = static_cast<float>(eps);
  // What the checkpoint was made to be used with: processor_config.json, or preprocessor_config.json, which is the
  // processor's section for images.
  if (!folder.processor_config) return v;
  const Json& processor = *folder.processor_config;
  const Json* images = object_in(processor, "image_processor");
  LAPIDARY_TRY(v.default_soft_tokens, integer(processor, "image_seq_length", v.default_soft_tokens, 1, where));
  LAPIDARY_TRY(v.default_soft_tokens,
               integer(images == nullptr ? processor : *images, "max_soft_tokens", v.default_soft_tokens, 1, where));
  return v;
}

// Only the embedders of the unified model are built; the towers of its relatives leave a text model.
Result<void> read_media(const HuggingFaceFolder& folder, const Family& family, ModelConfig& config,
                        const std::string& where) {
  const auto is_embedder = [&](const Json* section) -> Result<bool> {
    if (section == nullptr) return false;
    LAPIDARY_TRY(const std::string type,
                 json_string(*section, "model_type", family.unified ? "gemma4_unified" : "", where));
    return type.starts_with("gemma4_unified");
  };
  const Json* vision = object_in(folder.config, "vision_config");
  LAPIDARY_TRY(const bool has_vision, is_embedder(vision));
  if (has_vision) {
    LAPIDARY_TRY(config.vision, read_vision(folder, *vision, config.hidden, where + ": vision_config"));
  }
  const Json* audio = object_in(folder.config, "audio_config");
  LAPIDARY_TRY(const bool has_audio, is_embedder(audio));
  if (has_audio) {
    AudioConfig a;
    LAPIDARY_TRY(const int32_t samples, integer(*audio, "audio_samples_per_token", 640, 1, where + ": audio_config"));
    LAPIDARY_TRY(a.frame_samples, integer(*audio, "audio_embed_dim", samples, 1, where + ": audio_config"));
    LAPIDARY_TRY(const double eps, json_number(*audio, "rms_norm_eps", 1e-6, where + ": audio_config"));
    a.norm_eps = static_cast<float>(eps);
    config.audio = a;
  }
  return {};
}

Result<void> read_generation(const HuggingFaceFolder& folder, const Json& text, ModelConfig& config,
                             const std::string& where) {
  const Json empty = Json::object();
  const Json& from = folder.generation_config ? *folder.generation_config : empty;
  GenerationDefaults& g = config.generation;
  LAPIDARY_TRY(g.sample, json_bool(from, "do_sample", false, where));
  LAPIDARY_TRY(g.temperature, json_number(from, "temperature", 1.0, where));
  LAPIDARY_TRY(g.top_p, json_number(from, "top_p", 1.0, where));
  LAPIDARY_TRY(g.min_p, json_number(from, "min_p", 0.0, where));
  LAPIDARY_TRY(g.top_k, integer(from, "top_k", 0, 0, where));
  LAPIDARY_TRY(g.suppress_tokens, ids_in(from, "suppress_tokens", where));
  for (const Json* source : std::initializer_list<const Json*>{&from, &folder.config, &text}) {
    if (!g.stop_tokens.empty()) break;
    LAPIDARY_TRY(g.stop_tokens, ids_in(*source, "eos_token_id", where));
  }
  return {};
}

constexpr const char* drafter_type = "gemma4_unified_assistant";

}  // namespace

bool is_drafter(const HuggingFaceFolder& folder) {
  const auto type = folder.config.find("model_type");
  return type != folder.config.end() && type->is_string() && type->get<std::string>().ends_with("_assistant");
}

Result<DrafterConfig> read_drafter_config(const HuggingFaceFolder& folder) {
  const std::string where = (std::filesystem::path(folder.path) / "config.json").string();
  const Json& top = folder.config;
  LAPIDARY_TRY(const std::string type, json_string(top, "model_type", "", where));
  if (type != drafter_type)
    return fail(ErrorKind::unsupported, where,
                fmt::format("model type \"{}\"; of drafters, this program runs {}", type.substr(0, 60), drafter_type));
  LAPIDARY_TRY(const bool clusters, json_bool(top, "use_ordered_embeddings", false, where));
  if (clusters)
    return fail(ErrorKind::unsupported, where, "drafters with a head by clusters (E2B, E4B) are not built yet");
  const Json* nested = object_in(top, "text_config");
  const Json& text = nested != nullptr ? *nested : top;
  DrafterConfig config;
  ModelConfig& layers = config.layers;
  layers.architecture = "gemma4";
  LAPIDARY_TRY(config.model_hidden, integer(top, "backbone_hidden_size", 0, 1, where));
  LAPIDARY_TRY(layers.hidden, integer(text, "hidden_size", 0, 1, where));
  LAPIDARY_TRY(layers.vocabulary, integer(text, "vocab_size", 262'144, 1, where));
  LAPIDARY_TRY(layers.context_max, json_integer(text, "max_position_embeddings", 262'144, 1, many, where));
  LAPIDARY_TRY(layers.window, integer(text, "sliding_window", 1024, 1, where));
  LAPIDARY_TRY(const double eps, json_number(text, "rms_norm_eps", 1e-6, where));
  layers.norm_eps = static_cast<float>(eps);
  LAPIDARY_CHECK(read_layers(text, true, layers, where));
  LAPIDARY_CHECK(check_config(layers, where));
  return config;
}

Result<ModelConfig> read_config(const HuggingFaceFolder& folder) {
  const std::string where = (std::filesystem::path(folder.path) / "config.json").string();
  const Json& top = folder.config;
  const Json* nested = object_in(top, "text_config");
  const Json& text = nested != nullptr ? *nested : top;
  LAPIDARY_TRY(const Family family, family_of(top, where));
  LAPIDARY_CHECK(refuse_unbuilt(folder, text, where));

  ModelConfig config;
  config.architecture = family.gemma4 ? "gemma4" : "gemma3";
  std::error_code error;
  config.name = std::filesystem::weakly_canonical(folder.path, error).filename().string();
  LAPIDARY_TRY(config.hidden, integer(text, "hidden_size", 0, 1, where));
  LAPIDARY_TRY(config.vocabulary, integer(text, "vocab_size", family.gemma4 ? 262'144 : 262'208, 1, where));
  LAPIDARY_TRY(config.context_max,
               json_integer(text, "max_position_embeddings", family.unified ? 262'144 : 131'072, 1, many, where));
  const int64_t window = family.unified ? 1024 : family.gemma4 ? 512 : 4096;
  LAPIDARY_TRY(config.window, integer(text, "sliding_window", window, 1, where));
  LAPIDARY_TRY(const double eps, json_number(text, "rms_norm_eps", 1e-6, where));
  LAPIDARY_TRY(const double softcap, json_number(text, "final_logit_softcapping", 0, where));
  config.norm_eps = static_cast<float>(eps);
  config.logit_softcap = static_cast<float>(softcap);
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  LAPIDARY_CHECK(read_layers(text, family.gemma4, config, where));
  if (!family.gemma4) {
    LAPIDARY_TRY(const double scalar, json_number(text, "query_pre_attn_scalar", 256, where));
    if (!(scalar > 0))
      return malformed(where + ": \"query_pre_attn_scalar\"", "a number above 0", fmt::format("{}", scalar));
    config.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  }
  LAPIDARY_TRY(config.image_bidirectional, image_bidirectional(text, family, where));
  LAPIDARY_TRY(config.tokens.bos, integer(text, "bos_token_id", 2, -1, where));
  LAPIDARY_TRY(config.tokens.pad, integer(text, "pad_token_id", 0, -1, where));
  LAPIDARY_CHECK(read_media_tokens(top, config.tokens, where));
  LAPIDARY_CHECK(read_media(folder, family, config, where));
  LAPIDARY_CHECK(read_generation(folder, text, config, where));
  suppress_media_tokens(config);
  LAPIDARY_CHECK(check_config(config, where));
  return config;
}

}  // namespace lapidary
