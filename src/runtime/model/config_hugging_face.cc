// config.json and what lies beside it.
#include <fmt/format.h>

#include <algorithm>
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

Result<void> refuse_unbuilt(const Json& text, const std::string& where) {
  LAPIDARY_TRY(const int64_t per_layer, json_integer(text, "hidden_size_per_layer_input", 0, 0, many, where));
  LAPIDARY_TRY(const int64_t shared, json_integer(text, "num_kv_shared_layers", 0, 0, many, where));
  LAPIDARY_TRY(const bool experts, json_bool(text, "enable_moe_block", false, where));
  const char* part = per_layer > 0 ? "per-layer embeddings (E2B, E4B)"
                     : shared > 0  ? "layers that share their KV (E2B, E4B)"
                     : experts     ? "experts (26B-A4B)"
                                   : nullptr;
  if (part != nullptr)
    return fail(ErrorKind::unsupported, where, fmt::format("{} are not built yet; take the 12B", part));
  LAPIDARY_TRY(const std::string activation, json_string(text, "hidden_activation", "gelu_pytorch_tanh", where));
  if (activation != "gelu_pytorch_tanh")
    return malformed(where + ": \"hidden_activation\"", "gelu_pytorch_tanh", activation);
  LAPIDARY_TRY(const bool bias, json_bool(text, "attention_bias", false, where));
  if (bias) return fail(ErrorKind::unsupported, where, "attention with biases");
  return {};
}

// layer_types, or (Gemma 3, older files) a period: every n-th layer is full.
Result<std::vector<AttentionKind>> layer_kinds(const Json& text, const std::string& where) {
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
    return kinds;
  }
  LAPIDARY_TRY(int64_t period, json_integer(text, "sliding_window_pattern", 6, 1, 1024, where));
  LAPIDARY_TRY(period, json_integer(text, "_sliding_window_pattern", period, 1, 1024, where));
  for (int64_t i = 0; i < count; ++i)
    kinds.push_back((i + 1) % period == 0 ? AttentionKind::full : AttentionKind::sliding);
  return kinds;
}

struct Rope {
  double base = 10'000, factor = 1, partial = 1;
};

Result<Rope> rope_of(const Json& text, AttentionKind kind, bool gemma4, const std::string& where) {
  Rope rope;
  const bool full = kind == AttentionKind::full;
  if (full) rope.base = 1'000'000;
  if (const Json* all = object_in(text, "rope_parameters")) {
    const Json* own = object_in(*all, full ? "full_attention" : "sliding_attention");
    if (own == nullptr) own = all;
    LAPIDARY_TRY(rope.base, json_number(*own, "rope_theta", rope.base, where));
    LAPIDARY_TRY(rope.factor, json_number(*own, "factor", 1, where));
    LAPIDARY_TRY(const std::string type, json_string(*own, "rope_type", "default", where));
    if (type == "proportional") {
      LAPIDARY_TRY(rope.partial, json_number(*own, "partial_rotary_factor", 1, where));
    } else if (type != "default" && type != "linear") {
      return fail(ErrorKind::unsupported, where, fmt::format("rope type {}", type.substr(0, 40)));
    }
  } else {
    LAPIDARY_TRY(rope.base, json_number(text, full ? "rope_theta" : "rope_local_base_freq", rope.base, where));
    if (const Json* scaling = object_in(text, "rope_scaling"); scaling != nullptr && full) {
      LAPIDARY_TRY(rope.factor, json_number(*scaling, "factor", 1, where));
    }
    if (gemma4 && full) rope.partial = 0.25;
  }
  if (!(rope.base > 0) || !(rope.factor > 0) || !(rope.partial > 0) || rope.partial > 1 || !std::isfinite(rope.base))
    return malformed(where + ": rope", "a base and factors above 0",
                     fmt::format("{}, {}, {}", rope.base, rope.factor, rope.partial));
  return rope;
}

