// The official implementation's numbers (tests/golden, made by its generator) against ours: every case of `unified` but
// video, every text and GGUF case of `dense`, every case of `gemma3`; under every kernel variant that this CPU has.
#include <doctest/doctest.h>

#include "chat/turn.h"
#include "engine/engine.h"
#include "golden_case.h"

namespace lapidary {
namespace {

// How far a run may be from the reference, as tests/golden/README.md derives it.
struct Tolerance {
  double logit_max, logit_mean;
  double hidden_relative;  // of the row's rms
  double greedy_gap;       // steps with a smaller gap between the two best logits are not compared, nor what follows
};
// fp32 arithmetic throughout.
constexpr Tolerance exact{1e-3, 1e-3, 2e-4, 5e-3};
// K and V in f16: 2^-11 of each value. Logits here spread by 3, and were seen to move by 0.015 at most.
constexpr Tolerance half_cache{0.05, 0.005, 1e-2, 0.1};
// Activations in 8 bits too. A block of 32 has its largest value near 2.2 times its rms, so a step is 2.2 / 127 of the
// rms, and rounding moves a product by 2.2 / 127 / sqrt(12) = 0.5 % of its rms. Seven products in nine layers,
// independent: 4 % of a hidden row's rms, and six times that at the worst of thousands of values. Of logits that spread
// by 3: 0.12 in the mean, 0.75 at the worst.
constexpr Tolerance int8_activations{0.75, 0.12, 0.3, 1.5};

struct Setting {
  const Kernels* kernels;
  KvType kv;
  std::string text() const {
    return std::string(kernels->name) + (kv == KvType::f16   ? ", KV f16"
                                         : kv == KvType::f32 ? ", KV f32"
                                                             : ", KV f16 with all keys");
  }
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const Kernels* kernels : available_kernels())
    for (const KvType kv : {KvType::f32, KvType::f16}) all.push_back({kernels, kv});
  all.push_back({available_kernels().front(), KvType::f16_keys});
  return all;
}

std::unique_ptr<Engine> engine_for(const std::string& path, const Setting& setting) {
  auto model = LoadedModel::open(path);
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().text()));
  EngineOptions options;
  options.threads = 2;
  options.kernels = std::string(setting.kernels->name);
  options.kv = setting.kv;
  auto engine = Engine::create(std::move(*model), options);
  REQUIRE(engine.has_value());
  return std::move(*engine);
}

// The prompt of a case: its ids, or its text with the media it names.
TokenizedPrompt prompt_of(const golden::Case& c, Engine& engine) {
  if (!c.meta.contains("images")) return {c.at("input_ids").ids(), {}};
  Prompt prompt = prompt_from_text(c.meta["text"].get<std::string>(), engine.model().tokenizer());
  size_t images = 0, sounds = 0;
  for (PromptItem& item : prompt)
    if (item.kind == PromptItem::Kind::media)
      item.path = item.media == MediaKind::image ? c.meta["images"][images++].get<std::string>()
                                                 : c.meta["audio"][sounds++].get<std::string>();
  const int32_t budget = c.meta["budget"].is_null() ? 280 : c.meta["budget"].get<int32_t>();
  auto prepared = prepare_prompt(prompt, golden::root() + c.model + "/media", engine, budget, {});
  REQUIRE_MESSAGE(prepared.has_value(), (prepared ? "" : prepared.error().text()));
  return std::move(*prepared);
}

struct Outcome {
  std::vector<float> logits;               // [tokens, vocabulary]
  std::vector<std::vector<float>> hidden;  // [layers + 2] of [tokens, hidden]
};

Outcome run_all(Engine& engine, const TokenizedPrompt& prompt) {
  Outcome outcome;
  outcome.hidden.resize(engine.config().layers.size() + 2);
  const HiddenObserver observer = [&](int32_t index, const float* values, int32_t rows) {
    auto& all = outcome.hidden[static_cast<size_t>(index)];
    all.insert(all.end(), values, values + int64_t{rows} * engine.config().hidden);
  };
  Session session(engine, 4096);
  const auto done = session.evaluate(
      prompt, 0,
      [&](int64_t, int64_t rows, const float* logits) -> Result<void> {
        outcome.logits.insert(outcome.logits.end(), logits, logits + rows * engine.config().vocabulary);
        return {};
      },
      &observer);
  REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().text()));
  return outcome;
}

