#include "engine/draft_policy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <random>

namespace lapidary {
namespace {

// A machine in thought: what a call with some rows takes, and how often a guess is right.
struct World {
  std::function<double(int32_t rows)> seconds;
  double right = 0;         // the chance of each guess
  double believed = 0;      // what the source says; it may be wrong
  bool prompt_read = true;  // and so it is known what a row costs in a long call
};

struct Outcome {
  double seconds = 0, plain_seconds = 0;
  int64_t tokens = 0, calls = 0, guesses = 0;
  double speedup() const { return plain_seconds / seconds; }
};

Outcome write(const World& world, int64_t tokens, uint32_t seed) {
  std::mt19937 dice(seed);
  std::uniform_real_distribution<double> chance(0, 1);
  DraftPolicy policy;
  if (world.prompt_read) policy.times().expect_row(world.seconds(256) / 256);
  Acceptance acceptance({world.believed});
  Outcome outcome;
  while (outcome.tokens < tokens) {
    const size_t depth = policy.plan(1, std::vector<double>(32, acceptance.at(0))).depth;
    const auto rows = static_cast<int32_t>(depth) + 1;
    size_t right = 0;
    while (right < depth && chance(dice) < world.right) ++right;
    for (size_t i = 0; i < right; ++i) acceptance.add(0, true);
    acceptance.add(0, right == depth && chance(dice) < world.right);
    const double seconds = world.seconds(rows) * (0.97 + 0.06 * chance(dice));
    policy.add(1, static_cast<int32_t>(depth), static_cast<int32_t>(right), seconds);
    outcome.seconds += seconds;
    outcome.tokens += static_cast<int64_t>(right) + 1;
    outcome.plain_seconds += static_cast<double>(right + 1) * world.seconds(1);
    outcome.guesses += static_cast<int64_t>(depth);
    ++outcome.calls;
  }
  return outcome;
}

// Memory is the limit up to ten rows, then arithmetic.
double laptop(int32_t rows) { return 0.1 * std::max(1.0 + 0.02 * (rows - 1), rows / 8.0); }
// Arithmetic is the limit from the start: a call with two rows takes nearly two calls.
double slow_cores(int32_t rows) { return 0.1 * (0.1 + 0.9 * rows); }

}  // namespace

TEST_CASE("times: a median of the last few; between and beyond what was measured, an estimate on the dear side") {
  StepTimes times;
  CHECK(times.at(1) == 0);
  times.add(1, 9.0);  // the first call touches memory for the first time
  times.add(1, 1.0);
  CHECK(times.at(1) == 0);
  times.add(1, 1.0);
  CHECK(times.at(1) == 1.0);
  CHECK(times.at(6) == doctest::Approx(2.5));
  times.expect_row(0.25);
  CHECK(times.at(5) == doctest::Approx(2.0));
  times.add(9, 1.8);
  CHECK(times.at(9) == doctest::Approx(1.8));
  CHECK(times.at(5) == doctest::Approx(1.4));
  CHECK(times.at(17) > 1.8);
  for (int i = 0; i < 3; ++i) times.add(9, 1.2);
  CHECK(times.at(9) == doctest::Approx(1.2));
  times.add(3, 5.0);
  CHECK(times.at(3) == doctest::Approx(1.2));  // no more than nine rows take
  for (int i = 0; i < 5; ++i) times.add(1, 2.0);
  CHECK(times.at(1) == 2.0);
  CHECK(times.at(3) == 2.0);  // no less than one row takes
}

TEST_CASE("acceptance: begins at what is usual and follows what is seen") {
  Acceptance acceptance({0.3, 0.9});
  CHECK(acceptance.at(1) == 0.9);
  for (int i = 0; i < 300; ++i) acceptance.add(1, i % 4 == 0);
  CHECK(acceptance.at(1) == doctest::Approx(0.25).epsilon(0.15));
  CHECK(acceptance.at(0) == 0.3);
  for (int i = 0; i < 1000; ++i) acceptance.fade(1);
  CHECK(acceptance.at(1) == doctest::Approx(0.9).epsilon(0.02));
}

TEST_CASE("never slower than 0.98 of plain, however wrong the guesses and the belief in them are") {
  for (const auto& seconds : {laptop, slow_cores})
    for (const double right : {0.0, 0.1, 0.3, 0.5, 0.7, 0.9})
      for (const double believed : {0.1, 0.5, 0.99})
        for (const bool prompt_read : {false, true})
          for (const int64_t tokens : {50, 200, 2000}) {
            if (!prompt_read && tokens == 50) continue;  // the one trial that tells may cost a step
            CAPTURE(right);
            CAPTURE(believed);
            CAPTURE(prompt_read);
            CAPTURE(tokens);
            for (const uint32_t seed : {1, 2, 3, 4, 5, 6, 7, 8})
              CHECK(write({seconds, right, believed, prompt_read}, tokens, seed).speedup() >= 0.98);
          }
}

TEST_CASE("guesses that are right are used: as many as pay") {
  // At p = 0.9 and depth n the rate is (1 - p^(n+1)) / (1 - p) tokens for laptop(n + 1).
  const auto best = [](double right) {
    double rate = 0;
    for (int n = 0; n < draft_rows_max; ++n)
      rate = std::max(rate, (1 - std::pow(right, n + 1)) / (1 - right) * 0.1 / laptop(n + 1));
    return rate;
  };
  for (const double right : {0.5, 0.7, 0.9, 0.97}) {
    CAPTURE(right);
    CHECK(write({laptop, right, 0.6}, 3000, 7).speedup() >= 0.88 * best(right));
  }
  // Where guesses do not pay, hardly any are made.
  CHECK(static_cast<double>(write({slow_cores, 0.5, 0.5}, 3000, 7).guesses) < 0.1 * 3000);
}

TEST_CASE("tokens that are certain count as what the call takes anyway") {
  DraftPolicy policy;
  for (int i = 0; i < 3; ++i) policy.add(1, 0, 0, 0.1);
  const std::vector<double> sure(32, 0.99);
  CHECK(policy.plan(1, sure).depth > 0);
  CHECK(policy.plan(20, sure).depth <= static_cast<size_t>(draft_rows_max) - 20);
  CHECK(policy.plan(draft_rows_max, sure).depth == 0);
  CHECK(policy.plan(draft_rows_max + 40, sure).depth == 0);
  CHECK(policy.plan(1, {}).depth == 0);
  CHECK(policy.plan(1, sure, 10.0).depth == 0);  // dear guesses
}

}  // namespace lapidary
