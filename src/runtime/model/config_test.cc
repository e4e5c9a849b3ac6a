#include "model/config.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "formats/gguf_builder_test.h"

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

// A model of two layers, of which the second is full and has K = V. `change` replaces numbers (UINT32_MAX: no such
// key), `more` adds to it.
Result<ModelConfig> config_of_small(const std::map<std::string, uint32_t>& change = {},
                                    const std::function<void(GgufBuilder&)>& more = {},
                                    const std::string& architecture = "gemma4") {
  std::map<std::string, uint32_t> numbers = {{"block_count", 2},
                                             {"context_length", 1024},
                                             {"embedding_length", 8},
                                             {"feed_forward_length", 16},
                                             {"attention.head_count", 2},
                                             {"attention.head_count_kv", 1},
                                             {"attention.key_length", 16},
                                             {"attention.key_length_swa", 4},
                                             {"attention.sliding_window", 32},
                                             {"attention.sliding_window_pattern", 2}};
  for (const auto& [key, value] : change) numbers[key] = value;
  GgufBuilder builder;
  builder.text("general.architecture", architecture);
  for (const auto& [key, value] : numbers)
    if (value != UINT32_MAX) builder.number(architecture + "." + key, value);
  builder.tensor("token_embd.weight", {8, 16}, 0, 0).tensor("blk.0.attn_v.weight", {8, 4}, 0, 512).data(1024);
  if (more) more(builder);
  const std::string bytes = builder.bytes();
  LAPIDARY_TRY(const Gguf gguf, Gguf::parse(as_bytes(bytes), "small"));
  return read_config(gguf, nullptr);
}