void compare_rows(const std::string& what, const float* got, const golden::Array& expected,
                  const Tolerance& tolerance) {
  const golden::Difference d =
      golden::difference(got, expected.values.data(), static_cast<int64_t>(expected.values.size()));
  CHECK_MESSAGE(d.largest <= tolerance.logit_max, what, ": largest difference ", d.largest);
  CHECK_MESSAGE(d.mean <= tolerance.logit_mean, what, ": mean difference ", d.mean);
}

void compare_logits(const golden::Case& c, const Outcome& outcome, int64_t vocabulary, const Tolerance& tolerance) {
  const int64_t tokens = static_cast<int64_t>(outcome.logits.size()) / vocabulary;
  for (const char* key : {"logits", "logits_last8"})
    if (c.has(key))
      compare_rows(key, outcome.logits.data() + (tokens - c.at(key).rows()) * vocabulary, c.at(key), tolerance);
  if (c.has("logits_position"))
    for (int64_t i = 0; i < c.at("logits_position").columns(); ++i) {
      const auto position = static_cast<int64_t>(c.at("logits_position").values[static_cast<size_t>(i)]);
      const auto d = golden::difference(outcome.logits.data() + position * vocabulary,
                                        c.at("logits_at_position").row(i), vocabulary);
      CHECK_MESSAGE(d.largest <= tolerance.logit_max, "logits at position ", position, ": ", d.largest);
    }
}

void compare_hidden(const golden::Case& c, const Outcome& outcome, int64_t hidden, const Tolerance& tolerance) {
  const auto compare = [&](const std::string& what, const float* got, const float* expected) {
    const double relative = golden::difference(got, expected, hidden).largest / golden::rms(expected, hidden);
    CHECK_MESSAGE(relative <= tolerance.hidden_relative, what, ": ", relative, " of the row's rms");
  };
  if (c.has("hidden")) {
    const golden::Array& all = c.at("hidden");
    REQUIRE(all.shape[0] == static_cast<int64_t>(outcome.hidden.size()));
    for (int64_t layer = 0; layer < all.shape[0]; ++layer)
      for (int64_t token = 0; token < all.shape[1]; ++token)
        compare("hidden state " + std::to_string(layer) + " of token " + std::to_string(token),
                outcome.hidden[static_cast<size_t>(layer)].data() + token * hidden,
                all.row(layer * all.shape[1] + token));
  }
  if (c.has("hidden_final"))
    for (int64_t i = 0; i < c.at("hidden_final").rows(); ++i) {
      const int64_t token = c.has("hidden_final_index")
                                ? static_cast<int64_t>(c.at("hidden_final_index").values[static_cast<size_t>(i)])
                                : i;
      compare("final hidden state of token " + std::to_string(token), outcome.hidden.back().data() + token * hidden,
              c.at("hidden_final").row(i));
    }
}

// Greedy through the session, one token at a time, against ids that the reference generated.
void compare_greedy(const golden::Case& c, Engine& engine, const TokenizedPrompt& prompt,
                    const std::vector<int32_t>& expected, const std::vector<float>& gaps,
                    const std::vector<int32_t>& suppress, const Tolerance& tolerance) {
  Session session(engine, 4096);
  REQUIRE(session.set_prompt(prompt).has_value());
  Sampler sampler({.greedy = true, .suppress = suppress});
  size_t compared = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (gaps[i] < tolerance.greedy_gap) break;
    const int32_t token = sampler.next(session.logits());
    CHECK_MESSAGE(token == expected[i], c.name, ": greedy token ", i);
    ++compared;
    if (token != expected[i] || i + 1 == expected.size()) break;
    REQUIRE(session.append(token).has_value());
  }
  if (tolerance.greedy_gap <= exact.greedy_gap) CHECK_MESSAGE(compared > 0, c.name, ": nothing was compared");
}

// The soft tokens of all pictures (or sounds) of a case in order, or an even selection of them.
void check_soft_tokens(const golden::Case& c, const TokenizedPrompt& prompt, int64_t hidden) {
  for (const bool images : {true, false}) {
    const std::string key = images ? "image_soft_embeddings" : "audio_soft_embeddings";
    if (!c.has(key)) continue;
    std::vector<float> ours;
    for (const SoftBlock& block : prompt.blocks)
      if (block.bidirectional == images) ours.insert(ours.end(), block.embeddings->begin(), block.embeddings->end());
    const golden::Array& expected = c.at(key);
    for (int64_t i = 0; i < expected.rows(); ++i) {
      const int64_t row =
          c.has(key + "_index") ? static_cast<int64_t>(c.at(key + "_index").values[static_cast<size_t>(i)]) : i;
      REQUIRE(static_cast<int64_t>(ours.size()) >= (row + 1) * hidden);
      const auto d = golden::difference(ours.data() + row * hidden, expected.row(i), hidden);
      CHECK_MESSAGE(d.largest <= 1e-3, key, " row ", row, ": ", d.largest);
    }
  }
}

