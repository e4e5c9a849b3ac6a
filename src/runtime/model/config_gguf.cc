// GGUF metadata -> config. Keys as llama.cpp writes them: gemma4.md 9.2 and 9.3.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/config.h"
#include "model/config_common.h"

namespace lapidary {
namespace {

constexpr int64_t many = 1LL << 28;

// The keys of one architecture: "gemma4." + name.
struct Keys {
  const Gguf& gguf;
  std::string prefix;
  Result<std::optional<int64_t>> integer(const char* key, int64_t min, int64_t max) const {
    return gguf.integer(prefix + key, min, max);
  }
  Result<int64_t> required(const char* key, int64_t min, int64_t max) const {
    return gguf.required_integer(prefix + key, min, max);
  }
  Result<int32_t> integer_or(const char* key, int64_t fallback, int64_t min, int64_t max = many) const {
    LAPIDARY_TRY(const auto value, integer(key, min, max));
    return static_cast<int32_t>(value.value_or(fallback));
  }
  Result<double> number_or(const char* key, double fallback) const {
    LAPIDARY_TRY(const auto value, gguf.number(prefix + key));
    return value.value_or(fallback);
  }
  // One value a layer; a single one counts for all.
  Result<std::vector<int64_t>> per_layer(const char* key, size_t layers) const {
    LAPIDARY_TRY(auto values, gguf.integers(prefix + key, 0, many));
    if (!values) return malformed("key " + prefix + key, "one value a layer", "no such key");
    if (values->size() == 1) values->resize(layers, values->front());
    if (values->size() != layers)
      return malformed("key " + prefix + key, fmt::format("{} values", layers), std::to_string(values->size()));
    return std::move(*values);
  }
};

Result<void> refuse_unbuilt(const Keys& keys) {
  for (const auto& [key, part] : {std::pair{"embedding_length_per_layer_input", "per-layer embeddings (E2B, E4B)"},
                                  std::pair{"attention.shared_kv_layers", "layers that share their KV (E2B, E4B)"},
                                  std::pair{"expert_count", "experts (26B-A4B)"}}) {
    LAPIDARY_TRY(const auto value, keys.integer(key, 0, many));
    if (value.value_or(0) > 0)
      return fail(ErrorKind::unsupported, "key " + keys.prefix + key,
                  fmt::format("{} are not built yet; take the 12B", part));
  }
  return {};
}

// sliding_window_pattern: one truth value a layer (true: sliding), or a period (every n-th layer is full).
Result<std::vector<AttentionKind>> layer_kinds(const Keys& keys, size_t layers) {
  const std::string key = keys.prefix + "attention.sliding_window_pattern";
  LAPIDARY_TRY(const auto pattern, keys.gguf.integers(key, 0, 1024));
  const auto stored = keys.gguf.metadata().find(key);
  std::vector<AttentionKind> kinds;
  if (pattern && std::holds_alternative<std::shared_ptr<const GgufArray>>(stored->second)) {
    if (pattern->size() != layers)
      return malformed("key " + key, fmt::format("{} values", layers), std::to_string(pattern->size()));
    for (const int64_t sliding : *pattern) kinds.push_back(sliding != 0 ? AttentionKind::sliding : AttentionKind::full);
    return kinds;
  }
  const int64_t period = pattern ? std::max<int64_t>(1, pattern->front()) : 6;
  for (size_t i = 0; i < layers; ++i)
    kinds.push_back((static_cast<int64_t>(i) + 1) % period == 0 ? AttentionKind::full : AttentionKind::sliding);
  return kinds;
}

// rope_freqs.weight holds what the frequencies of full layers are divided by; 1e30 stands for "does not rotate".
Result<void> apply_divisors(const Gguf& gguf, std::vector<float>& frequencies) {
  const StoredTensor* divisors = gguf.tensors().find("rope_freqs.weight");
  if (divisors == nullptr) return {};
  if (divisors->dtype != DType::f32 || divisors->bytes.size() != frequencies.size() * sizeof(float))
    return malformed("tensor rope_freqs.weight", fmt::format("{} values in F32", frequencies.size()),
                     fmt::format("{} bytes", divisors->bytes.size()));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    float divisor = 1;
    std::memcpy(&divisor, divisors->bytes.data() + i * sizeof(float), sizeof(float));
    if (!(divisor > 0)) return malformed("tensor rope_freqs.weight", "divisors above 0", fmt::format("{}", divisor));
    frequencies[i] = divisor > 1e20F ? 0.0F : frequencies[i] / divisor;
  }
  return {};
}

Result<void> read_ropes(const Keys& keys, bool gemma4, int32_t head_dim, int32_t head_dim_sliding,
                        ModelConfig& config) {
  LAPIDARY_TRY(const double base, keys.number_or("rope.freq_base", 1e6));
  LAPIDARY_TRY(const double base_sliding, keys.number_or("rope.freq_base_swa", 1e4));
  LAPIDARY_TRY(const auto scaling, keys.gguf.string(keys.prefix + "rope.scaling.type"));
  if (scaling && *scaling != "none" && *scaling != "linear")
    return fail(ErrorKind::unsupported, "key " + keys.prefix + "rope.scaling.type",
                fmt::format("\"{}\" is not supported, only linear scaling is", scaling->substr(0, 40)));
  LAPIDARY_TRY(const double factor, keys.number_or("rope.scaling.factor", 1));
  if (!(base > 0) || !(base_sliding > 0) || !(factor >= 0) || !std::isfinite(base) || !std::isfinite(base_sliding) ||
      !std::isfinite(factor))
    return malformed("rope keys", "bases and a factor above 0", fmt::format("{}, {}, {}", base, base_sliding, factor));
  config.rope_base_sliding = base_sliding;
  config.rope_base_full = base;
  config.rope_factor_full = factor > 0 ? factor : 1;
  const bool divisors = keys.gguf.tensors().find("rope_freqs.weight") != nullptr;
  const int32_t rotated = gemma4 && !divisors ? head_dim / 8 : head_dim / 2;
  config.rope_full = rope_frequencies(head_dim, rotated, base, factor > 0 ? factor : 1);
  config.rope_sliding = rope_frequencies(head_dim_sliding, head_dim_sliding / 2, base_sliding, 1);
  return apply_divisors(keys.gguf, config.rope_full);
}

Result<void> read_layers(const Keys& keys, bool gemma4, ModelConfig& config) {
  LAPIDARY_TRY(const int64_t count, keys.required("block_count", 1, 1024));
  const auto layers = static_cast<size_t>(count);
  LAPIDARY_TRY(const auto kinds, layer_kinds(keys, layers));
  LAPIDARY_TRY(const auto heads, keys.per_layer("attention.head_count", layers));
  LAPIDARY_TRY(const auto kv_heads, keys.per_layer("attention.head_count_kv", layers));
  LAPIDARY_TRY(const auto feed_forward, keys.per_layer("feed_forward_length", layers));
  if (heads.front() <= 0)
    return malformed("key " + keys.prefix + "attention.head_count", "at least one head", std::to_string(heads.front()));
  LAPIDARY_TRY(const int32_t head_dim, keys.integer_or("attention.key_length", config.hidden / heads.front(), 2, 4096));
  LAPIDARY_TRY(const int32_t value_dim, keys.integer_or("attention.value_length", head_dim, 2, 4096));
  LAPIDARY_TRY(const int32_t head_dim_sliding, keys.integer_or("attention.key_length_swa", head_dim, 2, 4096));
  LAPIDARY_TRY(const int32_t value_dim_sliding,
               keys.integer_or("attention.value_length_swa", head_dim_sliding, 2, 4096));
  if (value_dim != head_dim || value_dim_sliding != head_dim_sliding)
    return fail(ErrorKind::unsupported, "key " + keys.prefix + "attention.value_length",
                "values of another size than keys are not supported");
  for (size_t i = 0; i < layers; ++i) {
    const bool full = kinds[i] == AttentionKind::full;
    // No key says so: the full layers of K = V models are those without attn_v.
    const bool value_from_key =
        gemma4 && full && keys.gguf.tensors().find(fmt::format("blk.{}.attn_v.weight", i)) == nullptr;
    config.layers.push_back({kinds[i], static_cast<int32_t>(heads[i]), static_cast<int32_t>(kv_heads[i]),
                             full ? head_dim : head_dim_sliding, static_cast<int32_t>(feed_forward[i]),
                             value_from_key});
  }
  return read_ropes(keys, gemma4, head_dim, head_dim_sliding, config);
}

// Where each of `names` stands in the vocabulary, which is looked through once for all of them.
void find_tokens(const std::vector<std::string_view>& vocabulary,
                 const std::vector<std::pair<std::string_view, int32_t*>>& names) {
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    if (!vocabulary[i].starts_with('<')) continue;
    for (const auto& [name, id] : names)
      if (vocabulary[i] == name) *id = static_cast<int32_t>(i);
  }
}