std::string refusal_of_small(const std::map<std::string, uint32_t>& change,
                             const std::function<void(GgufBuilder&)>& more = {},
                             const std::string& architecture = "gemma4") {
  const auto config = config_of_small(change, more, architecture);
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

TEST_CASE("the 12B's numbers give the 12B's parameters") {
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  Json& text = folder.config["text_config"];
  text.update({{"vocab_size", 262'144},
               {"hidden_size", 3840},
               {"intermediate_size", 15'360},
               {"num_hidden_layers", 48},
               {"num_attention_heads", 16},
               {"num_key_value_heads", 8},
               {"head_dim", 256},
               {"global_head_dim", 512}});
  text.erase("layer_types");  // five sliding, one full, as by default
  folder.config["vision_config"].update({{"mm_embed_dim", 3840}, {"mm_posemb_size", 1120}});
  const ModelConfig config = config_of(folder);
  CHECK(config.parameters == 11'959'730'224);
  CHECK(std::count_if(config.layers.begin(), config.layers.end(),
                      [](const LayerConfig& layer) { return layer.kind == AttentionKind::full; }) == 8);
  CHECK(config.layers[47].kind == AttentionKind::full);
  CHECK(std::count(config.rope_full.begin(), config.rope_full.end(), 0.0F) == 192);
}

TEST_CASE("a checkpoint saved anew by current transformers gives the same config") {
  // They write what single layers have otherwise instead of the keys of full layers.
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  const ModelConfig before = config_of(folder);
  Json& text = folder.config["text_config"];
  text.erase("global_head_dim");
  text.erase("num_global_key_value_heads");
  text["per_layer_config"] = {{"5", {{"head_dim", 64}, {"num_key_value_heads", 1}}},
                              {"8", {{"head_dim", 64}, {"num_key_value_heads", 1}}}};
  check_same(before, config_of(folder));
  const auto refused = [&](const char* layer, const Json& values, const char* part) {
    HuggingFaceFolder changed = folder;
    changed.config["text_config"]["per_layer_config"][layer] = values;
    const auto config = read_config(changed);
    REQUIRE(!config.has_value());
    CHECK(mentions(config.error().text(), part));
  };
  refused("9", {{"head_dim", 64}}, "one of 9 layers");
  refused("-1", {{"head_dim", 64}}, "one of 9 layers");
  refused("5x", {{"head_dim", 64}}, "one of 9 layers");
  refused("5", 64, "one of 9 layers");
  refused("5", {{"head_dim", 62}}, "one head size");
  refused("5", {{"head_dim", 0}}, "head_dim");
  refused("5", {{"attention_bias", true}}, "attention_bias");
}

TEST_CASE("keys of full layers that are absent or null mean what they mean in the official code") {
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  Json& text = folder.config["text_config"];
  text["num_global_key_value_heads"] = nullptr;
  CHECK(config_of(folder).layers[5].kv_heads == 2);
  text["num_global_key_value_heads"] = 1;
  text["attention_k_eq_v"] = false;  // only K = V layers have KV heads of their own number
  CHECK(config_of(folder).layers[5].kv_heads == 2);
  text["global_head_dim"] = nullptr;
  CHECK(config_of(folder).layers[5].head_dim == 32);
  text.erase("global_head_dim");
  CHECK(config_of(folder).layers[5].head_dim == 512);
  text["layer_types"][8] = "sliding_attention";  // the last layer is full whatever this says
  CHECK(config_of(folder).layers[8].kind == AttentionKind::full);
  text["final_logit_softcapping"] = nullptr;
  CHECK(config_of(folder).logit_softcap == 0);
}

TEST_CASE("which models see pictures in both directions") {
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  Json& text = folder.config["text_config"];
  CHECK(config_of(folder).image_bidirectional);
  text.erase("use_bidirectional_attention");
  CHECK(config_of(folder).image_bidirectional);  // as by default in the unified model
  folder.config["model_type"] = "gemma4";
  CHECK(!config_of(folder).image_bidirectional);
  text["use_bidirectional_attention"] = nullptr;
  folder.config["model_type"] = "gemma4_unified";
  CHECK(!config_of(folder).image_bidirectional);
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["use_bidirectional_attention"] = "all"; }), "encoders"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["use_bidirectional_attention"] = 7; }), "encoders"));
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
  // What lies beside the config overrides it: the processor's number, then that of its section for images.
  folder.processor_config = Json{{"image_seq_length", 70}};
  CHECK(config_of(folder).vision->default_soft_tokens == 70);
  (*folder.processor_config)["image_processor"] = {{"max_soft_tokens", 140}};
  CHECK(config_of(folder).vision->default_soft_tokens == 140);
  folder.processor_config = Json{{"max_soft_tokens", 560}};  // preprocessor_config.json
  CHECK(config_of(folder).vision->default_soft_tokens == 560);
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

  const auto no_projector = read_config(*model, &*model);
  REQUIRE(!no_projector.has_value());
  CHECK(mentions(no_projector.error().text(), "neither a vision nor an audio part"));

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

TEST_CASE("advisory 10: the same in GGUF files, missing keys included") {
  REQUIRE(config_of_small().has_value());
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "attention.key_length", "attention.key_length_swa", "attention.sliding_window"})
    for (const uint32_t value : {0U, 1U << 31, UINT32_MAX - 1}) {
      CAPTURE(key);
      CAPTURE(value);
      CHECK(!config_of_small({{key, value}}).has_value());
    }
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.head_count_kv"})
    CHECK(mentions(refusal_of_small({{key, UINT32_MAX}}), key));
  CHECK(mentions(refusal_of_small({{"attention.head_count", 0}}), "at least one head"));
  CHECK(mentions(refusal_of_small({{"attention.head_count_kv", 0}}), "KV heads"));
  CHECK(mentions(refusal_of_small({{"attention.key_length", 15}}), "even head size"));
  CHECK(mentions(refusal_of_small({{"attention.value_length", 8}}), "values of another size"));
  CHECK(mentions(refusal_of_small({{"final_logit_softcapping", UINT32_MAX - 1}}), "softcap"));
  const auto array_of = [](const char* key, const std::vector<int32_t>& values) {
    return [=](GgufBuilder& builder) { builder.numbers(std::string("gemma4.") + key, values); };
  };
  CHECK(mentions(
      refusal_of_small({{"attention.head_count_kv", UINT32_MAX}}, array_of("attention.head_count_kv", {1, 1, 1})),
      "2 values"));
  CHECK(mentions(refusal_of_small({{"attention.sliding_window_pattern", UINT32_MAX}},
                                  array_of("attention.sliding_window_pattern", {1})),
                 "2 values"));
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"})
    CHECK(mentions(refusal_of_small({}, [&](GgufBuilder& b) { b.number(key, 16); }), key));
  CHECK(mentions(refusal_of_small({}, [](GgufBuilder& b) { b.numbers("tokenizer.ggml.suppress_tokens", {3, -1}); }),
                 "suppress_tokens"));
}

