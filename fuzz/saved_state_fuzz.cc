// A file of the disk cache: header, tokens and pages, without the checksums that only damage would have to get past.
#include "service/state_file.h"
#include "small_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  // One sliding layer and one full one, so small that a corpus file can hold their pages.
  ModelConfig config;
  config.window = 100;
  config.layers = {{AttentionKind::sliding, 1, 1, 2, 16, false}, {AttentionKind::full, 1, 1, 2, 16, true}};
  const auto saved = parse_saved_state(std::as_bytes(std::span(data, size)), "state", false);
  if (!saved) {
    fuzz::require(!saved.error().message.empty());
    return 0;
  }
  fuzz::require(saved->line.length() > 0 && saved->state.size() < size);
  KvPool pool;
  {
    KvCache cache(config, pool, KvType::f32);
    const auto restored = cache.restore(saved->line.length(), saved->state, "state");
    fuzz::require(cache.length() == (restored ? saved->line.length() : 0));
    if (restored) {
      fuzz::require(cache.saved_bytes() == saved->state.size());
      fuzz::require(cache.reserve(10).has_value());  // and it can be written on
    }
  }
  fuzz::require(pool.bytes_in_use() == 0);
  return 0;
}
