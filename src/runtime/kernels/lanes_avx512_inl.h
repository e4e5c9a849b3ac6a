// AVX-512: sixteen floats are one register, a panel is sixteen rows.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define LAPIDARY_INLINE [[gnu::always_inline]] inline

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// Sixteen floats. All float arithmetic of the int8 family is written in terms of this, so that it rounds alike
// everywhere.
struct Lanes {
  __m512 v;
};
inline constexpr int lane_count = 16;

LAPIDARY_INLINE __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

LAPIDARY_INLINE Lanes broadcast(float value) { return {_mm512_set1_ps(value)}; }
LAPIDARY_INLINE Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
LAPIDARY_INLINE void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
// The first `count` lanes, 0 < count < 16; the others are zero.
LAPIDARY_INLINE Lanes load_some(const float* p, int64_t count) {
  return {_mm512_maskz_loadu_ps(first_lanes(count), p)};
}
LAPIDARY_INLINE void store_some(float* p, Lanes a, int64_t count) { _mm512_mask_storeu_ps(p, first_lanes(count), a.v); }

LAPIDARY_INLINE Lanes load_halves(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
LAPIDARY_INLINE Lanes load_some_halves(const void* p, int64_t count) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), p))};
}
LAPIDARY_INLINE void store_halves(void* p, Lanes a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
LAPIDARY_INLINE void store_some_halves(void* p, Lanes a, int64_t count) {
  const __m256i halves = _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_mask_storeu_epi16(p, first_lanes(count), halves);
}
LAPIDARY_INLINE Lanes load_bfloats(const void* p) {
  const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))};
}
LAPIDARY_INLINE Lanes load_some_bfloats(const void* p, int64_t count) {
  const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(count), p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))};
}

LAPIDARY_INLINE Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
LAPIDARY_INLINE Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
LAPIDARY_INLINE Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
LAPIDARY_INLINE Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
LAPIDARY_INLINE Lanes fused(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }  // a * b + c
// Of two lanes where one is a NaN: b.
LAPIDARY_INLINE Lanes larger(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
LAPIDARY_INLINE Lanes smaller(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
LAPIDARY_INLINE Lanes rounded(Lanes a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
LAPIDARY_INLINE Lanes magnitude(Lanes a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
LAPIDARY_INLINE Lanes with_sign_of(Lanes a, Lanes sign) {  // a >= 0
  return {_mm512_or_ps(a.v, _mm512_and_ps(_mm512_set1_ps(-0.0f), sign.v))};
}
LAPIDARY_INLINE Lanes zero_where_less(Lanes a, Lanes x, Lanes limit) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_NLT_UQ), a.v)};
}
// 2^a for whole numbers -126 <= a <= 127.
LAPIDARY_INLINE Lanes power_of_two(Lanes a) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}

// The order of all sums over lanes: i with i + 8, then i + 4, i + 2, i + 1.
LAPIDARY_INLINE float sum_of(Lanes a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
LAPIDARY_INLINE float largest_of(Lanes a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
LAPIDARY_INLINE float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// Blocks of 32 for quantize_row: the bits of the largest magnitude (a NaN or infinity is above all numbers) ...
LAPIDARY_INLINE uint32_t largest_magnitude_bits(const float* x) {
  const __m512i mask = _mm512_set1_epi32(0x7fffffff);
  const __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), mask);
  const __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 16), mask);
  return _mm512_reduce_max_epu32(_mm512_max_epu32(a, b));
}
// ... and the 16 products x * factor, rounded to bytes; returns their sum.
LAPIDARY_INLINE int32_t store_rounded_bytes(int8_t* out, const float* x, float factor) {
  const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(factor)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(rounded));
  return _mm512_reduce_add_epi32(rounded);
}

// How many results a tile keeps in registers: heads x keys, heads x lanes of values, weight rows x activation rows.
inline constexpr int tile_heads = 8;
inline constexpr int tile_rows = 4;
inline constexpr int tile_activations = 4;

// A panel: rows of quantised weights side by side, one in each 32-bit lane.
using Ints = __m512i;
using Floats = __m512;
inline constexpr int panel_rows = 16;
// Panels that share what is loaded of the activations: 16 registers of codes leave as many for the rest.
inline constexpr int panels_at_once = 2;
inline constexpr bool wants_signed_bytes = false;  // 8-bit codes are used as unsigned ones

LAPIDARY_INLINE Ints every(int32_t value) { return _mm512_set1_epi32(value); }
LAPIDARY_INLINE Ints bits_and(Ints a, Ints b) { return _mm512_and_si512(a, b); }
LAPIDARY_INLINE Ints bits_or(Ints a, Ints b) { return _mm512_or_si512(a, b); }
LAPIDARY_INLINE Ints bits_xor(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
LAPIDARY_INLINE Ints shift_right(Ints a, int count) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(count)); }
LAPIDARY_INLINE Ints shift_left(Ints a, int count) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(count)); }
LAPIDARY_INLINE Ints shift_right_signed(Ints a, int count) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(count)); }
LAPIDARY_INLINE Ints subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
LAPIDARY_INLINE Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
// Byte by byte: the entry of a table of 16 that its low four bits name; they are below 16.
LAPIDARY_INLINE Ints look_up(const int8_t* table, uint8_t flip, Ints nibbles) {
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  const __m128i flipped = _mm_xor_si128(entries, _mm_set1_epi8(static_cast<char>(flip)));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(flipped), nibbles);
}

