// NEON with dot products (Armv8.2; every Apple M1 and later): sixteen floats are four registers, a panel is four rows.
// With LAPIDARY_MATRIX_PRODUCTS (i8mm) two rows of weights are multiplied with two of activations in one instruction.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#define LAPIDARY_INLINE [[gnu::always_inline]] inline

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// Sixteen floats. All float arithmetic of the int8 family is written in terms of this, so that it rounds alike
// everywhere.
struct Lanes {
  float32x4_t v[4];
};
inline constexpr int lane_count = 16;

// Applies `each` to the four registers of its arguments.
template <typename Each, typename... More>
LAPIDARY_INLINE Lanes by_fours(Each each, const More&... more) {
  return {each(more.v[0]...), each(more.v[1]...), each(more.v[2]...), each(more.v[3]...)};
}

LAPIDARY_INLINE Lanes broadcast(float value) {
  const float32x4_t four = vdupq_n_f32(value);
  return {four, four, four, four};
}
LAPIDARY_INLINE Lanes load(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
LAPIDARY_INLINE void store(float* p, Lanes a) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.v[i]);
}

// Words of 16 bits at any address.
LAPIDARY_INLINE uint16x4_t load_words(const void* p, int64_t first) {
  return vreinterpret_u16_u8(vld1_u8(static_cast<const uint8_t*>(p) + 2 * first));
}
LAPIDARY_INLINE Lanes load_halves(const void* p) {
  const auto at = [p](int first) { return vcvt_f32_f16(vreinterpret_f16_u16(load_words(p, first))); };
  return {at(0), at(4), at(8), at(12)};
}
LAPIDARY_INLINE void store_halves(void* p, Lanes a) {
  for (int i = 0; i < 4; ++i) vst1_u8(static_cast<uint8_t*>(p) + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(a.v[i])));
}
LAPIDARY_INLINE Lanes load_bfloats(const void* p) {
  const auto at = [p](int first) { return vreinterpretq_f32_u32(vshll_n_u16(load_words(p, first), 16)); };
  return {at(0), at(4), at(8), at(12)};
}

LAPIDARY_INLINE Lanes operator+(Lanes a, Lanes b) {
  return by_fours([](float32x4_t x, float32x4_t y) { return vaddq_f32(x, y); }, a, b);
}
LAPIDARY_INLINE Lanes operator-(Lanes a, Lanes b) {
  return by_fours([](float32x4_t x, float32x4_t y) { return vsubq_f32(x, y); }, a, b);
}
LAPIDARY_INLINE Lanes operator*(Lanes a, Lanes b) {
  return by_fours([](float32x4_t x, float32x4_t y) { return vmulq_f32(x, y); }, a, b);
}
LAPIDARY_INLINE Lanes operator/(Lanes a, Lanes b) {
  return by_fours([](float32x4_t x, float32x4_t y) { return vdivq_f32(x, y); }, a, b);
}
LAPIDARY_INLINE Lanes fused(Lanes a, Lanes b, Lanes c) {  // a * b + c
  return by_fours([](float32x4_t x, float32x4_t y, float32x4_t z) { return vfmaq_f32(z, x, y); }, a, b, c);
}
// Of two lanes where one is a NaN: b.
LAPIDARY_INLINE Lanes larger(Lanes a, Lanes b) {
  return by_fours([](float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }, a, b);
}
LAPIDARY_INLINE Lanes smaller(Lanes a, Lanes b) {
  return by_fours([](float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }, a, b);
}
LAPIDARY_INLINE Lanes rounded(Lanes a) {
  return by_fours([](float32x4_t x) { return vrndnq_f32(x); }, a);
}
LAPIDARY_INLINE Lanes magnitude(Lanes a) {
  return by_fours([](float32x4_t x) { return vabsq_f32(x); }, a);
}
LAPIDARY_INLINE Lanes with_sign_of(Lanes a, Lanes sign) {  // a >= 0
  return by_fours([](float32x4_t x, float32x4_t s) { return vbslq_f32(vdupq_n_u32(0x80000000), s, x); }, a, sign);
}
LAPIDARY_INLINE Lanes zero_where_less(Lanes a, Lanes x, Lanes limit) {
  return by_fours(
      [](float32x4_t value, float32x4_t y, float32x4_t least) {
        return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(y, least)));
      },
      a, x, limit);
}
// 2^a for whole numbers -126 <= a <= 127.
LAPIDARY_INLINE Lanes power_of_two(Lanes a) {
  return by_fours(
      [](float32x4_t x) {
        return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(x), vdupq_n_s32(127)), 23));
      },
      a);
}