TEST_CASE("GGUF keys may hold one number or one for each layer") {
  const auto periodic = config_of_small();
  REQUIRE(periodic.has_value());
  CHECK(periodic->layers[0].kind == AttentionKind::sliding);
  CHECK(periodic->layers[0].head_dim == 4);
  CHECK(!periodic->layers[0].value_from_key);
  CHECK(periodic->layers[1].kind == AttentionKind::full);
  CHECK(periodic->layers[1].head_dim == 16);
  CHECK(periodic->layers[1].value_from_key);
  const auto single = config_of_small({{"attention.sliding_window_pattern", UINT32_MAX},
                                       {"attention.head_count_kv", UINT32_MAX},
                                       {"feed_forward_length", UINT32_MAX}},
                                      [](GgufBuilder& b) {
                                        b.numbers("gemma4.attention.sliding_window_pattern", {1, 0})
                                            .numbers("gemma4.attention.head_count_kv", {2, 1})
                                            .numbers("gemma4.feed_forward_length", {16, 32});
                                      });
  REQUIRE_MESSAGE(single.has_value(), (single ? "" : single.error().text()));
  CHECK(single->layers[0].kind == AttentionKind::sliding);
  CHECK(single->layers[1].kind == AttentionKind::full);
  CHECK(single->layers[0].kv_heads == 2);
  CHECK(single->layers[1].feed_forward == 32);
}

TEST_CASE("rotation of full layers in GGUF files: divisors where there are some, else a quarter of the pairs") {
  const auto plain = config_of_small();
  REQUIRE(plain->rope_full.size() == 8);
  CHECK(plain->rope_full[1] == doctest::Approx(std::pow(1e6, -2.0 / 16)));
  CHECK(plain->rope_full[2] == 0.0F);
  const auto with_divisors = [](uint64_t size) {
    return [=](GgufBuilder& b) { b.tensor("rope_freqs.weight", {size}, 0, 640); };
  };
  // Data of the small model are zeros, which divide nothing.
  CHECK(mentions(refusal_of_small({}, with_divisors(8)), "divisors above 0"));
  CHECK(mentions(refusal_of_small({}, with_divisors(4)), "8 values"));
  CHECK(mentions(refusal_of_small({}, [](GgufBuilder& b) { b.text("gemma4.rope.scaling.type", "yarn"); }), "yarn"));
  CHECK(mentions(refusal_of_small({}, [](GgufBuilder& b) { b.real("gemma4.rope.freq_base", -1); }), "above 0"));
  const auto scaled = config_of_small(
      {}, [](GgufBuilder& b) { b.text("gemma3.rope.scaling.type", "linear").real("gemma3.rope.scaling.factor", 8); },
      "gemma3");
  CHECK(scaled->rope_full[0] == 1.0F / 8);
  CHECK(scaled->rope_full[7] > 0);
  CHECK(scaled->rope_sliding[0] == 1.0F);
}

TEST_CASE("Gemma 3's scores are divided by the root of the head size, in the 27B by another") {
  CHECK(config_of_small({}, {}, "gemma3")->attention_scale == doctest::Approx(1 / std::sqrt(4.0)));
  // 62 layers with heads of 16 in a hidden size of 8 per two heads.
  CHECK(config_of_small({{"block_count", 62}}, {}, "gemma3")->attention_scale == doctest::Approx(1 / std::sqrt(4.0)));
  CHECK(config_of_small({{"block_count", 62}, {"attention.head_count", 1}}, {}, "gemma3")->attention_scale ==
        doctest::Approx(1 / std::sqrt(8.0)));
  CHECK(config_of_small(
            {}, [](GgufBuilder& b) { b.real("gemma3.attention.scale", 0.25F); }, "gemma3")
            ->attention_scale == 0.25F);
}

