// The promise that speculation, the prefix cache and batching rest on: for one kernel variant, a token's result is the
// same to the last bit for any number of threads, any chunks, and any neighbours in the batch.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>

#include "chat/turn.h"
#include "engine/engine.h"
#include "golden_case.h"
#include "sanitized.h"

namespace lapidary {
namespace {

struct Setup {
  std::string model;
  const Kernels* kernels;
};

std::vector<Setup> setups() {
  std::vector<Setup> all;
  for (const Kernels* kernels : available_kernels())
    for (const char* model : {"unified/model", "unified/model/gguf/model-q4_0.gguf",
                              "unified/model/gguf/model-kmix.gguf", "gemma3/model/gguf/model-q8_0.gguf"})
      all.push_back({golden::root() + model, kernels});
  return all;
}

std::unique_ptr<Engine> engine_for(const Setup& setup, int32_t threads, int32_t chunk) {
  auto model = LoadedModel::open(setup.model);
  REQUIRE(model.has_value());
  EngineOptions options;
  options.threads = threads;
  options.kernels = std::string(setup.kernels->name);
  options.chunk = chunk;
  return std::move(Engine::create(std::move(*model), options).value());
}

TokenizedPrompt long_text(size_t tokens) {
  std::vector<int32_t> ids = golden::load("unified", "text_long").at("input_ids").ids();
  while (ids.size() < tokens) ids.insert(ids.end(), ids.begin() + 1, ids.end());
  ids.resize(tokens);
  return {ids, {}};
}

// All logits of the prompt, and those of a few tokens written after it.
std::vector<float> run(Engine& engine, const TokenizedPrompt& prompt) {
  std::vector<float> all;
  Session session(engine, 4096);
  REQUIRE(session
              .evaluate(prompt, 0,
                        [&](int64_t, int64_t rows, const float* logits) -> Result<void> {
                          all.insert(all.end(), logits, logits + rows * engine.config().vocabulary);
                          return {};
                        })
              .has_value());
  Session writing(engine, 4096);
  REQUIRE(writing.set_prompt(prompt).has_value());
  for (const int32_t token : {5, 600, 77, 900}) {
    REQUIRE(writing.append(token).has_value());
    all.insert(all.end(), writing.logits().begin(), writing.logits().end());
  }
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("same bits for 1, 2 and 4 threads and for chunks of 1, 7, 64 and 512") {
  const TokenizedPrompt prompt = long_text(300);
  for (const Setup& setup : setups()) {
    CAPTURE(setup.model);
    CAPTURE(setup.kernels->name);
    const std::vector<float> expected = run(*engine_for(setup, 1, 512), prompt);
    if (sanitized) {
      CHECK(same_bits(run(*engine_for(setup, 4, 7), prompt), expected));
      continue;
    }
    for (const int32_t threads : {2, 4}) CHECK(same_bits(run(*engine_for(setup, threads, 512), prompt), expected));
    for (const int32_t chunk : {1, 7, 64}) CHECK(same_bits(run(*engine_for(setup, 2, chunk), prompt), expected));
  }
}

TEST_CASE("pitfalls 5 and 6: same bits with pictures and sound for any chunk; a picture's block is never split") {
  for (const Kernels* kernels : available_kernels()) {
    const Setup setup{golden::root() + "unified/model", kernels};
    std::vector<float> expected;
    for (const int32_t chunk : {512, 1, 7, 64}) {
      CAPTURE(kernels->name);
      CAPTURE(chunk);
      const auto engine = engine_for(setup, 2, chunk);
      const golden::Case mixed = golden::load("unified", "mixed");
      Prompt prompt = prompt_from_text(mixed.meta["text"].get<std::string>(), engine->model().tokenizer());
      for (PromptItem& item : prompt)
        if (item.kind == PromptItem::Kind::media)
          item.path = item.media == MediaKind::image ? "image2.png" : "audio1.wav";
      const auto prepared = prepare_prompt(prompt, golden::root() + "unified/media", *engine, 70, {});
      REQUIRE(prepared.has_value());
      const std::vector<float> got = run(*engine, *prepared);
      if (expected.empty()) expected = got;
      CHECK(same_bits(got, expected));
    }
  }
}

TEST_CASE("same bits alone and in a batch with other sequences") {
  const TokenizedPrompt one = long_text(90), two = long_text(37);
  for (const Setup& setup : setups()) {
    CAPTURE(setup.model);
    CAPTURE(setup.kernels->name);
    const auto engine = engine_for(setup, 2, 512);
    const auto rows_of = [](const TokenizedPrompt& prompt, size_t first, size_t count) {
      std::vector<BatchRow> rows;
      for (size_t i = first; i < first + count; ++i)
        rows.push_back({prompt.ids[i], nullptr, static_cast<int64_t>(i) + 1});
      return rows;
    };
    const int64_t vocabulary = engine->config().vocabulary;
    const auto alone = [&](const TokenizedPrompt& prompt) {
      KvCache cache(engine->config(), engine->kv_pool(), engine->kv_type());
      std::vector<float> logits(static_cast<size_t>(vocabulary));
      const auto rows = rows_of(prompt, 0, prompt.ids.size());
      const BatchSegment segment{&cache, rows};
      const auto last = static_cast<int32_t>(rows.size()) - 1;
      REQUIRE(engine->decoder().forward({{&segment, 1}, {&last, 1}, logits.data(), nullptr, nullptr}).has_value());
      return logits;
    };
    // The first prompt decodes its last three tokens while the second is read in two parts, all in one batch a step.
    KvCache first(engine->config(), engine->kv_pool(), engine->kv_type()),
        second(engine->config(), engine->kv_pool(), engine->kv_type());
    std::vector<float> logits(static_cast<size_t>(2 * vocabulary));
    const auto step = [&](size_t a, size_t a_count, size_t b, size_t b_count) {
      const auto rows_a = rows_of(one, a, a_count), rows_b = rows_of(two, b, b_count);
      const BatchSegment segments[] = {{&first, rows_a}, {&second, rows_b}};
      const int32_t wanted[] = {static_cast<int32_t>(a_count) - 1, static_cast<int32_t>(a_count + b_count) - 1};
      REQUIRE(engine->decoder().forward({segments, wanted, logits.data(), nullptr, nullptr}).has_value());
    };
    step(0, 88, 0, 11);
    step(88, 1, 11, 20);
    step(89, 1, 31, 6);
    const std::vector<float> a(logits.begin(), logits.begin() + vocabulary),
        b(logits.begin() + vocabulary, logits.end());
    CHECK(same_bits(a, alone(one)));
    CHECK(same_bits(b, alone(two)));
  }
}

TEST_CASE("same bits when a pass is left between layers and taken up again, with other passes in between") {
  const TokenizedPrompt one = long_text(90), two = long_text(37);
  for (const Setup& setup : setups()) {
    CAPTURE(setup.model);
    CAPTURE(setup.kernels->name);
    const auto engine = engine_for(setup, 2, 512);
    std::vector<float> logits(static_cast<size_t>(engine->config().vocabulary));
    const auto pass = [&](KvCache& cache, const TokenizedPrompt& prompt, PassState* state,
                          const std::function<bool()>* leave) {
      std::vector<BatchRow> rows;
      for (size_t i = 0; i < prompt.ids.size(); ++i)
        rows.push_back({prompt.ids[i], nullptr, static_cast<int64_t>(i) + 1});
      const BatchSegment segment{&cache, rows};
      const auto last = static_cast<int32_t>(rows.size()) - 1;
      return engine->decoder().forward({{&segment, 1}, {&last, 1}, logits.data(), nullptr, nullptr, state, leave});
    };
    const auto fresh = [&] { return KvCache(engine->config(), engine->kv_pool(), engine->kv_type()); };
    KvCache whole = fresh(), cut = fresh();
    REQUIRE(pass(whole, one, nullptr, nullptr).has_value());
    const std::vector<float> expected = logits;

    PassState state;
    const std::function<bool()> leave = [] { return true; };
    size_t times_left = 0;
    while (true) {
      const auto done = pass(cut, one, &state, &leave);
      if (done) break;
      REQUIRE(done.error().kind == ErrorKind::cancelled);
      REQUIRE(state.left());
      CHECK(cut.length() == 0);
      ++times_left;
      KvCache other = fresh();
      const KvCache copy = cut.fork();  // and its pages are shared when it goes on
      REQUIRE(pass(other, two, nullptr, nullptr).has_value());
      // While it is left once more, in the middle of sharing, nothing of what was written may be lost.
      if (times_left == 1) CHECK_FALSE(pass(cut, one, &state, &leave).has_value());
    }
    CHECK(times_left >= engine->config().layers.size() / 2 - 1);
    CHECK_FALSE(state.left());
    CHECK(cut.length() == whole.length());
    CHECK(same_bits(logits, expected));
  }
}

TEST_CASE("every int8 variant gives the same bits as the others") {
  const TokenizedPrompt prompt = long_text(80);
  for (const char* model :
       {"unified/model", "unified/model/gguf/model-q4_0.gguf", "unified/model/gguf/model-kmix.gguf"}) {
    std::vector<float> expected;
    for (const Kernels* kernels : available_kernels()) {
      if (kernels->quantize_row == nullptr) continue;
      CAPTURE(kernels->name);
      const std::vector<float> got = run(*engine_for({golden::root() + model, kernels}, 2, 64), prompt);
      if (expected.empty()) expected = got;
      CHECK(same_bits(got, expected));
    }
  }
}

TEST_CASE("pitfall 15: a prompt that begins like the last one is continued, with the same bits as from the start") {
  for (const Kernels* kernels : available_kernels()) {
    const auto engine = engine_for({golden::root() + "unified/model", kernels}, 2, 64);
    const TokenizedPrompt base = long_text(250);
    Session session(*engine, 4096);
    session.checkpoint_at(180);
    REQUIRE(session.set_prompt(base).has_value());
    for (int i = 0; i < 120; ++i)
      REQUIRE(session.append(i % 50 + 300).has_value());  // the ring forgets position 180's window
    TokenizedPrompt edited = base;
    edited.ids.resize(200);
    edited.ids[190] = 99;
    REQUIRE(session.set_prompt(edited).has_value());
    CHECK(session.reused() == 180);
    Session cold(*engine, 4096);
    REQUIRE(cold.set_prompt(edited).has_value());
    CHECK(std::memcmp(session.logits().data(), cold.logits().data(), cold.logits().size() * sizeof(float)) == 0);
  }
}

}  // namespace lapidary