// The order of all sums over lanes: i with i + 8, then i + 4, i + 2, i + 1.
LAPIDARY_INLINE float sum_of(Lanes a) {
  const float32x4_t four = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
LAPIDARY_INLINE float largest_of(Lanes a) {
  const auto larger_of = [](float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); };
  float values[4];
  vst1q_f32(values, larger_of(larger_of(a.v[0], a.v[2]), larger_of(a.v[1], a.v[3])));
  const auto larger = [](float x, float y) { return x > y ? x : y; };
  return larger(larger(values[0], values[2]), larger(values[1], values[3]));
}
LAPIDARY_INLINE float square_root(float x) { return __builtin_sqrtf(x); }

// Blocks of 32 for quantize_row: the bits of the largest magnitude (a NaN or infinity is above all numbers) ...
LAPIDARY_INLINE uint32_t largest_magnitude_bits(const float* x) {
  uint32x4_t largest = vdupq_n_u32(0);
  for (int i = 0; i < 32; i += 4)
    largest = vmaxq_u32(largest, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x7fffffff)));
  return vmaxvq_u32(largest);
}
// ... and the 16 products x * factor, rounded to bytes; returns their sum.
LAPIDARY_INLINE int32_t store_rounded_bytes(int8_t* out, const float* x, float factor) {
  int32x4_t fours[4];
  for (int i = 0; i < 4; ++i) fours[i] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), factor));
  const int16x8_t low = vcombine_s16(vqmovn_s32(fours[0]), vqmovn_s32(fours[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(fours[2]), vqmovn_s32(fours[3]));
  vst1q_s8(out, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
  return vaddvq_s32(vaddq_s32(vaddq_s32(fours[0], fours[1]), vaddq_s32(fours[2], fours[3])));
}

// How many results a tile keeps in registers: heads x keys, heads x lanes of values, weight rows x activation rows.
inline constexpr int tile_heads = 2;
inline constexpr int tile_rows = 2;
inline constexpr int tile_activations = 2;

// A panel: rows of quantised weights side by side, one in each 32-bit lane.
using Ints = int32x4_t;
using Floats = float32x4_t;
inline constexpr int panel_rows = 4;
// Panels that share what is loaded of the activations: 16 registers of codes leave as many for the rest.
inline constexpr int panels_at_once = 2;

LAPIDARY_INLINE Ints every(int32_t value) { return vdupq_n_s32(value); }
LAPIDARY_INLINE Ints bits_and(Ints a, Ints b) { return vandq_s32(a, b); }
LAPIDARY_INLINE Ints bits_or(Ints a, Ints b) { return vorrq_s32(a, b); }
LAPIDARY_INLINE Ints bits_xor(Ints a, Ints b) { return veorq_s32(a, b); }
LAPIDARY_INLINE Ints shift_right(Ints a, int count) {
  return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-count)));
}
LAPIDARY_INLINE Ints shift_left(Ints a, int count) { return vshlq_s32(a, vdupq_n_s32(count)); }
LAPIDARY_INLINE Ints shift_right_signed(Ints a, int count) { return vshlq_s32(a, vdupq_n_s32(-count)); }
LAPIDARY_INLINE Ints subtract(Ints a, Ints b) { return vsubq_s32(a, b); }
LAPIDARY_INLINE Ints multiply(Ints a, Ints b) { return vmulq_s32(a, b); }
// Byte by byte: the entry of a table of 16 that its low four bits name; they are below 16.
LAPIDARY_INLINE Ints look_up(const int8_t* table, uint8_t flip, Ints nibbles) {
  const int8x16_t entries = veorq_s8(vld1q_s8(table), vreinterpretq_s8_u8(vdupq_n_u8(flip)));
  return vreinterpretq_s32_s8(vqtbl1q_s8(entries, vreinterpretq_u8_s32(nibbles)));
}