Result<void> read_layers(const Json& text, bool gemma4, ModelConfig& config, const std::string& where) {
  LAPIDARY_TRY(const std::vector<AttentionKind> kinds, layer_kinds(text, where));
  LAPIDARY_TRY(const int32_t heads, integer(text, "num_attention_heads", 0, 1, where));
  LAPIDARY_TRY(const int32_t kv_heads, integer(text, "num_key_value_heads", heads, 1, where));
  LAPIDARY_TRY(const int32_t head_dim, integer(text, "head_dim", 256, 2, where));
  LAPIDARY_TRY(const int32_t full_head_dim, integer(text, "global_head_dim", head_dim, 2, where));
  LAPIDARY_TRY(const bool key_is_value, json_bool(text, "attention_k_eq_v", false, where));
  LAPIDARY_TRY(const int32_t full_kv_heads, integer(text, "num_global_key_value_heads", kv_heads, 1, where));
  LAPIDARY_TRY(const int32_t feed_forward, integer(text, "intermediate_size", 0, 1, where));
  for (const AttentionKind kind : kinds) {
    const bool full = gemma4 && kind == AttentionKind::full;
    config.layers.push_back({kind, heads, full ? full_kv_heads : kv_heads, full ? full_head_dim : head_dim,
                             feed_forward, full && key_is_value});
  }
  for (const AttentionKind kind : {AttentionKind::sliding, AttentionKind::full}) {
    LAPIDARY_TRY(const Rope rope, rope_of(text, kind, gemma4, where));
    const int32_t size = kind == AttentionKind::full && gemma4 ? full_head_dim : head_dim;
    auto& frequencies = kind == AttentionKind::full ? config.rope_full : config.rope_sliding;
    if (size > 4096) return malformed(where, "a head size of at most 4096", std::to_string(size));
    frequencies = rope_frequencies(size, static_cast<int32_t>(size * rope.partial / 2), rope.base, rope.factor);
  }
  return {};
}