// GGUF has keys for few special tokens. The others are found by their names.
Result<void> read_tokens(const Gguf& gguf, bool gemma4, ModelConfig& config) {
  LAPIDARY_TRY(const auto vocabulary, gguf.strings("tokenizer.ggml.tokens"));
  SpecialTokens& t = config.tokens;
  int32_t eos = -1, turn_end = -1, tool_response = -1;
  std::vector<std::pair<std::string_view, int32_t*>> names = {{"<bos>", &t.bos}, {"<pad>", &t.pad}, {"<eos>", &eos}};
  if (gemma4) {
    names.insert(names.end(), {{"<|image|>", &t.image},
                               {"<|image>", &t.image_begin},
                               {"<image|>", &t.image_end},
                               {"<|audio|>", &t.audio},
                               {"<|audio>", &t.audio_begin},
                               {"<audio|>", &t.audio_end},
                               {"<|video|>", &t.video},
                               {"<turn|>", &turn_end},
                               {"<|tool_response>", &tool_response}});
  } else {
    names.emplace_back("<end_of_turn>", &turn_end);
  }
  if (vocabulary) find_tokens(*vocabulary, names);
  const int64_t most = std::max<int64_t>(0, config.vocabulary - 1);
  std::vector<int32_t>& stops = config.generation.stop_tokens;
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    LAPIDARY_TRY(const auto id, gguf.integer(key, 0, most));
    if (id) stops.push_back(static_cast<int32_t>(*id));
  }
  for (const int32_t id : {eos, turn_end, tool_response})
    if (id >= 0) stops.push_back(id);
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  LAPIDARY_TRY(const auto bos, gguf.integer("tokenizer.ggml.bos_token_id", 0, most));
  if (bos) t.bos = static_cast<int32_t>(*bos);
  LAPIDARY_TRY(const auto suppressed, gguf.integers("tokenizer.ggml.suppress_tokens", 0, most));
  if (suppressed) config.generation.suppress_tokens.assign(suppressed->begin(), suppressed->end());
  suppress_media_tokens(config);
  return {};
}

