// The drafter of the unified model against the official implementation's numbers (tests/golden/assistant), and how
// speculation uses it: faster or not, the text stays the same.
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "chat/turn.h"
#include "engine/engine.h"
#include "engine/speculation.h"
#include "golden_case.h"
#include "sanitized.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

// Those of golden_test.cc: fp32 throughout, and K and V in f16 (the weights are bf16, so no activation is quantised).
struct Tolerance {
  double logit_max, hidden_relative, gap;
};
constexpr Tolerance exact{1e-3, 2e-4, 5e-3}, half_cache{0.05, 1e-2, 0.1};

const std::string folder = "assistant/model", file = "assistant/model/gguf/model-bf16.gguf";

std::unique_ptr<Engine> engine_with(const std::string& model_path, const std::string& drafter_path,
                                    const Kernels& kernels, std::optional<KvType> kv = std::nullopt) {
  auto model = LoadedModel::open(golden::root() + model_path);
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().text()));
  EngineOptions options;
  options.threads = 2;
  options.kernels = std::string(kernels.name);
  options.kv = kv;
  auto engine = std::move(Engine::create(std::move(*model), options).value());
  if (!drafter_path.empty()) {
    auto drafter = LoadedDrafter::open(golden::root() + drafter_path, engine->config());
    REQUIRE_MESSAGE(drafter.has_value(), (drafter ? "" : drafter.error().text()));
    engine->set_drafter(*drafter);
  }
  return engine;
}

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

void compare_state(const char* what, std::span<const float> got, const float* expected, const Tolerance& tolerance) {
  const auto size = static_cast<int64_t>(got.size());
  const double relative = golden::difference(got.data(), expected, size).largest / golden::rms(expected, size);
  CHECK_MESSAGE(relative <= tolerance.hidden_relative, what, ": ", relative, " of the row's rms");
}

// One round: four guesses after `token`, as far as the reference is sure of them.
void check_round(const golden::Case& c, const std::string& round, Engine& engine, const Session& session, int32_t token,
                 const Tolerance& tolerance) {
  const golden::Array &logits = c.at(round + "_draft_logits"), &states = c.at(round + "_draft_hidden");
  compare_state("state that the round begins with", session.state(),
                c.at(round + "_first_input").values.data() + engine.config().hidden, tolerance);
  Drafter& drafter = *engine.drafter();
  drafter.begin(session.cache(), token, session.state());
  for (int64_t i = 0; i < logits.rows(); ++i) {
    CAPTURE(i);
    const Drafter::Guess guess = drafter.next();
    const auto d = golden::difference(drafter.logits().data(), logits.row(i), logits.columns());
    CHECK_MESSAGE(d.largest <= tolerance.logit_max, round, ": largest difference ", d.largest);
    compare_state("state after the guess", drafter.state(), states.row(i), tolerance);
    const double gap = c.at(round + "_gap").values[static_cast<size_t>(i)];
    CHECK(std::abs(guess.gap - gap) <= 2 * tolerance.logit_max);
    if (gap <= tolerance.gap) return;
    CHECK(guess.token == c.at(round + "_draft_ids").ids()[static_cast<size_t>(i)]);
  }
}

void check_case(const std::string& name, Engine& engine, const Tolerance& tolerance) {
  const golden::Case c = golden::load("assistant", name);
  Session session(engine, 4096);
  REQUIRE(session.set_prompt({c.at("prompt_ids").ids(), {}}).has_value());
  const int32_t token = c.at("target_token").ids()[0];
  CHECK(argmax(session.logits()) == token);
  compare_state("the model's state", session.state(), c.at("target_hidden").values.data(), tolerance);
  check_round(c, "round1", engine, session, token, tolerance);

  // The model's judgement of a proposal, and what is taken back after it.
  std::vector<int32_t> batch = {token};
  for (const int32_t id : c.at("verify_proposal").ids()) batch.push_back(id);
  REQUIRE(session.append(batch, static_cast<int32_t>(batch.size())).has_value());
  const std::vector<int32_t> verdict = c.at("verify_argmax").ids(), known = c.at("round2_ids").ids();
  for (size_t i = 0; i < batch.size(); ++i) CHECK(argmax(session.logits(static_cast<int32_t>(i))) == verdict[i]);
  session.take_back(static_cast<int64_t>(batch.size() - (known.size() - 1)));
  check_round(c, "round2", engine, session, known.back(), tolerance);
}

