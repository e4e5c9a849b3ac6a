// The bench measures what it says: machine loops do the work they count, and a model's speed does not depend on itself.
#include <doctest/doctest.h>

#include <array>

#include "base/system.h"
#include "bench/machine_peak.h"
#include "bench/model_speed.h"
#include "bench/speculation_speed.h"

using namespace lapidary;

namespace {

std::unique_ptr<Engine> spark(int threads) {
  auto model = LoadedModel::open("models/spark");
  REQUIRE(model);
  EngineOptions options;
  options.threads = threads;
  auto engine = Engine::create(std::shared_ptr<const LoadedModel>(std::move(*model)), options);
  REQUIRE(engine);
  return std::move(*engine);
}

}  // namespace

TEST_CASE("a spread is the median, also of an even number of values") {
  CHECK(spread_of({3, 1, 2}).median == 2);
  const Spread even = spread_of({4, 1, 2, 8});
  CHECK(even.median == 3);
  CHECK(even.min == 1);
  CHECK(even.max == 8);
  CHECK(spread_of({}).max == 0);
}

TEST_CASE("the memory is read at a speed that memory has") {
  const auto stream = measure_stream(2, 64 << 20, 3);
  REQUIRE(stream);
  CHECK(stream->median > 0.5);
  CHECK(stream->median < 10000);
  CHECK(stream->min <= stream->median);
  CHECK(!measure_stream(4, 4096, 1));
}

TEST_CASE("each kernel variant of this machine has an int8 peak, the reference has none") {
  double last = 1e9;
  for (const Kernels* kernels : available_kernels()) {
    const auto peak = measure_int8(kernels->name, 1, 3);
    CHECK(peak.has_value() == (kernels->quantize_row != nullptr));
    if (!peak) continue;
    CHECK(peak->median > 1);
    CHECK(peak->max < 1e6);
    CHECK(peak->max < 1.5 * last);  // best first
    last = peak->max;
  }
  CHECK(!measure_int8("ref", 1, 1));
  CHECK(!measure_int8("no such", 1, 1));
}

TEST_CASE("speed is measured at every depth, computed or made up, and the logits are the same whatever is timed") {
  const auto engine = spark(2);
  SpeedOptions options;
  options.prefill_tokens = 24;
  options.decode_tokens = 4;
  options.depths = {0, 40};
  options.verify_rows = {1, 3};
  options.verify_depth = 16;
  options.reps = 2;
  const auto speed = measure_speed(*engine, options, {});
  REQUIRE(speed);
  REQUIRE(speed->prefill.size() == 2);
  REQUIRE(speed->decode.size() == 2);
  REQUIRE(speed->verify.size() == 2);
  CHECK(speed->prefill[1].depth == 40);
  CHECK(speed->decode[0].tokens_per_s.median > 0);
  CHECK(speed->decode[0].cpu_s_per_token > 0);
  CHECK(speed->verify[1].rows == 3);
  CHECK(speed->verify[1].ms.min > 0);

  options.depths = {0};
  options.verify_rows.clear();
  const auto again = measure_speed(*spark(1), options, {});
  REQUIRE(again);
  CHECK(again->logits_hash == speed->logits_hash);
  CHECK(again->logits_hash != 0);
}

TEST_CASE("a deep cache is made up, without computing it") {
  const auto engine = spark(1);
  SpeedOptions options;
  options.prefill_tokens = 0;
  options.decode_tokens = 2;
  options.depths = {computed_depth_max + 100};
  options.reps = 1;
  const auto speed = measure_speed(*engine, options, {});
  REQUIRE(speed);
  CHECK(speed->decode[0].depth == computed_depth_max + 100);
  CHECK(speed->logits_hash != 0);
}

TEST_CASE("measuring can be stopped") {
  const auto engine = spark(1);
  int steps = 0;
  const auto stopped = measure_speed(*engine, {}, [&](std::string_view) { return ++steps < 3; });
  REQUIRE(!stopped);
  CHECK(stopped.error().kind == ErrorKind::cancelled);
}

TEST_CASE("an edit and a drafter: every token is a guess that was right, or took a call") {
  const auto engine = spark(2);
  const auto edit = measure_edit(*engine, 400, {});
  REQUIRE_MESSAGE(edit.has_value(), (edit ? "" : edit.error().text()));
  CHECK(edit->tokens == 400);
  CHECK(edit->calls + edit->guesses.accepted == 400);
  CHECK(edit->guesses.accepted <= edit->guesses.drafted);
  CHECK(edit->speedup() > 0);
  CHECK(measure_drafter(*engine, 100, 0.5, {}).error().kind == ErrorKind::wrong_use);
  CHECK(measure_edit(*engine, 400, [] { return false; }).error().kind == ErrorKind::cancelled);

  auto model = LoadedModel::open("tests/golden/unified/model");
  REQUIRE(model);
  EngineOptions options;
  options.threads = 2;
  const auto tiny = std::move(Engine::create(std::shared_ptr<const LoadedModel>(std::move(*model)), options).value());
  auto drafter = LoadedDrafter::open("tests/golden/assistant/model", tiny->config());
  REQUIRE(drafter);
  tiny->set_drafter(*drafter);
  for (const double right : {0.0, 1.0}) {
    const auto drafted = measure_drafter(*tiny, 200, right, {});
    REQUIRE(drafted);
    CHECK(drafted->calls + drafted->guesses.accepted == 200);
    if (right == 0) CHECK(drafted->guesses.accepted == 0);
  }
}

TEST_CASE("the work of a token is its weights, the head only in decode") {
  const auto engine = spark(1);
  const TokenWork work = token_work(engine->model().weights());
  const auto& weights = engine->model().weights();
  CHECK(work.decode_bytes > static_cast<uint64_t>(weights.head.bytes()));
  CHECK(work.decode_bytes <= engine->model().file_bytes());
  // bf16: two operations a weight of two bytes.
  CHECK(work.prefill_operations ==
        doctest::Approx(static_cast<double>(work.decode_bytes) - static_cast<double>(weights.head.bytes())));
}