TEST_CASE("pitfalls 28 and 35: stop tokens and media markers are found in a GGUF file's vocabulary") {
  const std::vector<std::string> vocabulary = {
      "<pad>",    "<eos>",     "<bos>",    "<turn|>",   "<|tool_response>", "<|image>", "<|image|>", "<image|>",
      "<|audio>", "<|audio|>", "<audio|>", "<|video|>", "<end_of_turn>",    "a",        "b",         "c"};
  const auto with_vocabulary = [&](GgufBuilder& b) {
    b.texts("tokenizer.ggml.tokens", vocabulary)
        .number("tokenizer.ggml.eos_token_id", 3)
        .numbers("tokenizer.ggml.suppress_tokens", {7, 13});
  };
  const auto gemma4 = config_of_small({}, with_vocabulary);
  REQUIRE_MESSAGE(gemma4.has_value(), (gemma4 ? "" : gemma4.error().text()));
  CHECK(gemma4->generation.stop_tokens == std::vector<int32_t>{1, 3, 4});
  CHECK(gemma4->generation.suppress_tokens == std::vector<int32_t>{5, 6, 7, 8, 9, 10, 11, 13});
  CHECK(gemma4->tokens.bos == 2);
  CHECK(gemma4->tokens.image == 6);
  CHECK(gemma4->tokens.image_begin == 5);
  CHECK(gemma4->tokens.audio_end == 10);
  CHECK(gemma4->tokens.video == 11);
  const auto gemma3 = config_of_small({}, with_vocabulary, "gemma3");
  CHECK(gemma3->generation.stop_tokens == std::vector<int32_t>{1, 3, 12});
  CHECK(gemma3->generation.suppress_tokens == std::vector<int32_t>{7, 13});
}

TEST_CASE("parts of the family that are not built are refused by name") {
  for (const auto& [key, part] : {std::pair("embedding_length_per_layer_input", "per-layer embeddings"),
                                  {"attention.shared_kv_layers", "share their KV"},
                                  {"expert_count", "experts"}}) {
    const auto config = config_of_small({{key, 2}});
    REQUIRE(!config.has_value());
    CHECK(config.error().kind == ErrorKind::unsupported);
    CHECK(mentions(config.error().text(), part));
  }
  CHECK(mentions(config_of_small({}, {}, "gemma4-assistant").error().text(), "drafter"));
  // Where a config leaves it open, the weights tell.
  for (const auto& [tensor, part] :
       {std::pair("model.language_model.embed_tokens_per_layer.weight", "per-layer embeddings"),
        {"model.language_model.layers.0.experts.down_proj", "experts"}}) {
    HuggingFaceFolder folder = folder_of(golden + "dense/model");
    folder.config["text_config"].erase("hidden_size_per_layer_input");
    folder.config["text_config"].erase("enable_moe_block");
    CHECK(read_config(folder).has_value());
    folder.tensors.tensors[tensor] = {};
    CHECK(mentions(read_config(folder).error().text(), part));
  }
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["attention_bias"] = true; }), "biases"));
  CHECK(mentions(refusal([](Json& c) { c["text_config"]["attn_logit_softcapping"] = 50.0; }), "soft cap"));
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

TEST_CASE("Gemma 3: a checkpoint and its GGUF files agree; scores are scaled") {
  const ModelConfig config = config_of(folder_of(golden + "gemma3/model"));
  CHECK(config.architecture == "gemma3");
  CHECK(config.attention_scale == doctest::Approx(1 / std::sqrt(32.0)));
  CHECK(config.layers[5].kind == AttentionKind::full);
  CHECK(config.rope_full[15] > 0);
  for (const char* file : {"model-q8_0.gguf", "model-q4_0.gguf"}) {
    ModelConfig other = read_config(*Gguf::open(golden + "gemma3/model/gguf/" + file), nullptr).value();
    // These files have no sampling keys, for which the family's defaults stand in, and name <turn|> as their end.
    CHECK(other.generation.top_k == 64);
    CHECK(other.generation.stop_tokens == std::vector<int32_t>{1, 16});
    other.generation.stop_tokens = config.generation.stop_tokens;
    other.generation.top_k = config.generation.top_k;
    other.generation.top_p = config.generation.top_p;
    check_same(config, other);
  }
}

