#include "quantize/gguf_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/json.h"
#include "base/mapped_file.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t tokenizer_bytes_max = 128 << 20, template_bytes_max = 4 << 20;

enum TokenType : int32_t { type_normal = 1, type_control = 3, type_user_defined = 4, type_unused = 5, type_byte = 6 };

// Special tokens that programs want to see in a reply, as they take it apart by them.
constexpr std::array<std::string_view, 7> visible_tokens = {
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"};

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> beginnings) {
  return std::ranges::any_of(beginnings, [&](std::string_view beginning) { return text.starts_with(beginning); });
}

// One value for all layers, or the list of them.
template <typename Get>
void per_layer(const ModelConfig& config, const std::string& key, const Get& get, GgufWriter& out) {
  std::vector<int32_t> values;
  values.reserve(config.layers.size());
  for (const LayerConfig& layer : config.layers) values.push_back(get(layer));
  if (std::ranges::all_of(values, [&](int32_t value) { return value == values.front(); }))
    out.number(key, static_cast<uint32_t>(values.front()));
  else
    out.integers(key, values);
}

const LayerConfig* first_of(const ModelConfig& config, AttentionKind kind) {
  const auto found = std::ranges::find_if(config.layers, [&](const LayerConfig& layer) { return layer.kind == kind; });
  return found == config.layers.end() ? nullptr : &*found;
}

void add_generation_keys(const GenerationDefaults& generation, GgufWriter& out) {
  out.real("general.sampling.temp", generation.sample ? static_cast<float>(generation.temperature) : 0.0F);
  out.integer("general.sampling.top_k", generation.top_k);
  out.real("general.sampling.top_p", static_cast<float>(generation.top_p));
  if (generation.min_p > 0) out.real("general.sampling.min_p", static_cast<float>(generation.min_p));
}

void add_rope_keys(const ModelConfig& config, const std::string& prefix, bool gemma4, GgufWriter& out) {
  out.real(prefix + "rope.freq_base", static_cast<float>(config.rope_base_full));
  out.real(prefix + "rope.freq_base_swa", static_cast<float>(config.rope_base_sliding));
  if (!gemma4 && config.rope_factor_full != 1) {
    out.text(prefix + "rope.scaling.type", "linear");
    out.real(prefix + "rope.scaling.factor", static_cast<float>(config.rope_factor_full));
  }
}

// The tokens of a tokenizer.json by id; ids that it leaves out are unused.
Result<std::vector<std::string>> read_tokens(const Json& json, const std::string& where, int32_t vocabulary) {
  std::vector<std::string> tokens(static_cast<size_t>(vocabulary));
  const auto set = [&](const std::string& text, const Json& id) -> Result<void> {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocabulary)
      return malformed(where, fmt::format("ids below {}", vocabulary), dump(id).substr(0, 40));
    tokens[id.get<size_t>()] = text;
    return {};
  };
  for (const auto& [text, id] : json.at("model").at("vocab").items()) LAPIDARY_CHECK(set(text, id));
  if (const auto added = json.find("added_tokens"); added != json.end() && added->is_array())
    for (const Json& token : *added)
      if (token.is_object() && token.contains("id") && token.contains("content") && token["content"].is_string())
        LAPIDARY_CHECK(set(token["content"].get<std::string>(), token["id"]));
  for (size_t id = 0; id < tokens.size(); ++id)
    if (tokens[id].empty()) tokens[id] = fmt::format("[PAD{}]", id);
  return tokens;
}

Result<std::vector<std::string>> read_merges(const Json& json, const std::string& where) {
  std::vector<std::string> merges;
  for (const Json& merge : json.at("model").at("merges")) {
    if (merge.is_string()) {
      merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.push_back(merge[0].get_ref<const std::string&>() + " " + merge[1].get_ref<const std::string&>());
    } else {
      return malformed(where, "merges of two pieces", dump(merge).substr(0, 60));
    }
  }
  return merges;
}

TokenType type_of(TokenKind kind, std::string_view text) {
  switch (kind) {
    case TokenKind::byte:
      return type_byte;
    case TokenKind::visible:
      return type_user_defined;
    case TokenKind::control:
    case TokenKind::unknown:
      return std::ranges::find(visible_tokens, text) != visible_tokens.end() ? type_user_defined : type_control;
    case TokenKind::unused:
      return type_unused;
    default:
      return type_normal;
  }
}

