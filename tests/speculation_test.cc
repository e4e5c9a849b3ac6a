// Speculation loses nothing: the tokens, and the logits that they were picked from, are those of plain writing.
#include "engine/speculation.h"

#include <doctest/doctest.h>

#include <cstring>

#include "chat/turn.h"
#include "engine/engine.h"
#include "golden_case.h"
#include "sanitized.h"

namespace lapidary {
namespace {

std::unique_ptr<Engine> engine_for(const std::string& path, const Kernels& kernels, int32_t threads = 2) {
  auto model = LoadedModel::open(path);
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().text()));
  EngineOptions options;
  options.threads = threads;
  options.kernels = std::string(kernels.name);
  return std::move(Engine::create(std::move(*model), options).value());
}

// A text that repeats itself, longer than the windows of the golden models.
TokenizedPrompt repetitive(int32_t vocabulary) {
  TokenizedPrompt prompt;
  for (int32_t i = 0; i < 150; ++i) prompt.ids.push_back(5 + (i % 40) * 7 % (vocabulary - 5));
  return prompt;
}

struct Written {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // all that tokens were picked from
  Speculation::Counts counts;
};

// Writes `count` tokens with `sampler`. `stops_at`: after this many the writer is stopped from outside.
Written write(Engine& engine, Session& session, const TokenizedPrompt& prompt, size_t count,
              const SamplerOptions& options, size_t always_draft) {
  REQUIRE(session.set_prompt(prompt).has_value());
  Written written;
  Sampler sampler(options);
  Speculation speculation(engine);
  speculation.always_draft(always_draft);
  speculation.begin(prompt.ids);
  const auto done = write_tokens(session, always_draft > 0 ? &speculation : nullptr,
                                 [&](std::span<const float> logits, int64_t) -> Result<std::vector<int32_t>> {
                                   if (written.ids.size() == count) return std::vector<int32_t>();
                                   written.logits.insert(written.logits.end(), logits.begin(), logits.end());
                                   written.ids.push_back(sampler.next(logits));
                                   return std::vector<int32_t>{written.ids.back()};
                                 });
  REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().text()));
  written.counts = speculation.counts();
  return written;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

struct Turn {
  std::vector<int32_t> ids;
  std::string text;
  UsageEvent usage;
  bool failed = false;
};

TurnRequest request_of(const std::string& text, const TurnOptions& options, Speculation* speculation) {
  TurnRequest request;
  Message message;
  message.role = "user";
  message.content = text;
  request.conversation.messages.push_back(std::move(message));
  request.options = options;
  request.speculation = speculation;
  return request;
}

Turn turn(Engine& engine, Session& session, const std::string& text, const TurnOptions& options,
          Speculation* speculation) {
  const TurnRequest request = request_of(text, options, speculation);
  Turn result;
  const auto reply = run_turn(session, engine, request, [&](const TurnEvent& event) {
    if (const auto* end = std::get_if<UsageEvent>(&event)) result.usage = *end;
    if (const auto* delta = std::get_if<TextDelta>(&event)) result.text += delta->text;
  });
  result.failed = !reply.has_value();
  result.ids = result.usage.reply_ids;
  return result;
}

const std::string copying =
    "Repeat this text: The train to Berlin leaves at four thirty. The train to Berlin leaves at five thirty. The train "
    "to Paris leaves at four thirty. The train to Paris leaves at five thirty.";

}  // namespace

