#include "model/config.h"

#include <doctest/doctest.h>

#include "model/weights.h"

namespace lapidary {
namespace {

const std::string golden = "tests/golden/";

HuggingFaceFolder folder_of(const std::string& path) {
  auto folder = HuggingFaceFolder::open(path);
  REQUIRE_MESSAGE(folder.has_value(), (folder ? "" : folder.error().text()));
  return std::move(*folder);
}

ModelConfig config_of(const HuggingFaceFolder& folder) {
  auto config = read_config(folder);
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().text()));
  return std::move(*config);
}

// The error of the unified model's config after `change`.
template <typename Change>
std::string refusal(const Change& change) {
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  change(folder.config);
  const auto config = read_config(folder);
  REQUIRE(!config.has_value());
  return config.error().text();
}

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

void check_same(const ModelConfig& a, const ModelConfig& b) {
  CHECK(a.architecture == b.architecture);
  CHECK(a.hidden == b.hidden);
  CHECK(a.vocabulary == b.vocabulary);
  CHECK(a.context_max == b.context_max);
  CHECK(a.window == b.window);
  CHECK(a.norm_eps == b.norm_eps);
  CHECK(a.embedding_scale == b.embedding_scale);
  CHECK(a.attention_scale == doctest::Approx(b.attention_scale));
  CHECK(a.logit_softcap == b.logit_softcap);
  CHECK(a.parameters == b.parameters);
  REQUIRE(a.layers.size() == b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    CHECK(a.layers[i].kind == b.layers[i].kind);
    CHECK(a.layers[i].query_heads == b.layers[i].query_heads);
    CHECK(a.layers[i].kv_heads == b.layers[i].kv_heads);
    CHECK(a.layers[i].head_dim == b.layers[i].head_dim);
    CHECK(a.layers[i].feed_forward == b.layers[i].feed_forward);
    CHECK(a.layers[i].value_from_key == b.layers[i].value_from_key);
  }
  CHECK(a.rope_sliding == b.rope_sliding);
  CHECK(a.rope_full == b.rope_full);
  CHECK(a.tokens.bos == b.tokens.bos);
  CHECK(a.generation.stop_tokens.size() == b.generation.stop_tokens.size());
  for (const int32_t id : a.generation.stop_tokens)
    CHECK(std::find(b.generation.stop_tokens.begin(), b.generation.stop_tokens.end(), id) !=
          b.generation.stop_tokens.end());
  CHECK(a.generation.suppress_tokens == b.generation.suppress_tokens);
  CHECK(a.generation.top_k == b.generation.top_k);
  CHECK(a.generation.top_p == doctest::Approx(b.generation.top_p));
}

}  // namespace

TEST_CASE("a checkpoint and its GGUF files give the same config, media included") {
  const ModelConfig unified = config_of(folder_of(golden + "unified/model"));
  const auto projector = Gguf::open(golden + "unified/model/gguf/mmproj.gguf");
  REQUIRE(projector.has_value());
  for (const char* file : {"model-bf16.gguf", "model-q4_0.gguf", "model-kmix.gguf"}) {
    const auto gguf = Gguf::open(golden + "unified/model/gguf/" + file);
    REQUIRE(gguf.has_value());
    const auto config = read_config(*gguf, &*projector);
    REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().text()));
    check_same(unified, *config);
    CHECK(config->image_bidirectional);
    CHECK(config->tokens.image == unified.tokens.image);
    CHECK(config->tokens.audio_end == unified.tokens.audio_end);
    REQUIRE(config->vision.has_value());
    CHECK(config->vision->patch_pixels == unified.vision->patch_pixels);
    CHECK(config->vision->embed_dim == unified.vision->embed_dim);
    CHECK(config->vision->positions_max == unified.vision->positions_max);
    CHECK(config->audio->frame_samples == unified.audio->frame_samples);
  }
  const auto dense = Gguf::open(golden + "dense/model/gguf/model-q8_0.gguf");
  check_same(config_of(folder_of(golden + "dense/model")), read_config(*dense, nullptr).value());
}

TEST_CASE("pitfalls 25 and 26: shapes are per layer: heads, head size and the source of V differ by kind") {
  const ModelConfig config = config_of(folder_of("models/spark"));
  REQUIRE(config.layers.size() == 6);
  CHECK(config.layers[0].kv_heads == 2);
  CHECK(config.layers[0].head_dim == 64);
  CHECK(!config.layers[0].value_from_key);
  CHECK(config.layers[5].kind == AttentionKind::full);
  CHECK(config.layers[5].kv_heads == 1);
  CHECK(config.layers[5].head_dim == 128);
  CHECK(config.layers[5].value_from_key);
  CHECK(config.parameters == 7'296'902);  // as the model card says
  // Proportional rotation: a quarter of the pairs, over the whole head's denominator.
  REQUIRE(config.rope_full.size() == 64);
  CHECK(config.rope_full[15] == doctest::Approx(std::pow(1e6, -30.0 / 128)));
  CHECK(config.rope_full[16] == 0.0F);
}

TEST_CASE("pitfall 24: the number of soft tokens may be missing") {
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  folder.config["vision_config"].erase("num_soft_tokens");
  folder.processor_config.reset();
  CHECK(config_of(folder).vision->default_soft_tokens == 280);
}

