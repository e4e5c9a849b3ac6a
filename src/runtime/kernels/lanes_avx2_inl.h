// AVX2: sixteen floats are two registers, a panel is eight rows. With LAPIDARY_BYTE_DOT the products of bytes are taken
// by vpdpbusd (AVX-VNNI, or the same operation of AVX-512).
#pragma once

#include <immintrin.h>

#include <cstdint>

#define LAPIDARY_INLINE [[gnu::always_inline]] inline

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// Sixteen floats. All float arithmetic of the int8 family is written in terms of this, so that it rounds alike
// everywhere.
struct Lanes {
  __m256 low, high;
};
inline constexpr int lane_count = 16;

LAPIDARY_INLINE Lanes broadcast(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
LAPIDARY_INLINE Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
LAPIDARY_INLINE void store(float* p, Lanes a) {
  _mm256_storeu_ps(p, a.low);
  _mm256_storeu_ps(p + 8, a.high);
}

LAPIDARY_INLINE Lanes load_halves(const void* p) {
  const __m128i* halves = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
LAPIDARY_INLINE void store_halves(void* p, Lanes a) {
  __m128i* halves = static_cast<__m128i*>(p);
  _mm_storeu_si128(halves, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
LAPIDARY_INLINE Lanes load_bfloats(const void* p) {
  const __m128i* bits = static_cast<const __m128i*>(p);
  const auto wide = [](__m128i eight) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
  };
  return {wide(_mm_loadu_si128(bits)), wide(_mm_loadu_si128(bits + 1))};
}

LAPIDARY_INLINE Lanes operator+(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
LAPIDARY_INLINE Lanes operator-(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
LAPIDARY_INLINE Lanes operator*(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
LAPIDARY_INLINE Lanes operator/(Lanes a, Lanes b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
LAPIDARY_INLINE Lanes fused(Lanes a, Lanes b, Lanes c) {  // a * b + c
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
// Of two lanes where one is a NaN: b.
LAPIDARY_INLINE Lanes larger(Lanes a, Lanes b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
LAPIDARY_INLINE Lanes smaller(Lanes a, Lanes b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
LAPIDARY_INLINE Lanes rounded(Lanes a) {
  return {_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
LAPIDARY_INLINE Lanes magnitude(Lanes a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
LAPIDARY_INLINE Lanes with_sign_of(Lanes a, Lanes sign) {  // a >= 0
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(a.low, _mm256_and_ps(bit, sign.low)), _mm256_or_ps(a.high, _mm256_and_ps(bit, sign.high))};
}
LAPIDARY_INLINE Lanes zero_where_less(Lanes a, Lanes x, Lanes limit) {
  return {_mm256_and_ps(a.low, _mm256_cmp_ps(x.low, limit.low, _CMP_NLT_UQ)),
          _mm256_and_ps(a.high, _mm256_cmp_ps(x.high, limit.high, _CMP_NLT_UQ))};
}
// 2^a for whole numbers -126 <= a <= 127.
LAPIDARY_INLINE Lanes power_of_two(Lanes a) {
  const auto power = [](__m256 eight) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(eight), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  };
  return {power(a.low), power(a.high)};
}

// The order of all sums over lanes: i with i + 8, then i + 4, i + 2, i + 1.
LAPIDARY_INLINE float sum_of(Lanes a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
LAPIDARY_INLINE float largest_of(Lanes a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
LAPIDARY_INLINE float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// Blocks of 32 for quantize_row: the bits of the largest magnitude (a NaN or infinity is above all numbers) ...
LAPIDARY_INLINE uint32_t largest_magnitude_bits(const float* x) {
  const __m256i mask = _mm256_set1_epi32(0x7fffffff);
  const auto at = [x, mask](int i) {
    return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i)), mask);
  };
  const __m256i eight = _mm256_max_epu32(_mm256_max_epu32(at(0), at(8)), _mm256_max_epu32(at(16), at(24)));
  __m128i four = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0b01001110));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0b10110001));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
}
// ... and the 16 products x * factor, rounded to bytes; returns their sum.
LAPIDARY_INLINE int32_t store_rounded_bytes(int8_t* out, const float* x, float factor) {
  const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(factor)));
  const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), _mm256_set1_ps(factor)));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0b11011000);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  const __m256i eight = _mm256_add_epi32(low, high);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b10110001));
  return _mm_cvtsi128_si32(four);
}

// How many results a tile keeps in registers: heads x keys, heads x lanes of values, weight rows x activation rows.
inline constexpr int tile_heads = 2;
inline constexpr int tile_rows = 2;
inline constexpr int tile_activations = 2;

// A panel: rows of quantised weights side by side, one in each 32-bit lane.
using Ints = __m256i;
using Floats = __m256;
inline constexpr int panel_rows = 8;
inline constexpr int panels_at_once = 1;  // the codes of a second would not fit into the registers

