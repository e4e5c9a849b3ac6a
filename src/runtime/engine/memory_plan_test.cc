#include "engine/memory_plan.h"

#include <doctest/doctest.h>

namespace lapidary {
namespace {

// The 12B's shape: gemma4.md, "The decoder".
ModelConfig twelve_billion() {
  ModelConfig config;
  config.hidden = 3840;
  config.vocabulary = 262144;
  config.context_max = 262144;
  config.window = 1024;
  for (int32_t i = 0; i < 48; ++i) {
    const bool full = i % 6 == 5;
    config.layers.push_back(
        {full ? AttentionKind::full : AttentionKind::sliding, 16, full ? 1 : 8, full ? 512 : 256, 15360, full});
  }
  config.rope_sliding.resize(128);
  config.rope_full.resize(256);
  config.vision.emplace();
  return config;
}

constexpr uint64_t file_bytes = 6'975'872'160;  // Q4_0 with a Q6_K head

MemoryState available(uint64_t gigabytes) { return {gigabytes << 30, gigabytes << 30, "memory"}; }

}  // namespace

TEST_CASE("the 12B in Q4_0 with 32K context needs at most the file and 1.3 GB") {
  const MemoryPlan plan = plan_memory(twelve_billion(), file_bytes, KvType::f16, 32768);
  CHECK(plan.total_bytes() <= file_bytes + 1'300'000'000);
  // 8,192 bytes a token on full layers, twice that with keys, 327,680 in the rings (gemma4.md 1.6), before the chunk's
  // share and a checkpoint's rings.
  constexpr uint64_t rings = 1024ULL * 327680;
  CHECK(plan.kv_bytes >= 32768ULL * 8192 + 2 * rings);
  CHECK(plan.kv_bytes <= 32768ULL * 8192 + 2.6 * rings);
  CHECK(plan_memory(twelve_billion(), file_bytes, KvType::f16_keys, 32768).kv_bytes - plan.kv_bytes >= 32768ULL * 8192);
}

TEST_CASE("the 12B remembers 256K tokens in 2.7 GB, its checkpoint aside") {
  const KvDemand demand = kv_demand(twelve_billion(), KvType::f16, 280);
  CHECK(demand.at(262144) <= 2'700'000'000);
}

TEST_CASE("too little memory: refused with the context that fits, or with the size of a file that would") {
  const ModelConfig config = twelve_billion();
  const auto six = check_memory(config, file_bytes, KvType::f16, 8192, available(6));
  REQUIRE(!six.has_value());
  CHECK(six.error().kind == ErrorKind::out_of_memory);
  CHECK(six.error().message.find("take a model file of at most") != std::string::npos);

  const auto eight = check_memory(config, file_bytes, KvType::f16, 262144, available(8));
  REQUIRE(!eight.has_value());
  CHECK(eight.error().message.find("--context ") != std::string::npos);

  CHECK(check_memory(config, file_bytes, KvType::f16, 8192, available(8)).has_value());
  CHECK(check_memory(config, file_bytes, KvType::f16, 131072, available(12)).has_value());
  CHECK(check_memory(config, file_bytes, KvType::f16, 262144, available(16)).has_value());
}

TEST_CASE("the largest context fits, and the next one does not") {
  const ModelConfig config = twelve_billion();
  for (const uint64_t gigabytes : {8, 9, 10}) {
    const uint64_t bytes = gigabytes << 30;
    const int64_t context = largest_context(config, file_bytes, KvType::f16, bytes);
    REQUIRE(context > 0);
    CHECK(plan_memory(config, file_bytes, KvType::f16, context).total_bytes() <= bytes);
    if (context < config.context_max)
      CHECK(plan_memory(config, file_bytes, KvType::f16, context + 256).total_bytes() > bytes);
  }
  CHECK(largest_context(config, file_bytes, KvType::f16, 1ULL << 30) == 0);
  CHECK(largest_context(config, file_bytes, KvType::f16, 1ULL << 40) == 262144);
}

}  // namespace lapidary
