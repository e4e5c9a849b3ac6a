#include "bench/speculation_speed.h"

#include <algorithm>
#include <random>
#include <vector>

#include "base/system.h"

namespace lapidary {
namespace {

constexpr int64_t plain_tokens = 16, drafter_prompt_tokens = 512, edit_every = 40;

// Tokens that seldom repeat, so that nothing but what is meant to repeats itself.
class Tokens {
 public:
  explicit Tokens(const ModelConfig& config) : vocabulary_(static_cast<uint32_t>(config.vocabulary)) {
    for (const int32_t stop : config.generation.stop_tokens) stops_.push_back(stop);
  }
  int32_t next() {
    while (true) {
      const auto token = static_cast<int32_t>(dice_() % vocabulary_);
      if (std::ranges::find(stops_, token) == stops_.end()) return token;
    }
  }
  double chance() { return std::uniform_real_distribution<double>(0, 1)(dice_); }

 private:
  std::mt19937 dice_{12345};
  uint32_t vocabulary_;
  std::vector<int32_t> stops_;
};

// Which token comes next, given what was guessed in its place (-1: nothing).
using Truth = std::function<int32_t(int32_t guess)>;

class Measurement {
 public:
  Measurement(Engine& engine, int64_t context, const GoOn& go_on)
      : speculation_(engine), session_(engine, context), go_on_(go_on) {}

  Result<SpeculationSpeed> run(const TokenizedPrompt& prompt, int64_t tokens, const Truth& truth,
                               const std::function<int32_t()>& other) {
    const double read_begin = monotonic_seconds();
    LAPIDARY_CHECK(session_.set_prompt(prompt, [&](int64_t, int64_t) { return !go_on_ || go_on_(); }));
    const double read_seconds = monotonic_seconds() - read_begin;
    LAPIDARY_TRY(const double before, plain(other));
    // Back to the prompt's end: what was written in between must not be in the text.
    LAPIDARY_CHECK(session_.set_prompt(prompt));
    speculation_.begin(prompt.ids, std::ssize(prompt.ids), read_seconds);
    SpeculationSpeed speed;
    const double begin = monotonic_seconds();
    LAPIDARY_TRY(speed.calls, write(&speculation_, tokens, truth));
    speed.tokens = tokens;
    speed.tokens_per_s = static_cast<double>(tokens) / (monotonic_seconds() - begin);
    speed.guesses = speculation_.counts();
    LAPIDARY_TRY(const double after, plain(other));
    speed.plain_tokens_per_s = 2 * plain_tokens / (before + after);
    return speed;
  }

 private:
  Result<double> plain(const std::function<int32_t()>& other) {
    const double begin = monotonic_seconds();
    LAPIDARY_CHECK(write(nullptr, plain_tokens, [&](int32_t) { return other(); }));
    return monotonic_seconds() - begin;
  }

  // The number of calls that it took.
  Result<int64_t> write(Speculation* speculation, int64_t tokens, const Truth& truth) {
    int64_t written = 0, calls = 0;
    size_t row = 0;  // of the current call, to be judged next
    LAPIDARY_CHECK(
        write_tokens(session_, speculation, [&](std::span<const float>, int64_t) -> Result<std::vector<int32_t>> {
          if (go_on_ && !go_on_()) return fail(ErrorKind::cancelled, "bench", "stopped");
          if (written == tokens) return std::vector<int32_t>();
          const std::span<const int32_t> guesses =
              speculation != nullptr ? speculation->guesses() : std::span<const int32_t>();
          const int32_t guess = row < guesses.size() ? guesses[row] : -1;
          const int32_t token = truth(guess);
          ++written;
          calls += token != guess;
          row = token == guess ? row + 1 : 0;
          return std::vector<int32_t>{token};
        }));
    return calls;
  }

  Speculation speculation_;
  Session session_;
  const GoOn& go_on_;
};

}  // namespace

Result<SpeculationSpeed> measure_edit(Engine& engine, int64_t tokens, const GoOn& go_on) {
  Tokens numbers(engine.config());
  TokenizedPrompt prompt;
  for (int64_t i = 0; i < tokens; ++i) prompt.ids.push_back(numbers.next());
  std::vector<int32_t> edited;
  for (size_t i = 0, edit = 0; static_cast<int64_t>(edited.size()) < tokens; ++i) {
    if (i >= prompt.ids.size()) {  // more was left out than put in
      edited.push_back(numbers.next());
      continue;
    }
    if (i % edit_every == edit_every - 1) {
      if (edit % 3 != 1) edited.push_back(numbers.next());  // put in, or
      if (edit++ % 3 != 2) continue;                        // in the token's place, or only left out
    }
    edited.push_back(prompt.ids[i]);
  }
  edited.resize(static_cast<size_t>(tokens));
  // Something has to stand between the text and its copy, as an instruction does.
  for (int i = 0; i < 8; ++i) prompt.ids.push_back(numbers.next());
  size_t at = 0;
  const int64_t context = 2 * tokens + 8 + 3 * plain_tokens;
  return Measurement(engine, context, go_on)
      .run(prompt, tokens, [&](int32_t) { return edited[at++]; }, [&] { return numbers.next(); });
}

Result<SpeculationSpeed> measure_drafter(Engine& engine, int64_t tokens, double right, const GoOn& go_on) {
  if (engine.drafter() == nullptr) return fail(ErrorKind::wrong_use, "bench", "there is no drafter");
  Tokens numbers(engine.config());
  TokenizedPrompt prompt;
  for (int64_t i = 0; i < drafter_prompt_tokens; ++i) prompt.ids.push_back(numbers.next());
  const auto truth = [&](int32_t guess) {
    if (guess >= 0 && numbers.chance() < right) return guess;
    int32_t token = numbers.next();
    while (token == guess) token = numbers.next();
    return token;
  };
  const int64_t context = drafter_prompt_tokens + tokens + 3 * plain_tokens;
  return Measurement(engine, context, go_on).run(prompt, tokens, truth, [&] { return numbers.next(); });
}

}  // namespace lapidary