Result<void> read_generation(const Gguf& gguf, ModelConfig& config) {
  GenerationDefaults& g = config.generation;
  LAPIDARY_TRY(const auto temperature, gguf.number("general.sampling.temp"));
  LAPIDARY_TRY(const auto top_k, gguf.integer("general.sampling.top_k", 0, many));
  LAPIDARY_TRY(const auto top_p, gguf.number("general.sampling.top_p"));
  LAPIDARY_TRY(const auto min_p, gguf.number("general.sampling.min_p"));
  // Files without these keys get the family's published defaults.
  g.sample = true;
  g.temperature = temperature.value_or(1.0);
  g.top_k = static_cast<int32_t>(top_k.value_or(64));
  g.top_p = top_p.value_or(0.95);
  g.min_p = min_p.value_or(0.0);
  return {};
}

// One medium's part of a projector file: "vision" or "audio".
struct ProjectorPart {
  const Gguf& gguf;
  std::string medium;

  std::string key(const char* name) const { return fmt::format("clip.{}.{}", medium, name); }

  Result<bool> there() const {
    LAPIDARY_TRY(const auto value, gguf.boolean(fmt::format("clip.has_{}_encoder", medium)));
    return value.value_or(false);
  }
  // That it is of the one kind that is built, and ends in the model's width.
  Result<void> check(std::string_view built, int32_t hidden) const {
    LAPIDARY_TRY(const auto own, gguf.string(key("projector_type")));
    LAPIDARY_TRY(const auto common, gguf.string("clip.projector_type"));
    const std::string type = own.value_or(common.value_or(""));
    if (type != built)
      return fail(ErrorKind::unsupported, "projector",
                  fmt::format("{} projector \"{}\"; this program runs {}", medium, type.substr(0, 40), built));
    LAPIDARY_TRY(const auto width, gguf.integer(key("projection_dim"), 0, many));
    if (width && *width != hidden)
      return malformed("projector: key " + key("projection_dim"), fmt::format("{}, the model's hidden size", hidden),
                       std::to_string(*width));
    return {};
  }
  Result<float> epsilon() const {
    LAPIDARY_TRY(const auto value, gguf.number(key("attention.layer_norm_epsilon")));
    return static_cast<float>(value.value_or(1e-6));
  }
};