LAPIDARY_INLINE Floats every_float(float value) { return vdupq_n_f32(value); }
LAPIDARY_INLINE Floats to_floats(Ints a) { return vcvtq_f32_s32(a); }
LAPIDARY_INLINE Floats low_halves(Ints a) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(a))));
}
LAPIDARY_INLINE Floats high_halves(Ints a) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(vreinterpretq_u32_s32(a), 16)));
}
LAPIDARY_INLINE Floats times(Floats a, Floats b) { return vmulq_f32(a, b); }
LAPIDARY_INLINE Floats fused_floats(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
LAPIDARY_INLINE Floats fused_minus(Floats a, Floats b, Floats c) { return vfmsq_f32(c, a, b); }  // c - a * b
// Stores `count` lanes from `lane` on at `out`.
LAPIDARY_INLINE void store_lanes(float* out, Floats a, int lane, int count) {
  float values[panel_rows];
  vst1q_f32(values, a);
  for (int i = 0; i < count; ++i) out[i] = values[lane + i];
}

// Where the rows of a panel are.
struct Rows {
  const uint8_t* first;
  int64_t stride;
};
LAPIDARY_INLINE Rows rows_at(const uint8_t* p, int64_t stride) { return {p, stride}; }
LAPIDARY_INLINE void advance(Rows& rows, int64_t bytes) { rows.first += bytes; }

// Lane r: the 4 bytes of row r at `offset`.
LAPIDARY_INLINE Ints load_dwords(const Rows& rows, int64_t offset) {
  int32_t dwords[panel_rows];
  for (int r = 0; r < panel_rows; ++r) __builtin_memcpy(dwords + r, rows.first + r * rows.stride + offset, 4);
  return vld1q_s32(dwords);
}

// out[j], lane r: dword j of the 16 bytes of row r at `offset`.
LAPIDARY_INLINE void load_transposed(const Rows& rows, int64_t offset, Ints* out) {
  const auto at = [&rows, offset](int r) {
    return vreinterpretq_s32_u8(vld1q_u8(rows.first + r * rows.stride + offset));
  };
  const Ints a = at(0), b = at(1), c = at(2), d = at(3);
  const auto low_pairs = [](Ints x, Ints y) {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(x), vreinterpretq_s64_s32(y)));
  };
  const auto high_pairs = [](Ints x, Ints y) {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(x), vreinterpretq_s64_s32(y)));
  };
  const Ints ab_low = vzip1q_s32(a, b), ab_high = vzip2q_s32(a, b);
  const Ints cd_low = vzip1q_s32(c, d), cd_high = vzip2q_s32(c, d);
  out[0] = low_pairs(ab_low, cd_low);
  out[1] = high_pairs(ab_low, cd_low);
  out[2] = low_pairs(ab_high, cd_high);
  out[3] = high_pairs(ab_high, cd_high);
}

inline constexpr bool wants_signed_bytes = true;  // sdot multiplies signed bytes; narrower codes are below 128 anyway

// Adds to each row's sum in sums[p] the products of 4 * count codes of panel p, from codes[p][first] on, with the bytes
// at q.
template <int bits, int count, int panels>
LAPIDARY_INLINE void add_products(Ints* sums, const Ints (*codes)[8], int first, const int8_t* q) {
  for (int j = 0; j < count; j += 4) {
    const int8x16_t bytes = vld1q_s8(q + 4 * j);
    for (int p = 0; p < panels; ++p) {
      const auto code = [&](int i) { return vreinterpretq_s8_s32(codes[p][first + j + i]); };
      sums[p] = vdotq_laneq_s32(sums[p], code(0), bytes, 0);
      sums[p] = vdotq_laneq_s32(sums[p], code(1), bytes, 1);
      sums[p] = vdotq_laneq_s32(sums[p], code(2), bytes, 2);
      sums[p] = vdotq_laneq_s32(sums[p], code(3), bytes, 3);
    }
  }
}

#if defined(LAPIDARY_MATRIX_PRODUCTS)
// The same with two rows of activations: adds their products to sums_q and sums_r.
template <int count, int panels>
LAPIDARY_INLINE void add_products_of_two(Ints* sums_q, Ints* sums_r, const Ints (*codes)[8], int first, const int8_t* q,
                                         const int8_t* r) {
  Ints low[panels], high[panels];  // of the panel's rows 0 and 1, 2 and 3: with q, with r, with q, with r
  for (int p = 0; p < panels; ++p) low[p] = high[p] = every(0);
  for (int j = 0; j < count; j += 2) {
    const int8x16_t bytes = vcombine_s8(vld1_s8(q + 4 * j), vld1_s8(r + 4 * j));
    for (int p = 0; p < panels; ++p) {
      const Ints a = codes[p][first + j],
                 b = codes[p][first + j + 1];  // zipped: eight codes of a row, eight of the next
      low[p] = vmmlaq_s32(low[p], vreinterpretq_s8_s32(vzip1q_s32(a, b)), bytes);
      high[p] = vmmlaq_s32(high[p], vreinterpretq_s8_s32(vzip2q_s32(a, b)), bytes);
    }
  }
  for (int p = 0; p < panels; ++p) {
    sums_q[p] = vaddq_s32(sums_q[p], vuzp1q_s32(low[p], high[p]));
    sums_r[p] = vaddq_s32(sums_r[p], vuzp2q_s32(low[p], high[p]));
  }
}
#endif

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
