// What sets of instructions without masks share: the first few lanes by way of memory. Needs the lanes' load, store,
// load_halves, store_halves and load_bfloats.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// The first `count` lanes, 0 < count < 16; the others are zero.
LAPIDARY_INLINE Lanes load_some(const float* p, int64_t count) {
  float values[lane_count] = {};
  for (int64_t i = 0; i < count; ++i) __builtin_memcpy(values + i, p + i, sizeof(float));  // p may be unaligned
  return load(values);
}
LAPIDARY_INLINE void store_some(float* p, Lanes a, int64_t count) {
  float values[lane_count];
  store(values, a);
  for (int64_t i = 0; i < count; ++i) p[i] = values[i];
}

// 16 words of which the first `count` are those at p.
struct SomeWords {
  uint16_t words[lane_count] = {};
  LAPIDARY_INLINE SomeWords(const void* p, int64_t count) {
    for (int64_t i = 0; i < count; ++i) __builtin_memcpy(words + i, static_cast<const uint8_t*>(p) + 2 * i, 2);
  }
};
LAPIDARY_INLINE Lanes load_some_halves(const void* p, int64_t count) { return load_halves(SomeWords(p, count).words); }
LAPIDARY_INLINE Lanes load_some_bfloats(const void* p, int64_t count) {
  return load_bfloats(SomeWords(p, count).words);
}
LAPIDARY_INLINE void store_some_halves(void* p, Lanes a, int64_t count) {
  uint16_t words[lane_count];
  store_halves(words, a);
  for (int64_t i = 0; i < count; ++i) __builtin_memcpy(static_cast<uint8_t*>(p) + 2 * i, words + i, 2);
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