LAPIDARY_INLINE Ints every(int32_t value) { return _mm256_set1_epi32(value); }
LAPIDARY_INLINE Ints bits_and(Ints a, Ints b) { return _mm256_and_si256(a, b); }
LAPIDARY_INLINE Ints bits_or(Ints a, Ints b) { return _mm256_or_si256(a, b); }
LAPIDARY_INLINE Ints bits_xor(Ints a, Ints b) { return _mm256_xor_si256(a, b); }
LAPIDARY_INLINE Ints shift_right(Ints a, int count) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(count)); }
LAPIDARY_INLINE Ints shift_left(Ints a, int count) { return _mm256_sll_epi32(a, _mm_cvtsi32_si128(count)); }
LAPIDARY_INLINE Ints shift_right_signed(Ints a, int count) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(count)); }
LAPIDARY_INLINE Ints subtract(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
LAPIDARY_INLINE Ints multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
// Byte by byte: the entry of a table of 16 that its low four bits name; they are below 16.
LAPIDARY_INLINE Ints look_up(const int8_t* table, uint8_t flip, Ints nibbles) {
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  const __m128i flipped = _mm_xor_si128(entries, _mm_set1_epi8(static_cast<char>(flip)));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(flipped), nibbles);
}

LAPIDARY_INLINE Floats every_float(float value) { return _mm256_set1_ps(value); }
LAPIDARY_INLINE Floats to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }
LAPIDARY_INLINE Floats low_halves(Ints a) {
  const __m256i words = _mm256_packus_epi32(_mm256_and_si256(a, _mm256_set1_epi32(0xffff)), _mm256_setzero_si256());
  return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 0b11011000)));
}
LAPIDARY_INLINE Floats high_halves(Ints a) { return low_halves(_mm256_srli_epi32(a, 16)); }
LAPIDARY_INLINE Floats times(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
LAPIDARY_INLINE Floats fused_floats(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
LAPIDARY_INLINE Floats fused_minus(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a * b
// Stores `count` lanes from `lane` on at `out`.
LAPIDARY_INLINE void store_lanes(float* out, Floats a, int lane, int count) {
  float values[panel_rows];
  _mm256_storeu_ps(values, a);
  for (int i = 0; i < count; ++i) out[i] = values[lane + i];
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
  return _mm256_setr_m128i(four(0), four(4));
}

// 16 bytes of each of the rows `row` and `row` + 4.
LAPIDARY_INLINE Ints load_every_fourth(const Rows& rows, int row, int64_t offset) {
  const auto at = [&rows, offset](int r) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row_address(rows, r, offset)));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(at(row)), at(row + 4), 1);
}

// out[j], lane r: dword j of the 16 bytes of row r at `offset`.
LAPIDARY_INLINE void load_transposed(const Rows& rows, int64_t offset, Ints* out) {
  const Ints a = load_every_fourth(rows, 0, offset);
  const Ints b = load_every_fourth(rows, 1, offset);
  const Ints c = load_every_fourth(rows, 2, offset);
  const Ints d = load_every_fourth(rows, 3, offset);
  const Ints ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
  const Ints cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);
  out[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
  out[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
  out[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
  out[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}

LAPIDARY_INLINE Ints four_bytes(const int8_t* q) { return every(dword_at(reinterpret_cast<const uint8_t*>(q))); }

#if defined(LAPIDARY_BYTE_DOT)

inline constexpr bool wants_signed_bytes = false;  // 8-bit codes are used as unsigned ones

// Adds to each row's sum in sums[p] the products of 4 * count codes (unsigned, `bits` wide) of panel p, from
// codes[p][first] on, with the bytes at q.
template <int bits, int count, int panels>
LAPIDARY_INLINE void add_products(Ints* sums, const Ints (*codes)[8], int first, const int8_t* q) {
  for (int p = 0; p < panels; ++p)
    for (int j = 0; j < count; ++j) sums[p] = LAPIDARY_BYTE_DOT(sums[p], codes[p][first + j], four_bytes(q + 4 * j));
}

#else

// vpmaddubsw saturates pairs of products at 16 bits: 8-bit codes are taken as signed ones, by magnitude and sign.
inline constexpr bool wants_signed_bytes = true;

// Sums of two products each, of codes `bits` wide (unsigned; signed if 8) with the four bytes at q.
template <int bits>
LAPIDARY_INLINE Ints pair_products(Ints codes, const int8_t* q) {
  const Ints bytes = four_bytes(q);
  if constexpr (bits == 8) return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(bytes, codes));
  return _mm256_maddubs_epi16(codes, bytes);
}

template <int bits, int count>
LAPIDARY_INLINE Ints add_products_of_panel(Ints sum, const Ints* codes, const int8_t* q) {
  // How many pairs of products, each at most 2 * (2^bits - 1) * 127, a 16-bit sum can hold: 4 bits 8, 5 bits 4, 6
  // bits 2.
  constexpr int together = bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
  for (int first = 0; first < count; first += together) {
    Ints pairs = pair_products<bits>(codes[first], q + 4 * first);
    for (int j = first + 1; j < first + together && j < count; ++j)
      pairs = _mm256_add_epi16(pairs, pair_products<bits>(codes[j], q + 4 * j));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  return sum;
}

// Adds to each row's sum in sums[p] the products of 4 * count codes of panel p, from codes[p][first] on, with the bytes
// at q.
template <int bits, int count, int panels>
LAPIDARY_INLINE void add_products(Ints* sums, const Ints (*codes)[8], int first, const int8_t* q) {
  for (int p = 0; p < panels; ++p) sums[p] = add_products_of_panel<bits, count>(sums[p], codes[p] + first, q);
}

#endif

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