TEST_CASE("Gemma 3: the old and the new form of a config, and what the smallest leave out, mean the same") {
  HuggingFaceFolder folder = folder_of(golden + "gemma3/model");
  folder.config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  const ModelConfig old_form = config_of(folder);
  CHECK(old_form.rope_full[0] == 1.0F / 8);
  CHECK(old_form.rope_sliding[0] == 1.0F);
  for (const char* key : {"rope_theta", "rope_local_base_freq", "rope_scaling", "layer_types"})
    folder.config.erase(key);
  folder.config["_sliding_window_pattern"] = 6;
  folder.config["use_bidirectional_attention"] = false;
  folder.config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"rope_theta", 1e6}, {"factor", 8.0}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}};
  check_same(old_form, config_of(folder));
  folder.config["rope_parameters"].erase("sliding_attention");
  check_same(old_form, config_of(folder));
  folder.config["rope_parameters"]["full_attention"]["rope_type"] = "yarn";
  CHECK(mentions(read_config(folder).error().text(), "yarn"));
  folder.config["rope_parameters"] = nullptr;
  folder.config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 8.0}};
  CHECK(mentions(read_config(folder).error().text(), "dynamic"));
  folder.config["use_bidirectional_attention"] = true;
  folder.config["rope_scaling"] = nullptr;
  CHECK(mentions(read_config(folder).error().text(), "encoders"));

  // The published 4B: a vision tower, and a text_config of few keys.
  folder.config = {{"model_type", "gemma3"},
                   {"boi_token_index", 255'999},
                   {"eoi_token_index", 256'000},
                   {"image_token_index", 262'144},
                   {"eos_token_id", {1, 106}},
                   {"vision_config", {{"model_type", "siglip_vision_model"}}},
                   {"text_config",
                    {{"model_type", "gemma3_text"},
                     {"hidden_size", 2560},
                     {"intermediate_size", 10'240},
                     {"num_hidden_layers", 34},
                     {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                     {"sliding_window", 1024}}}};
  folder.generation_config.reset();
  const ModelConfig published = config_of(folder);
  CHECK(published.vocabulary == 262'208);
  CHECK(published.layers[0].query_heads == 8);
  CHECK(published.layers[0].kv_heads == 4);
  CHECK(published.layers[0].head_dim == 256);
  CHECK(published.attention_scale == 1.0F / 16);
  CHECK(published.generation.stop_tokens == std::vector<int32_t>{1, 106});
  CHECK(published.tokens.image == 262'144);
  CHECK(!published.vision.has_value());
}

TEST_CASE("defaults of generation are read from beside the config, and checked") {
  HuggingFaceFolder folder = folder_of(golden + "unified/model");
  const ModelConfig config = config_of(folder);
  CHECK(config.generation.sample);
  CHECK(config.generation.top_k == 64);
  CHECK(config.generation.stop_tokens == std::vector<int32_t>{1, 16, 9});
  for (const auto& [key, value] : {std::pair<const char*, Json>{"temperature", -1.0},
                                   {"temperature", "hot"},
                                   {"top_p", 1.5},
                                   {"min_p", -0.5},
                                   {"top_k", -1},
                                   {"eos_token_id", {1, 99'999}},
                                   {"eos_token_id", {-1}},
                                   {"suppress_tokens", "none"}}) {
    HuggingFaceFolder changed = folder;
    (*changed.generation_config)[key] = value;
    CAPTURE(key);
    CHECK(!read_config(changed).has_value());
  }
  folder.generation_config.reset();
  CHECK(config_of(folder).generation.stop_tokens == std::vector<int32_t>{1});  // of text_config
  CHECK(!config_of(folder).generation.sample);
}

}  // namespace lapidary