Result<VisionConfig> read_vision(const ProjectorPart& part) {
  VisionConfig v;
  const StoredTensor* positions = part.gguf.tensors().find("v.position_embd.weight");
  const StoredTensor* patch = part.gguf.tensors().find("v.patch_embd.weight");
  if (positions == nullptr || positions->shape.size() != 3)
    return malformed("projector: tensor v.position_embd.weight", "[2, positions, embed]", "none of that shape");
  if (patch == nullptr || patch->shape.size() != 2)
    return malformed("projector: tensor v.patch_embd.weight", "[embed, patch]", "none of that shape");
  v.positions_max = static_cast<int32_t>(std::min<int64_t>(positions->shape[1], many));
  v.embed_dim = static_cast<int32_t>(std::min<int64_t>(patch->shape[0], many));
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(patch->shape[1]) / 3)));
  if (side * side * 3 != patch->shape[1])
    return malformed("projector: tensor v.patch_embd.weight", "square patches of three channels",
                     fmt::format("{} columns", patch->shape[1]));
  v.patch_pixels = static_cast<int32_t>(side);
  LAPIDARY_TRY(v.norm_eps, part.epsilon());
  return v;
}

// Block and head counts are not looked at: an embedder has none of either, and files say 0.
Result<void> read_projector(const Gguf& projector, ModelConfig& config) {
  const ProjectorPart vision{projector, "vision"}, audio{projector, "audio"};
  LAPIDARY_TRY(const bool has_vision, vision.there());
  LAPIDARY_TRY(const bool has_audio, audio.there());
  if (has_vision) {
    LAPIDARY_CHECK(vision.check("gemma4uv", config.hidden));
    LAPIDARY_TRY(config.vision, read_vision(vision));
  }
  if (has_audio) {
    LAPIDARY_CHECK(audio.check("gemma4ua", config.hidden));
    AudioConfig a;
    LAPIDARY_TRY(const auto frame, projector.integer("clip.audio.num_mel_bins", 1, 1 << 20));  // a field put to new use
    a.frame_samples = static_cast<int32_t>(frame.value_or(640));
    LAPIDARY_TRY(a.norm_eps, audio.epsilon());
    config.audio = a;
  }
  if (has_vision || has_audio) return {};
  LAPIDARY_TRY(const auto architecture, projector.string("general.architecture"));
  return fail(ErrorKind::refused, "projector",
              fmt::format("it has neither a vision nor an audio part (its architecture is \"{}\")",
                          architecture.value_or("").substr(0, 40)));
}

// Gemma 3's scores are divided by the root of query_pre_attn_scalar, which GGUF files do not have: it is the head size,
// but for the 27B, which is known by its 62 layers, the hidden size of one head.
Result<float> attention_scale(const Keys& keys, const ModelConfig& config) {
  const LayerConfig& first = config.layers[0];
  const int32_t scalar =
      config.layers.size() == 62 && first.query_heads > 0 ? config.hidden / first.query_heads : first.head_dim;
  LAPIDARY_TRY(const double scale, keys.number_or("attention.scale", 1.0 / std::sqrt(std::max(1, scalar))));
  return static_cast<float>(scale);
}

// As converters have written it over time.
constexpr std::string_view drafter_architectures[] = {"gemma4-assistant", "gemma4_assistant", "gemma4_mtp"};

// The width and the count of the embeddings.
Result<void> read_widths(const Keys& keys, ModelConfig& config) {
  LAPIDARY_TRY(const int64_t hidden, keys.required("embedding_length", 1, 1 << 16));
  config.hidden = static_cast<int32_t>(hidden);
  const StoredTensor* embedding = keys.gguf.tensors().find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    return malformed("tensor token_embd.weight", "[vocabulary, hidden]", "none of that shape");
  if (embedding->shape[0] > many)
    return malformed("tensor token_embd.weight", "a vocabulary below 2^28", std::to_string(embedding->shape[0]));
  config.vocabulary = static_cast<int32_t>(embedding->shape[0]);
  return {};
}

}  // namespace

