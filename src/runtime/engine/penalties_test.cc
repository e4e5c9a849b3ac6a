#include "engine/penalties.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace lapidary {
namespace {

std::vector<float> penalised(const PenaltyOptions& options, const std::vector<int32_t>& said,
                             const std::vector<float>& logits) {
  Penalties penalties(options);
  for (const int32_t token : said) penalties.add(token);
  const auto result = penalties.apply(logits);
  return {result.begin(), result.end()};
}

const std::vector<float> logits = {4, -2, 0, 1};

}  // namespace

TEST_CASE("presence once, frequency once an occurrence, repeat by the sign") {
  CHECK(penalised({.presence = 1.5}, {0, 0, 1}, logits) == std::vector<float>{2.5F, -3.5F, 0, 1});
  CHECK(penalised({.frequency = 0.5}, {0, 0, 1}, logits) == std::vector<float>{3, -2.5F, 0, 1});
  CHECK(penalised({.repeat = 2}, {0, 0, 1, 2}, logits) == std::vector<float>{2, -4, 0, 1});
  CHECK(penalised({.repeat = 2, .frequency = 0.5, .presence = 1}, {0, 0}, logits) == std::vector<float>{0, -2, 0, 1});
  CHECK(penalised({.presence = -1}, {3}, logits) == std::vector<float>{4, -2, 0, 2});
}

TEST_CASE("only the last tokens count, each as often as it is among them") {
  const std::vector<int32_t> said = {0, 0, 0, 1, 3, 0};
  CHECK(penalised({.frequency = 1, .last_n = 3}, said, logits) == std::vector<float>{3, -3, 0, 0});
  CHECK(penalised({.frequency = 1, .last_n = 2}, said, logits) == std::vector<float>{3, -2, 0, 0});
  CHECK(penalised({.frequency = 1, .last_n = 100}, said, logits) == std::vector<float>{0, -3, 0, 0});
  CHECK(penalised({.frequency = 1, .last_n = -1}, said, logits) == std::vector<float>{0, -3, 0, 0});
  CHECK(penalised({.frequency = 1, .last_n = 0}, said, logits) == logits);
}

TEST_CASE("without penalties the logits are not even copied") {
  Penalties none({});
  none.add(0);
  CHECK(none.apply(logits).data() == logits.data());
  Penalties nothing_said({.presence = 1});
  CHECK(nothing_said.apply(logits).data() == logits.data());
}

TEST_CASE("what is no token and what is no number stay as they are") {
  const float nothing = std::numeric_limits<float>::quiet_NaN(), never = -std::numeric_limits<float>::infinity();
  const auto result = penalised({.repeat = 2, .presence = 1}, {-1, 7, 0, 1}, {nothing, never});
  CHECK(std::isnan(result[0]));
  CHECK(result[1] == never);
}

}  // namespace lapidary