struct Written {
  std::vector<int32_t> ids;
  Speculation::Counts counts;
};
Written write(Engine& engine, size_t count, const SamplerOptions& options, size_t always_draft) {
  Session session(engine, 4096);
  const TokenizedPrompt prompt{golden::load("assistant", "draft_long").at("prompt_ids").ids(), {}};
  REQUIRE(session.set_prompt(prompt).has_value());
  Sampler sampler(options);
  Speculation speculation(engine);
  speculation.always_draft(always_draft);
  speculation.begin(prompt.ids);
  Written written;
  REQUIRE(write_tokens(session, always_draft > 0 ? &speculation : nullptr,
                       [&](std::span<const float> logits, int64_t) -> Result<std::vector<int32_t>> {
                         if (written.ids.size() == count) return std::vector<int32_t>();
                         written.ids.push_back(sampler.next(logits));
                         return std::vector<int32_t>{written.ids.back()};
                       })
              .has_value());
  written.counts = speculation.counts();
  return written;
}

}  // namespace

TEST_CASE("every case of `assistant`, from safetensors and GGUF, under every kernel variant") {
  for (const Kernels* kernels : available_kernels())
    for (const KvType kv : {KvType::f32, KvType::f16, KvType::f16_keys})
      for (const auto& [model, drafter] : {std::pair<std::string, std::string>{"unified/model", folder},
                                           {"unified/model/gguf/model-bf16.gguf", file}}) {
        const auto engine = engine_with(model, drafter, *kernels, kv);
        for (const std::string& name : golden::case_names("assistant")) {
          CAPTURE(kernels->name);
          CAPTURE(static_cast<int>(kv));
          CAPTURE(drafter);
          CAPTURE(name);
          check_case(name, *engine, kv == KvType::f32 ? exact : half_cache);
        }
      }
}

TEST_CASE("with a drafter, text is the same, greedy and sampled") {
  for (const Kernels* kernels : available_kernels())
    for (const char* model : {"unified/model", "unified/model/gguf/model-q4_0.gguf"}) {
      CAPTURE(kernels->name);
      CAPTURE(model);
      const auto engine = engine_with(model, folder, *kernels);
      const size_t count = sanitized ? 20 : 80;
      for (const SamplerOptions& options :
           {SamplerOptions{.greedy = true}, SamplerOptions{.temperature = 1.0, .top_k = 50, .seed = 9}}) {
        const Written plain = write(*engine, count, options, 0);
        for (const size_t depth : {1, 4, 12}) {
          const Written got = write(*engine, count, options, depth);
          CHECK(got.ids == plain.ids);
          CHECK(got.counts.drafted > 0);
        }
      }
    }
}

TEST_CASE("a drafter of another model is refused, and says why; a drafter is no model") {
  const Kernels& kernels = *available_kernels().front();
  const auto engine = engine_with("unified/model", "", kernels);
  ModelConfig other = engine->config();
  other.hidden = 128;
  for (const std::string& path : {folder, file}) {
    const auto wrong = LoadedDrafter::open(golden::root() + path, other);
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error().text().find("hidden size, 128, found 256") != std::string::npos);
    const auto model = LoadedModel::open(golden::root() + path);
    REQUIRE_FALSE(model.has_value());
    CHECK(model.error().text().find("this is a drafter") != std::string::npos);
  }
  other = engine->config();
  other.vocabulary = 4096;
  CHECK_FALSE(LoadedDrafter::open(golden::root() + folder, other).has_value());
  other = engine->config();
  for (LayerConfig& layer : other.layers) layer.head_dim *= 2;
  CHECK_FALSE(LoadedDrafter::open(golden::root() + folder, other).has_value());
  const auto no_drafter = LoadedDrafter::open(golden::root() + "unified/model", engine->config());
  REQUIRE_FALSE(no_drafter.has_value());
  CHECK(no_drafter.error().kind == ErrorKind::unsupported);
}

TEST_CASE("the drafter beside a model is found, and one that does not fit is left alone") {
  const fs::path place = fs::temp_directory_path() / "lapidary_drafter_test";
  fs::remove_all(place);
  fs::create_directories(place / "gguf");
  const fs::path root = fs::absolute(golden::root());
  fs::copy_file(root / "unified/model/gguf/model-bf16.gguf", place / "gguf/tiny.gguf");
  fs::copy(root / "unified/model", place / "it", fs::copy_options::recursive);
  const auto beside = [&](const fs::path& path) {
    const auto model = LoadedModel::open(path.string());
    REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().text()));
    return LoadedDrafter::beside(**model);
  };
  CHECK(beside(place / "it") == nullptr);
  CHECK(beside(place / "gguf/tiny.gguf") == nullptr);
  fs::copy(root / "assistant/model", place / "it-assistant", fs::copy_options::recursive);
  fs::copy_file(root / "assistant/model/gguf/model-bf16.gguf", place / "gguf/tiny-assistant-bf16.gguf");
  CHECK(beside(place / "it") != nullptr);
  CHECK(beside(place / "gguf/tiny.gguf") != nullptr);
  const auto spark = LoadedModel::open("models/spark");
  REQUIRE(spark.has_value());
  CHECK(LoadedDrafter::beside(**spark) == nullptr);
  fs::remove_all(place);
}

}  // namespace lapidary