Result<void> read_media(const HuggingFaceFolder& folder, ModelConfig& config, const std::string& where) {
  const Json& top = folder.config;
  LAPIDARY_TRY(config.tokens.image_begin, integer(top, "boi_token_id", -1, -1, where));
  LAPIDARY_TRY(config.tokens.image_end, integer(top, "eoi_token_id", -1, -1, where));
  LAPIDARY_TRY(config.tokens.image, integer(top, "image_token_id", -1, -1, where));
  LAPIDARY_TRY(config.tokens.audio_begin, integer(top, "boa_token_id", -1, -1, where));
  LAPIDARY_TRY(config.tokens.audio_end, integer(top, "eoa_token_id", -1, -1, where));
  LAPIDARY_TRY(config.tokens.audio_end, integer(top, "eoa_token_index", config.tokens.audio_end, -1, where));
  LAPIDARY_TRY(config.tokens.audio, integer(top, "audio_token_id", -1, -1, where));
  LAPIDARY_TRY(config.tokens.video, integer(top, "video_token_id", -1, -1, where));
  // Only the embedders of the unified model are built; the towers of its relatives leave a text model.
  const auto embedder = [](const Json* section) {
    return section != nullptr && section->contains("model_type") && (*section)["model_type"].is_string() &&
           (*section)["model_type"].get<std::string>().starts_with("gemma4_unified");
  };
  const Json* processor = folder.processor_config ? &*folder.processor_config : nullptr;
  if (const Json* vision = object_in(top, "vision_config"); embedder(vision)) {
    VisionConfig v;
    LAPIDARY_TRY(const int32_t patch, integer(*vision, "patch_size", 16, 1, where));
    LAPIDARY_TRY(const int32_t pooling, integer(*vision, "pooling_kernel_size", 3, 1, where));
    if (patch > 512 || pooling > 512)
      return malformed(where + ": vision_config", "a patch of at most 512 pixels", std::to_string(patch));
    LAPIDARY_TRY(v.patch_pixels, integer(*vision, "model_patch_size", int64_t{patch} * pooling, 1, where));
    LAPIDARY_TRY(v.embed_dim, integer(*vision, "mm_embed_dim", config.hidden, 1, where));
    LAPIDARY_TRY(v.positions_max, integer(*vision, "mm_posemb_size", 1120, 1, where));
    LAPIDARY_TRY(v.default_soft_tokens, integer(*vision, "num_soft_tokens", 280, 1, where));
    LAPIDARY_TRY(const double eps, json_number(*vision, "rms_norm_eps", 1e-6, where));
    v.norm_eps = static_cast<float>(eps);
    if (processor != nullptr) {
      LAPIDARY_TRY(v.default_soft_tokens, integer(*processor, "image_seq_length", v.default_soft_tokens, 1, where));
      if (const Json* images = object_in(*processor, "image_processor")) {
        LAPIDARY_TRY(v.default_soft_tokens, integer(*images, "max_soft_tokens", v.default_soft_tokens, 1, where));
      }
    }
    config.vision = v;
  }
  if (const Json* audio = object_in(top, "audio_config"); embedder(audio)) {
    AudioConfig a;
    LAPIDARY_TRY(a.frame_samples, integer(*audio, "audio_embed_dim", 640, 1, where));
    LAPIDARY_TRY(const double eps, json_number(*audio, "rms_norm_eps", 1e-6, where));
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

}  // namespace

Result<ModelConfig> read_config(const HuggingFaceFolder& folder) {
  const std::string where = (std::filesystem::path(folder.path) / "config.json").string();
  const Json& top = folder.config;
  const Json* nested = object_in(top, "text_config");
  const Json& text = nested != nullptr ? *nested : top;
  LAPIDARY_TRY(const std::string type, json_string(top, "model_type", "", where));
  const bool gemma4 =
      type == "gemma4_unified" || type == "gemma4_unified_text" || type == "gemma4" || type == "gemma4_text";
  const bool gemma3 = type == "gemma3" || type == "gemma3_text";
  if (!gemma4 && !gemma3)
    return fail(
        ErrorKind::unsupported, where,
        fmt::format("model type \"{}\"; this program runs gemma4_unified, gemma4 and gemma3", type.substr(0, 60)));
  LAPIDARY_CHECK(refuse_unbuilt(text, where));

  ModelConfig config;
  config.architecture = gemma4 ? "gemma4" : "gemma3";
  config.name = std::filesystem::weakly_canonical(folder.path).filename().string();
  LAPIDARY_TRY(config.hidden, integer(text, "hidden_size", 0, 1, where));
  LAPIDARY_TRY(config.vocabulary, integer(text, "vocab_size", 262144, 1, where));
  LAPIDARY_TRY(config.context_max, json_integer(text, "max_position_embeddings", 131072, 1, many, where));
  LAPIDARY_TRY(config.window, integer(text, "sliding_window", gemma4 ? 1024 : 4096, 1, where));
  LAPIDARY_TRY(const double eps, json_number(text, "rms_norm_eps", 1e-6, where));
  LAPIDARY_TRY(const double softcap, json_number(text, "final_logit_softcapping", 0, where));
  config.norm_eps = static_cast<float>(eps);
  config.logit_softcap = static_cast<float>(softcap);
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  LAPIDARY_CHECK(read_layers(text, gemma4, config, where));
  if (gemma3) {
    LAPIDARY_TRY(const double scalar, json_number(text, "query_pre_attn_scalar", config.layers[0].head_dim, where));
    if (!(scalar > 0))
      return malformed(where + ": \"query_pre_attn_scalar\"", "a number above 0", fmt::format("{}", scalar));
    config.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  }
  LAPIDARY_TRY(const std::string bidirectional, json_string(text, "use_bidirectional_attention", "", where));
  config.image_bidirectional = bidirectional == "vision";
  LAPIDARY_TRY(config.tokens.bos, integer(text, "bos_token_id", 2, -1, where));
  LAPIDARY_TRY(config.tokens.pad, integer(text, "pad_token_id", 0, -1, where));
  LAPIDARY_CHECK(read_media(folder, config, where));
  LAPIDARY_CHECK(read_generation(folder, text, config, where));
  suppress_media_tokens(config);
  LAPIDARY_CHECK(check_config(config, where));
  return config;
}

}  // namespace lapidary