TEST_CASE("pitfall 34: every name of the architecture is recognised, flat or nested") {
  for (const char* type : {"gemma4_unified", "gemma4"}) {
    HuggingFaceFolder folder = folder_of(golden + "unified/model");
    folder.config["model_type"] = type;
    CHECK(config_of(folder).architecture == "gemma4");
  }
  for (const char* type : {"gemma4_unified_text", "gemma4_text"}) {
    HuggingFaceFolder folder = folder_of(golden + "unified/model");
    Json flat = folder.config["text_config"];
    flat["model_type"] = type;
    folder.config = flat;
    const ModelConfig config = config_of(folder);
    CHECK(config.architecture == "gemma4");
    CHECK(!config.vision.has_value());
  }
  CHECK(mentions(refusal([](Json& c) { c["model_type"] = "llama"; }), "llama"));
}

TEST_CASE("pitfall 8: an unknown projector is refused by name; pitfall 18: no blocks and no heads are fine") {
  const auto projector = Gguf::open(golden + "unified/model/gguf/mmproj.gguf");
  CHECK(projector->integer("clip.vision.block_count", 0, 100).value() == 0);
  CHECK(projector->integer("clip.vision.attention.head_count", 0, 100).value() == 0);
  const auto model = Gguf::open(golden + "unified/model/gguf/model-q4_0.gguf");
  CHECK(read_config(*model, &*projector).has_value());

  // The same bytes with another projector's name in the same length.
  std::string bytes = read_file(golden + "unified/model/gguf/mmproj.gguf", 1 << 24).value();
  bytes.replace(bytes.find("gemma4uv"), 8, "qwen9_vl");
  const auto other = Gguf::parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "other");
  REQUIRE(other.has_value());
  const auto refused = read_config(*model, &*other);
  REQUIRE(!refused.has_value());
  CHECK(mentions(refused.error().text(), "qwen9_vl"));

  const auto wrong_width = read_config(*Gguf::open(golden + "dense/model/gguf/model-q8_0.gguf"), &*projector);
  REQUIRE(!wrong_width.has_value());
  CHECK(mentions(wrong_width.error().text(), "hidden size"));
}

TEST_CASE("advisory 10: zero heads, zero sizes and numbers out of range are errors that name the key") {
  for (const char* key : {"num_attention_heads", "num_key_value_heads", "head_dim", "hidden_size", "intermediate_size",
                          "num_hidden_layers", "vocab_size", "max_position_embeddings", "sliding_window"})
    for (const auto& value : {Json(0), Json(-1), Json(INT64_MAX), Json(1.5), Json("8")}) {
      CAPTURE(key);
      CAPTURE(value.dump());
      CHECK(!refusal([&](Json& c) { c["text_config"][key] = value; }).empty());
    }
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["num_attention_heads"] = 0; }), "num_attention_heads"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"].erase("num_hidden_layers"); }), "num_hidden_layers"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["num_key_value_heads"] = 3; }), "whole groups"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["head_dim"] = 33; }), "even head size"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["rms_norm_eps"] = 0; }), "epsilon"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["layer_types"][0] = "linear"; }), "layer_types"));
  CHECK(mentions(refusal([](Json& c) { c["image_token_id"] = 1 << 20; }), "token ids"));
}

TEST_CASE("parts of the family that are not built are refused by name") {
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["hidden_size_per_layer_input"] = 256; }),
                 "per-layer embeddings"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["num_kv_shared_layers"] = 4; }), "share their KV"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["enable_moe_block"] = true; }), "experts"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["hidden_activation"] = "silu"; }), "silu"));
}

TEST_CASE("a vision tower leaves a text model; pitfall 35: media markers are never sampled") {
  const ModelConfig dense = config_of(folder_of(golden + "dense/model"));
  CHECK(!dense.vision.has_value());
  const ModelConfig unified = config_of(folder_of(golden + "unified/model"));
  for (const int32_t id :
       {unified.tokens.image, unified.tokens.image_begin, unified.tokens.image_end, unified.tokens.audio,
        unified.tokens.audio_begin, unified.tokens.audio_end, unified.tokens.video}) {
    CHECK(id >= 0);
    CHECK(std::count(unified.generation.suppress_tokens.begin(), unified.generation.suppress_tokens.end(), id) == 1);
  }
}

TEST_CASE("Gemma 3: both forms of its config agree; scores are scaled; a GGUF file says the same") {
  HuggingFaceFolder folder = folder_of(golden + "gemma3/model");
  const ModelConfig config = config_of(folder);
  CHECK(config.architecture == "gemma3");
  CHECK(config.attention_scale != 1.0F);
  const auto gguf = Gguf::open(golden + "gemma3/model/gguf/model-q8_0.gguf");
  const ModelConfig other = read_config(*gguf, nullptr).value();
  CHECK(other.rope_full == config.rope_full);
  CHECK(other.attention_scale == doctest::Approx(config.attention_scale));
  REQUIRE(other.layers.size() == config.layers.size());
  for (size_t i = 0; i < config.layers.size(); ++i) CHECK(other.layers[i].kind == config.layers[i].kind);
}

TEST_CASE("weights: a missing tensor or a wrong shape is named with what was expected") {
  HuggingFaceFolder folder = folder_of("models/spark");
  const ModelConfig config = config_of(folder);
  CHECK(bind_weights(folder, config).has_value());
  const std::string name = "model.language_model.layers.3.mlp.up_proj.weight";
  REQUIRE(folder.tensors.tensors.contains(name));
  StoredTensor& tensor = folder.tensors.tensors[name];
  std::swap(tensor.shape[0], tensor.shape[1]);
  const auto turned = bind_weights(folder, config);
  REQUIRE(!turned.has_value());
  CHECK(mentions(turned.error().text(), name));
  CHECK(mentions(turned.error().text(), "[768, 256]"));
  folder.tensors.tensors.erase(name);
  CHECK(mentions(bind_weights(folder, config).error().text(), "none of that name"));
}

}  // namespace lapidary