TEST_CASE("the same tokens from the same bits, greedy and sampled, under every kernel variant") {
  int64_t drafted = 0;
  for (const Kernels* kernels : available_kernels())
    for (const char* model : {"unified/model", "unified/model/gguf/model-q4_0.gguf",
                              "unified/model/gguf/model-kmix.gguf", "gemma3/model/gguf/model-q8_0.gguf"}) {
      CAPTURE(kernels->name);
      CAPTURE(model);
      const auto engine = engine_for(golden::root() + model, *kernels);
      const TokenizedPrompt prompt = repetitive(engine->config().vocabulary);
      SamplerOptions greedy{.greedy = true}, sampled{.temperature = 0.7, .top_k = 40, .seed = 3};
      for (const SamplerOptions& options : {greedy, sampled}) {
        Session plain_session(*engine, 4096), session(*engine, 4096);
        const size_t count = sanitized ? 20 : 90;
        const Written plain = write(*engine, plain_session, prompt, count, options, 0);
        for (const size_t depth : sanitized ? std::vector<size_t>{5} : std::vector<size_t>{4, 32}) {
          CAPTURE(depth);
          const Written got = write(*engine, session, prompt, count, options, depth);
          drafted += got.counts.drafted;
          CHECK((sanitized || got.counts.drafted > 0));  // the few tokens of that run need not repeat anything
          CHECK(got.ids == plain.ids);
          CHECK(same_bits(got.logits, plain.logits));
        }
        // What a session holds afterwards is what was said: it goes on as a session that never guessed.
        TokenizedPrompt longer = prompt;
        longer.ids.insert(longer.ids.end(), plain.ids.begin(), plain.ids.end() - 4);
        longer.ids.push_back(11);
        REQUIRE(session.set_prompt(longer).has_value());
        CHECK(session.reused() >= static_cast<int64_t>(longer.ids.size()) - 2);
        Session cold(*engine, 4096);
        REQUIRE(cold.set_prompt(longer).has_value());
        CHECK(same_bits(session.logits(), cold.logits()));
      }
    }
  CHECK(drafted > 0);
}

TEST_CASE("tokens are taken back to the last bit, also across pages and windows") {
  for (const Kernels* kernels : available_kernels()) {
    const auto engine = engine_for(golden::root() + "unified/model", *kernels);
    Session plain(*engine, 4096), guessing(*engine, 4096);
    const TokenizedPrompt prompt = repetitive(engine->config().vocabulary);
    REQUIRE(plain.set_prompt(prompt).has_value());
    REQUIRE(guessing.set_prompt(prompt).has_value());
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 70; ++i) {
      REQUIRE(plain.append(i + 20).has_value());
      tokens = {i + 20};
      for (int32_t wrong = 0; wrong < i % 32; ++wrong) tokens.push_back(900 + wrong);
      REQUIRE(guessing.append(tokens, static_cast<int32_t>(tokens.size())).has_value());
      guessing.take_back(static_cast<int64_t>(tokens.size()) - 1);
      REQUIRE(guessing.length() == plain.length());
      REQUIRE(same_bits(guessing.logits(), plain.logits()));
    }
  }
}

TEST_CASE("a text that repeats itself takes fewer calls") {
  const auto engine = engine_for(golden::root() + "unified/model", *available_kernels().front());
  Session session(*engine, 4096);
  const TokenizedPrompt prompt{{2, 9, 8, 7}, {}};
  REQUIRE(session.set_prompt(prompt).has_value());
  Speculation speculation(*engine);
  speculation.always_draft(16);
  speculation.begin(prompt.ids);
  int32_t written = 0;
  REQUIRE(write_tokens(session, &speculation, [&](std::span<const float>, int64_t) -> Result<std::vector<int32_t>> {
            if (written == 300) return std::vector<int32_t>();
            return std::vector<int32_t>{20 + written++ % 11};
          }).has_value());
  CHECK(session.length() >= 4 + 299);
  CHECK(speculation.counts().accepted > 250);
  CHECK(speculation.counts().drafted < 320);
}

