#include "model/kv_cache.h"

#include <doctest/doctest.h>

#include <map>

#include "tensor/dequantize.h"

namespace lapidary {
namespace {

// One sliding layer (window 100) and one full one; a head of 8.
ModelConfig two_layers() {
  ModelConfig config;
  config.window = 100;
  config.layers = {{AttentionKind::sliding, 2, 2, 8, 16, false}, {AttentionKind::full, 2, 1, 8, 16, true}};
  return config;
}

const Kernels& reference() { return *available_kernels().back(); }

void fill(KvCache& cache, int64_t count, float tag) {
  REQUIRE(cache.reserve(count).has_value());
  for (int64_t p = cache.length(); p < cache.length() + count; ++p)
    for (int32_t layer = 0; layer < 2; ++layer)
      for (int32_t head = 0; head < (layer == 0 ? 2 : 1); ++head) {
        const std::vector<float> key(8, static_cast<float>(p) + tag), value(8, -static_cast<float>(p) - tag);
        cache.write(layer, head, p, key.data(), value.data(), reference());
      }
  cache.commit(count);
}

float key_at(const KvCache& cache, int32_t layer, int64_t position) {
  std::vector<KvSpan> spans;
  cache.spans(layer, 0, position, position + 1, spans);
  return *static_cast<const float*>(spans.at(0).key);
}

}  // namespace

TEST_CASE("what is written is found, whatever the chunks") {
  const ModelConfig config = two_layers();
  for (int64_t chunk : {1, 7, 64, 130}) {
    KvPool pool;
    KvCache cache(config, pool, KvType::f32);
    while (cache.length() + chunk <= 400) fill(cache, chunk, 0);
    for (int64_t p = 0; p < cache.length(); ++p) CHECK(key_at(cache, 1, p) == static_cast<float>(p));
    for (int64_t p = cache.length() - config.window; p < cache.length(); ++p)
      CHECK(key_at(cache, 0, p) == static_cast<float>(p));
  }
}

TEST_CASE("sliding layers keep a ring, full layers everything; the plan says how much") {
  const ModelConfig config = two_layers();
  KvPool pool;
  KvCache cache(config, pool, KvType::f16);
  while (cache.length() < 6400) fill(cache, 32, 0);
  const KvDemand demand = kv_demand(config, KvType::f16, 32);
  CHECK(pool.bytes_peak() <= demand.at(6400));
  CHECK(pool.bytes_in_use() < 100 * 2 * 2 * 64 * 8 * 2 + 6 * 2 * 2 * 2 * 64 * 8 * 2);
}

TEST_CASE("a full layer whose values are its key projection stores values alone, at half the size") {
  const ModelConfig config = two_layers();
  CHECK(kv_demand(config, KvType::f16, 32).full_page_bytes == 64 * 8 * 2);
  CHECK(kv_demand(config, KvType::f16_keys, 32).full_page_bytes == 2 * 64 * 8 * 2);
  CHECK(kv_demand(config, KvType::f32, 32).full_page_bytes == 2 * 64 * 8 * 4);
  KvPool pool;
  KvCache cache(config, pool, KvType::f16);
  CHECK(!cache.values_alone(0));
  CHECK(cache.values_alone(1));
  fill(cache, 130, 0);
  std::vector<KvSpan> spans;
  cache.spans(1, 0, 60, 130, spans);
  REQUIRE(spans.size() == 3);
  const int64_t positions[] = {60, 64, 128};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(spans[i].key == nullptr);
    CHECK(spans[i].position == positions[i]);
    CHECK(half_to_float(*static_cast<const uint16_t*>(spans[i].value)) == -static_cast<float>(positions[i]));
  }
}

TEST_CASE("pitfall 15: a fork is a checkpoint of the ring; writing on does not disturb it, nor the other way round") {
  const ModelConfig config = two_layers();
  KvPool pool;
  KvCache cache(config, pool, KvType::f32);
  fill(cache, 150, 0);
  KvCache copy = cache.fork();
  fill(cache, 300, 0.5F);
  fill(copy, 3, 0.25F);
  CHECK(copy.length() == 153);
  for (int64_t p = 60; p < 150; ++p) CHECK(key_at(copy, 0, p) == static_cast<float>(p));
  for (int64_t p = 0; p < 150; ++p) CHECK(key_at(copy, 1, p) == static_cast<float>(p));
  CHECK(key_at(copy, 0, 150) == 150.25F);
  CHECK(key_at(cache, 1, 150) == 150.5F);
}

TEST_CASE("pages can be counted, each once, and free ones given back") {
  const ModelConfig config = two_layers();
  KvPool pool;
  KvCache cache(config, pool, KvType::f32);
  fill(cache, 150, 0);
  const KvCache copy = cache.fork();
  std::map<const void*, uint64_t> pages;
  for (const KvCache* each : {static_cast<const KvCache*>(&cache), &copy})
    each->visit_pages([&](const void* page, uint64_t bytes) { pages[page] = bytes; });
  uint64_t sum = 0;
  for (const auto& [page, bytes] : pages) sum += bytes;
  CHECK(pages.size() == 6);
  CHECK(sum == pool.bytes_in_use());
  CHECK(cache.can_truncate(149));
  CHECK_FALSE(cache.can_truncate(151));
  cache.clear();
  pool.trim();
  CHECK(key_at(copy, 0, 149) == 149.0F);
  CHECK(pool.bytes_in_use() == sum);
}

TEST_CASE("truncate: back within the window, refused beyond it") {
  const ModelConfig config = two_layers();
  KvPool pool;
  KvCache cache(config, pool, KvType::f32);
  for (int i = 0; i < 40; ++i) fill(cache, 10, 0);
  CHECK(!cache.truncate(200));
  CHECK(cache.length() == 400);
  CHECK(cache.truncate(395));
  fill(cache, 10, 0.5F);
  CHECK(key_at(cache, 0, 395) == 395.5F);
  CHECK(key_at(cache, 1, 394) == 394.0F);
  CHECK(!cache.truncate(500));
  cache.clear();
  CHECK(pool.bytes_in_use() == 0);
}

}  // namespace lapidary
