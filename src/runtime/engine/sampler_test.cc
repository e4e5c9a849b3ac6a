#include "engine/sampler.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "base/json.h"
#include "base/mapped_file.h"
#include "kernels/ops.h"

namespace lapidary {
namespace {

Json golden(const std::string& name) {
  const auto text = read_file("tests/golden/sampler/" + name, 1 << 24);
  REQUIRE(text.has_value());
  return parse_json(*text, name).value();
}

}  // namespace

TEST_CASE("filters keep what the reference keeps, with its probabilities") {
  for (const Json& row : golden("filters.json")) {
    const auto logits = row["logits"].get<std::vector<float>>();
    SamplerOptions options;
    options.suppress = row["options"]["suppress_tokens"].get<std::vector<int32_t>>();
    options.temperature = row["options"]["temperature"];
    options.top_k = row["options"]["top_k"];
    options.top_p = row["options"]["top_p"];
    options.min_p = row["options"]["min_p"];
    const std::vector<Candidate> kept = filter(logits, options);
    const auto expected_ids = row["kept_ids"].get<std::vector<int32_t>>();
    const auto expected = row["probabilities"].get<std::vector<double>>();
    REQUIRE(kept.size() == expected_ids.size());
    // Which of several exactly equal logits at the edge of top-p stay is an accident of the reference's unstable sort;
    // all others must agree by id.
    float least = INFINITY;
    for (const int32_t id : expected_ids) least = std::min(least, logits[static_cast<size_t>(id)]);
    std::set<int32_t> ids;
    for (const Candidate& candidate : kept) ids.insert(candidate.token);
    for (size_t i = 0; i < expected_ids.size(); ++i) {
      const float logit = logits[static_cast<size_t>(expected_ids[i])];
      if (logit > least) CHECK(ids.contains(expected_ids[i]));
      bool found = false;
      for (const Candidate& candidate : kept)
        found = found || (logits[static_cast<size_t>(candidate.token)] == logit &&
                          std::abs(candidate.probability - expected[i]) < 1e-6);
      CHECK(found);
    }
  }
}

TEST_CASE("softcap as the reference, in every variant") {
  for (const Kernels* kernels : available_kernels())
    for (const Json& row : golden("softcap.json")) {
      auto values = row["raw"].get<std::vector<float>>();
      const auto expected = row["logits"].get<std::vector<float>>();
      if (!row["softcap"].is_null())
        kernels->softcap(values.data(), row["softcap"], static_cast<int64_t>(values.size()));
      for (size_t i = 0; i < values.size(); ++i) CHECK(values[i] == doctest::Approx(expected[i]).epsilon(1e-5));
    }
}

TEST_CASE("the same seed gives the same tokens, another seed others") {
  std::vector<float> logits(50);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 7);
  const auto draw = [&](uint64_t seed) {
    Sampler sampler({.seed = seed});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 40; ++i) tokens.push_back(sampler.next(logits));
    return tokens;
  };
  CHECK(draw(1) == draw(1));
  CHECK(draw(1) != draw(2));
}

TEST_CASE("sampling follows the probabilities") {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  Sampler sampler({.seed = 7});
  std::vector<double> counts(3);
  constexpr int draws = 20'000;
  for (int i = 0; i < draws; ++i) ++counts[static_cast<size_t>(sampler.next(logits))];
  CHECK(counts[0] / draws == doctest::Approx(0.5).epsilon(0.03));
  CHECK(counts[1] / draws == doctest::Approx(0.3).epsilon(0.04));
  CHECK(counts[2] / draws == doctest::Approx(0.2).epsilon(0.05));
}

TEST_CASE("pitfall 35: suppressed tokens are never chosen, greedy or not; nothing left is -1, not a crash") {
  const std::vector<float> logits = {1, 5, 3};
  Sampler greedy({.greedy = true, .suppress = {1}});
  CHECK(greedy.next(logits) == 2);
  Sampler sampled({.suppress = {0, 1}});
  for (int i = 0; i < 20; ++i) CHECK(sampled.next(logits) == 2);
  const std::vector<float> damaged = {NAN, NAN, NAN};
  CHECK(greedy.next(damaged) == -1);
  CHECK(sampled.next(damaged) == -1);
}

}  // namespace lapidary