bool is_drafter(const Gguf& file) {
  const auto architecture = file.string("general.architecture");
  return architecture &&
         std::ranges::find(drafter_architectures, architecture->value_or("")) != std::end(drafter_architectures);
}

Result<DrafterConfig> read_drafter_config(const Gguf& file) {
  LAPIDARY_TRY(const auto architecture, file.string("general.architecture"));
  if (!is_drafter(file))
    return fail(ErrorKind::unsupported, "key general.architecture",
                fmt::format("\"{}\"; of drafters, this program runs {}", architecture.value_or("").substr(0, 40),
                            drafter_architectures[0]));
  const Keys keys{file, *architecture + "."};
  if (file.tensors().find("masked_embedding.centroids.weight") != nullptr ||
      file.tensors().find("nextn.centroids.weight") != nullptr)
    return fail(ErrorKind::unsupported, "drafter", "a head by clusters (E2B, E4B) is not built yet");
  DrafterConfig config;
  ModelConfig& layers = config.layers;
  layers.architecture = "gemma4";
  LAPIDARY_CHECK(read_widths(keys, layers));
  LAPIDARY_TRY(const int64_t out, keys.required("embedding_length_out", 1, 1 << 16));
  config.model_hidden = static_cast<int32_t>(out);
  LAPIDARY_TRY(layers.context_max, keys.required("context_length", 1, many));
  LAPIDARY_TRY(layers.window, keys.integer_or("attention.sliding_window", 1024, 1, 1 << 24));
  LAPIDARY_TRY(const double eps, keys.number_or("attention.layer_norm_rms_epsilon", 1e-6));
  layers.norm_eps = static_cast<float>(eps);
  LAPIDARY_CHECK(read_layers(keys, true, layers));
  LAPIDARY_CHECK(check_config(layers, "metadata"));
  return config;
}

Result<ModelConfig> read_config(const Gguf& model, const Gguf* projector) {
  LAPIDARY_TRY(const auto architecture, model.string("general.architecture"));
  if (is_drafter(model))
    return fail(ErrorKind::refused, "key general.architecture",
                "this is a drafter, which belongs to a model: name the model's file instead");
  if (architecture != "gemma4" && architecture != "gemma3")
    return fail(ErrorKind::unsupported, "key general.architecture",
                fmt::format("\"{}\"; this program runs gemma4 and gemma3", architecture.value_or("").substr(0, 40)));
  const bool gemma4 = architecture == "gemma4";
  const Keys keys{model, *architecture + "."};
  LAPIDARY_CHECK(refuse_unbuilt(keys));

  ModelConfig config;
  config.architecture = *architecture;
  LAPIDARY_TRY(const auto name, model.string("general.name"));
  LAPIDARY_TRY(const auto licence, model.string("general.license"));
  config.name = name.value_or("");
  config.licence = licence.value_or("");
  LAPIDARY_CHECK(read_widths(keys, config));
  LAPIDARY_TRY(config.context_max, keys.required("context_length", 1, many));
  LAPIDARY_TRY(config.window, keys.integer_or("attention.sliding_window", gemma4 ? 1024 : 512, 1, 1 << 24));
  LAPIDARY_TRY(const double eps, keys.number_or("attention.layer_norm_rms_epsilon", 1e-6));
  LAPIDARY_TRY(const double softcap, keys.number_or("final_logit_softcapping", 0));
  config.norm_eps = static_cast<float>(eps);
  config.logit_softcap = static_cast<float>(softcap);
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  LAPIDARY_CHECK(read_layers(keys, gemma4, config));
  if (!gemma4) {
    LAPIDARY_TRY(config.attention_scale, attention_scale(keys, config));
  }
  // No key says it; E2B and E4B, where it is off, are told by their per-layer embeddings and refused above.
  config.image_bidirectional = gemma4;
  LAPIDARY_CHECK(read_tokens(model, gemma4, config));
  LAPIDARY_CHECK(read_generation(model, config));
  if (projector != nullptr) LAPIDARY_CHECK(read_projector(*projector, config));
  LAPIDARY_CHECK(check_config(config, "metadata"));
  return config;
}

}  // namespace lapidary