TEST_CASE("Spark: turns are the same with stops, limits, a full context, a seed, penalties and a constraint") {
  const auto engine = engine_for("models/spark", *available_kernels().front());
  TurnOptions greedy;
  greedy.sampler.greedy = true;
  greedy.sampler.suppress = engine->config().generation.suppress_tokens;
  greedy.tokens_max = 120;
  std::vector<std::pair<const char*, TurnOptions>> cases = {{"greedy", greedy}};
  cases.emplace_back("limit", greedy).second.tokens_max = 7;
  cases.emplace_back("stop string", greedy).second.stop_strings = {"five", "Paris"};
  cases.emplace_back("sampled", greedy).second.sampler = {.temperature = 1.5, .top_p = 0.95, .seed = 11};
  cases.emplace_back("grammar", greedy).second.constraint =
      Grammar::from_regex("(The train to (Berlin|Paris|Rome) leaves at (four|five) (thirty|fifteen)[.] ?){3,6}", "r")
          .value();
  cases.emplace_back("schema", greedy).second.constraint =
      Grammar::from_schema(
          R"({"type":"array","items":{"type":"object","properties":{"city":{"type":"string","maxLength":9},
      "minute":{"type":"integer","minimum":0,"maximum":59}},"required":["city","minute"]},"minItems":3,"maxItems":5})",
          "s")
          .value();
  const PenaltyOptions penalties{.repeat = 1.2, .frequency = 0.3, .presence = 0.5, .last_n = 20, .prompt = true};
  cases.emplace_back("penalties", greedy).second.sampler.penalties = penalties;
  cases.emplace_back("penalties, sampled", cases[3].second).second.sampler.penalties = penalties;
  cases.emplace_back("penalties, grammar", cases[4].second).second.sampler.penalties = penalties;
  for (const auto& [name, options] : cases) {
    CAPTURE(name);
    for (const int64_t context : {2048, 100}) {
      Session plain_session(*engine, context), session(*engine, context);
      Speculation speculation(*engine);
      speculation.always_draft(6);
      const Turn plain = turn(*engine, plain_session, copying, options, nullptr);
      for (int again = 0; again < 2; ++again) {  // the second turn reuses what the first left behind
        const Turn got = turn(*engine, session, copying, options, &speculation);
        CHECK(got.failed == plain.failed);
        CHECK(got.ids == plain.ids);
        CHECK(got.text == plain.text);
        CHECK(got.usage.reason == plain.usage.reason);
        CHECK(got.usage.drafted_tokens == speculation.counts().drafted);
      }
    }
  }
}

TEST_CASE("a reply can be stopped at any token, and thinking without end is closed in the same place") {
  const auto engine = engine_for("models/spark", *available_kernels().front());
  TurnOptions options;
  options.sampler.greedy = true;
  options.tokens_max = 60;
  Session session(*engine, 2048);
  Speculation speculation(*engine);
  speculation.always_draft(8);
  std::atomic<bool> interrupted = false;
  TurnRequest request = request_of(copying, options, &speculation);
  request.interrupted = &interrupted;
  UsageEvent usage;
  REQUIRE(run_turn(session, *engine, request, [&](const TurnEvent& event) {
            if (std::holds_alternative<TextDelta>(event)) interrupted = true;
            if (const auto* end = std::get_if<UsageEvent>(&event)) usage = *end;
          }).has_value());
  CHECK(usage.reason == StopReason::interrupted);
  CHECK(usage.reply_tokens >= 1);
  CHECK(usage.reply_tokens < 10);
  interrupted = false;
  const Turn plain = [&] {
    Session fresh(*engine, 2048);
    return turn(*engine, fresh, copying, options, nullptr);
  }();
  CHECK(turn(*engine, session, copying, options, &speculation).ids == plain.ids);  // the session is sound

  // The prompt opens a thought: request.conversation.think, with a limit that closes it.
  request.conversation.think = true;
  request.options.thinking_tokens_max = 5;
  std::vector<int32_t> ids[2];
  for (const bool guessing : {false, true}) {
    Session fresh(*engine, 2048);
    request.speculation = guessing ? &speculation : nullptr;
    REQUIRE(run_turn(fresh, *engine, request, [&](const TurnEvent& event) {
              if (const auto* end = std::get_if<UsageEvent>(&event)) ids[guessing] = end->reply_ids;
            }).has_value());
  }
  CHECK(ids[0] == ids[1]);
}

}  // namespace lapidary