Result<std::optional<std::string>> read_chat_template(const HuggingFaceFolder& folder, const fs::path& beside) {
  std::error_code error;
  if (const fs::path file = beside / "chat_template.jinja"; fs::exists(file, error))
    return read_file(file.string(), template_bytes_max);
  if (folder.tokenizer_config) {
    const auto found = folder.tokenizer_config->find("chat_template");
    if (found != folder.tokenizer_config->end() && found->is_string()) return found->get<std::string>();
  }
  return std::optional<std::string>();
}

// What ends a turn is what llama.cpp calls the end of the sequence.
int32_t end_token(const Tokenizer& tokenizer, const ModelConfig& config) {
  const std::vector<int32_t>& stops = config.generation.stop_tokens;
  for (const char* name : {"<turn|>", "<end_of_turn>"}) {
    const int32_t id = tokenizer.find(name);
    if (id >= 0 && std::ranges::find(stops, id) != stops.end()) return id;
  }
  return stops.empty() ? tokenizer.find("<eos>") : stops.front();
}

}  // namespace

Result<void> copy_keys(std::span<const std::byte> gguf, GgufWriter& out) {
  LAPIDARY_TRY(const auto keys, gguf_raw_keys(gguf));
  for (const GgufRawKey& key : keys)
    if (!starts_with_any(
            key.key, {"split.", "quantize.", "general.file_type", "general.quantization_version", "general.alignment"}))
      out.copy(key);
  return {};
}

Result<void> add_model_keys(const ModelConfig& config, GgufWriter& out) {
  const bool gemma4 = config.architecture == "gemma4";
  const std::string prefix = config.architecture + ".";
  const LayerConfig* full = first_of(config, AttentionKind::full);
  const LayerConfig* sliding = first_of(config, AttentionKind::sliding);
  if (full == nullptr) full = sliding;
  out.text("general.architecture", config.architecture);
  out.text("general.type", "model");
  out.text("general.name", config.name);
  if (!config.licence.empty()) out.text("general.license", config.licence);
  add_generation_keys(config.generation, out);
  out.number(prefix + "block_count", static_cast<uint32_t>(config.layers.size()));
  out.number(prefix + "context_length", static_cast<uint32_t>(config.context_max));
  out.number(prefix + "embedding_length", static_cast<uint32_t>(config.hidden));
  per_layer(config, prefix + "feed_forward_length", [](const LayerConfig& layer) { return layer.feed_forward; }, out);
  per_layer(config, prefix + "attention.head_count", [](const LayerConfig& layer) { return layer.query_heads; }, out);
  per_layer(config, prefix + "attention.head_count_kv", [](const LayerConfig& layer) { return layer.kv_heads; }, out);
  out.real(prefix + "attention.layer_norm_rms_epsilon", config.norm_eps);
  out.number(prefix + "attention.sliding_window", static_cast<uint32_t>(config.window));
  out.number(prefix + "attention.key_length", static_cast<uint32_t>(full->head_dim));
  out.number(prefix + "attention.value_length", static_cast<uint32_t>(full->head_dim));
  std::vector<bool> pattern;
  pattern.reserve(config.layers.size());
  for (const LayerConfig& layer : config.layers) pattern.push_back(layer.kind == AttentionKind::sliding);
  out.truths(prefix + "attention.sliding_window_pattern", pattern);
  add_rope_keys(config, prefix, gemma4, out);
  if (config.logit_softcap > 0) out.real(prefix + "final_logit_softcapping", config.logit_softcap);
  if (!gemma4) {
    out.real(prefix + "attention.scale", config.attention_scale);
    return {};
  }
  const auto head_dim_sliding = static_cast<uint32_t>((sliding != nullptr ? sliding : full)->head_dim);
  out.number(prefix + "attention.key_length_swa", head_dim_sliding);
  out.number(prefix + "attention.value_length_swa", head_dim_sliding);
  out.number(prefix + "rope.dimension_count", static_cast<uint32_t>(full->head_dim));
  out.number(prefix + "rope.dimension_count_swa", head_dim_sliding);
  out.number(prefix + "attention.shared_kv_layers", 0);
  out.number(prefix + "embedding_length_per_layer_input", 0);
  return {};
}