bool has_media(const golden::Case& c) { return c.meta.contains("images"); }

void run_case(const golden::Case& c, Engine& engine, const Setting& setting, bool quantized) {
  const bool ref = setting.kernels->quantize_row == nullptr;
  const Tolerance& tolerance = quantized && !ref ? int8_activations : setting.kv == KvType::f32 ? exact : half_cache;
  const TokenizedPrompt prompt = prompt_of(c, engine);
  if (c.has("input_ids")) REQUIRE(prompt.ids == c.at("input_ids").ids());
  check_soft_tokens(c, prompt, engine.config().hidden);

  if (c.name == "audio_prefix") {  // pitfall 5: sound is causal, so a prompt cut inside it gives the whole one's logits
    const golden::Case whole = golden::load(c.model, "audio");
    TokenizedPrompt cut = prompt_of(whole, engine);
    cut.ids.resize(c.at("input_ids").values.size());
    cut.blocks[0].count =
        std::min<int64_t>(cut.blocks[0].count, static_cast<int64_t>(cut.ids.size()) - cut.blocks[0].first);
    Session session(engine, 4096);
    REQUIRE(session.set_prompt(cut).has_value());
    compare_rows("prefix", session.logits().data(), c.at("prefix_logits_last"), tolerance);
    return;
  }
  const Outcome outcome = run_all(engine, prompt);
  compare_logits(c, outcome, engine.config().vocabulary, tolerance);
  compare_hidden(c, outcome, engine.config().hidden, tolerance);
  if (c.has("greedy_ids") && c.has("greedy_gap")) {
    const auto suppress = c.meta.contains("suppress_tokens") ? c.meta["suppress_tokens"].get<std::vector<int32_t>>()
                                                             : std::vector<int32_t>{};
    compare_greedy(c, engine, prompt, c.at("greedy_ids").ids(), c.at("greedy_gap").values, suppress, tolerance);
  }
  // Pitfalls 3 and 19: ours is not one of the two wrong masks.
  for (const char* wrong : {"wrong_logits_last_causal", "wrong_logits_last_blocks_on_full_layers"})
    if (c.has(wrong) && tolerance.logit_max <= exact.logit_max) {
      const int64_t vocabulary = engine.config().vocabulary;
      const auto d = golden::difference(outcome.logits.data() + outcome.logits.size() - vocabulary,
                                        c.at(wrong).values.data(), vocabulary);
      CHECK_MESSAGE(d.largest > 0.1, "the mask is ", wrong);
    }
}

void run_model(const std::string& model, bool media) {
  for (const Setting& setting : settings()) {
    CAPTURE(setting.text());
    const auto engine = engine_for(golden::root() + model + "/model", setting);
    for (const std::string& name : golden::case_names(model)) {
      if (name == "video") continue;  // video is not built yet
      CAPTURE(name);
      const golden::Case c = golden::load(model, name);
      if (name.starts_with("gguf_")) {
        const auto own = engine_for(golden::root() + model + "/model/" + c.meta["file"].get<std::string>(), setting);
        run_case(c, *own, setting, name != "gguf_f32" && name != "gguf_bf16");
      } else if (media || !has_media(c)) {
        run_case(c, *engine, setting, false);
      }
    }
  }
}

}  // namespace

TEST_CASE(
    "golden: unified (the 12B's architecture): text, pictures, sound, GGUF (pitfalls 3, 4, 19, 21, 22 and 33: the "
    "masks of pictures)") {
  run_model("unified", true);
}
TEST_CASE("golden: dense (the 31B's layout), text and GGUF") { run_model("dense", false); }
TEST_CASE("golden: gemma3, text and GGUF") { run_model("gemma3", false); }

TEST_CASE("golden: the projector file (mmproj, channels first) gives the numbers of the checkpoint") {
  const Setting setting{available_kernels().back(), KvType::f32};
  const auto engine = engine_for(golden::root() + "unified/model/gguf/model-bf16.gguf", setting);
  CHECK(!engine->model().projector_path().empty());
  for (const char* name : {"image_70", "image_280", "two_images", "audio", "mixed"}) {
    CAPTURE(name);
    run_case(golden::load("unified", name), *engine, setting, false);
  }
}

}  // namespace lapidary