LAPIDARY_INLINE Floats every_float(float value) { return _mm512_set1_ps(value); }
LAPIDARY_INLINE Floats to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
LAPIDARY_INLINE Floats low_halves(Ints a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }
LAPIDARY_INLINE Floats high_halves(Ints a) { return low_halves(_mm512_srli_epi32(a, 16)); }
LAPIDARY_INLINE Floats times(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
LAPIDARY_INLINE Floats fused_floats(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
LAPIDARY_INLINE Floats fused_minus(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
// Stores `count` lanes from `lane` on at `out`.
LAPIDARY_INLINE void store_lanes(float* out, Floats a, int lane, int count) {
  if (count == panel_rows) {
    _mm512_storeu_ps(out, a);
    return;
  }
  const uint32_t first = (1u << count) - 1;
  const Floats moved = _mm512_maskz_compress_ps(static_cast<__mmask16>(first << lane), a);
  _mm512_mask_storeu_ps(out, static_cast<__mmask16>(first), moved);
}

LAPIDARY_INLINE int32_t dword_at(const uint8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

// Where the rows of a panel are, kept in a few registers: row 4 * i + k at fours[i] + k * stride.
struct Rows {
  const uint8_t* fours[panel_rows / 4];
  int64_t stride, stride_3;  // the second is 3 * stride
};
LAPIDARY_INLINE Rows rows_at(const uint8_t* p, int64_t stride) {
  Rows rows = {.fours = {}, .stride = stride, .stride_3 = 3 * stride};
  for (int i = 0; i < panel_rows / 4; ++i) rows.fours[i] = p + 4 * i * stride;
  asm("" : "+r"(rows.stride_3));
  return rows;
}
LAPIDARY_INLINE void advance(Rows& rows, int64_t bytes) {
  for (const uint8_t*& four : rows.fours) {
    four += bytes;
    // Hides how the address came about: compilers would keep one for every row instead, mostly on the stack.
    asm("" : "+r"(four));
  }
}
LAPIDARY_INLINE const uint8_t* row_address(const Rows& rows, int row, int64_t offset) {
  const uint8_t* four = rows.fours[row / 4] + offset;
  return row % 4 == 0 ? four : row % 4 == 3 ? four + rows.stride_3 : four + row % 4 * rows.stride;
}

// Lane r: the 4 bytes of row r at `offset`.
LAPIDARY_INLINE Ints load_dwords(const Rows& rows, int64_t offset) {
  const auto four = [&rows, offset](int row) {
    const auto at = [&rows, offset](int r) { return dword_at(row_address(rows, r, offset)); };
    return _mm_setr_epi32(at(row), at(row + 1), at(row + 2), at(row + 3));
  };
  const __m256i low = _mm256_setr_m128i(four(0), four(4)), high = _mm256_setr_m128i(four(8), four(12));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// 16 bytes of each of the rows `row`, `row` + 4, `row` + 8, `row` + 12.
LAPIDARY_INLINE Ints load_every_fourth(const Rows& rows, int row, int64_t offset) {
  const auto at = [&rows, offset](int r) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row_address(rows, r, offset)));
  };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(at(row)), at(row + 4), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(at(row + 8)), at(row + 12), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// out[j], lane r: dword j of the 16 bytes of row r at `offset`.
LAPIDARY_INLINE void load_transposed(const Rows& rows, int64_t offset, Ints* out) {
  const Ints a = load_every_fourth(rows, 0, offset);
  const Ints b = load_every_fourth(rows, 1, offset);
  const Ints c = load_every_fourth(rows, 2, offset);
  const Ints d = load_every_fourth(rows, 3, offset);
  const Ints ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
  const Ints cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
  out[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
  out[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
  out[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
  out[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

// Adds to each row's sum in sums[p] the products of 4 * count codes (unsigned, `bits` wide) of panel p, from
// codes[p][first] on, with the bytes at q.
template <int bits, int count, int panels>
LAPIDARY_INLINE void add_products(Ints* sums, const Ints (*codes)[8], int first, const int8_t* q) {
  for (int j = 0; j < count; ++j) {
    const Ints four = _mm512_set1_epi32(dword_at(reinterpret_cast<const uint8_t*>(q) + 4 * j));
    for (int p = 0; p < panels; ++p) sums[p] = _mm512_dpbusd_epi32(sums[p], codes[p][first + j], four);
  }
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