Result<void> add_tokenizer_keys(const HuggingFaceFolder& folder, const ModelConfig& config, GgufWriter& out) {
  const std::string& where = folder.tokenizer_path;
  if (where.empty()) return fail(ErrorKind::not_found, folder.path, "the folder has no tokenizer.json");
  LAPIDARY_TRY(const Tokenizer tokenizer, Tokenizer::from_json_file(where));  // has checked what is read below
  std::vector<std::string> tokens, merges;
  {
    LAPIDARY_TRY(const std::string text, read_file(where, tokenizer_bytes_max));
    LAPIDARY_TRY(const Json json, parse_json(text, where, {.values_max = 16'000'000}));
    LAPIDARY_TRY(tokens, read_tokens(json, where, config.vocabulary));
    LAPIDARY_TRY(merges, read_merges(json, where));
  }
  std::vector<int32_t> types;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const auto own = static_cast<int32_t>(id);
    types.push_back(own < tokenizer.size() ? type_of(tokenizer.kind(own), tokens[id]) : type_unused);
  }
  out.text("tokenizer.ggml.model", "gemma4");
  out.texts("tokenizer.ggml.tokens", tokens);
  out.reals("tokenizer.ggml.scores", std::vector<float>(tokens.size(), -1000.0F));
  out.integers("tokenizer.ggml.token_type", types);
  out.texts("tokenizer.ggml.merges", merges);
  const std::array<std::pair<const char*, int32_t>, 5> ids = {{{"bos", config.tokens.bos},
                                                               {"eos", end_token(tokenizer, config)},
                                                               {"unknown", tokenizer.find("<unk>")},
                                                               {"padding", config.tokens.pad},
                                                               {"mask", tokenizer.find("<mask>")}}};
  for (const auto& [name, id] : ids)
    if (id >= 0) out.number(fmt::format("tokenizer.ggml.{}_token_id", name), static_cast<uint32_t>(id));
  out.truth("tokenizer.ggml.add_space_prefix", false);
  out.truth("tokenizer.ggml.add_bos_token", true);
  if (!config.generation.suppress_tokens.empty())
    out.integers("tokenizer.ggml.suppress_tokens", config.generation.suppress_tokens);
  LAPIDARY_TRY(const auto chat_template, read_chat_template(folder, fs::path(where).parent_path()));
  if (chat_template) out.text("tokenizer.chat_template", *chat_template);
  return {};
}

void add_projector_keys(const ModelConfig& config, GgufWriter& out) {
  out.text("general.architecture", "clip");
  out.text("general.type", "mmproj");
  out.text("general.name", config.name);
  out.truth("clip.has_vision_encoder", config.vision.has_value());
  out.truth("clip.has_audio_encoder", config.audio.has_value());
  const auto add_sizes = [&](const std::string& medium, int32_t width, float epsilon) {
    out.number(medium + "embedding_length", static_cast<uint32_t>(width));
    out.number(medium + "projection_dim", static_cast<uint32_t>(config.hidden));
    out.real(medium + "attention.layer_norm_epsilon", epsilon);
    for (const char* none : {"feed_forward_length", "block_count", "attention.head_count"})
      out.number(medium + none, 0);
  };
  if (config.vision) {
    out.text("clip.vision.projector_type", "gemma4uv");
    out.number("clip.vision.image_size", 224);
    out.number("clip.vision.patch_size", static_cast<uint32_t>(config.vision->patch_pixels / 3));
    out.reals("clip.vision.image_mean", std::array<float, 3>{0, 0, 0});
    out.reals("clip.vision.image_std", std::array<float, 3>{1, 1, 1});
    add_sizes("clip.vision.", config.vision->embed_dim, config.vision->norm_eps);
  }
  if (config.audio) {
    out.text("clip.audio.projector_type", "gemma4ua");
    out.number("clip.audio.num_mel_bins", static_cast<uint32_t>(config.audio->frame_samples));
    add_sizes("clip.audio.", config.audio->frame_samples, config.audio->norm_eps);
  }
}

}  // namespace lapidary
