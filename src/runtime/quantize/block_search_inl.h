// The search behind row_quantizer.h, for one instruction set: the including file names its namespace in
// LAPIDARY_VARIANT and the floats of its registers in LAPIDARY_WIDTH, and is compiled for it. Plain loops over 16 or 32
// values, in an order that does not depend on how wide the CPU's vectors are. No inline function of a shared header may
// be used here: the linker could take the copy that was built for another CPU.
#pragma once

#include <cstring>

#include "quantize/block_variants.h"
#include "tensor/dequantize.h"

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// Sixteen floats that are computed with at once, in as many of the CPU's registers as that takes.
constexpr int lanes = 16, width = LAPIDARY_WIDTH, registers = lanes / width;
using Register = float __attribute__((vector_size(width * sizeof(float))));
struct Lanes {
  Register in[registers];
};

#define LAPIDARY_LANES_OPERATOR(symbol)                                     \
  inline Lanes operator symbol(const Lanes& a, const Lanes& b) {            \
    Lanes out;                                                              \
    for (int r = 0; r < registers; ++r) out.in[r] = a.in[r] symbol b.in[r]; \
    return out;                                                             \
  }                                                                         \
  inline Lanes operator symbol(const Lanes& a, float b) {                   \
    Lanes out;                                                              \
    for (int r = 0; r < registers; ++r) out.in[r] = a.in[r] symbol b;       \
    return out;                                                             \
  }
LAPIDARY_LANES_OPERATOR(+)
LAPIDARY_LANES_OPERATOR(-)
LAPIDARY_LANES_OPERATOR(*)
#undef LAPIDARY_LANES_OPERATOR
inline void operator+=(Lanes& a, const Lanes& b) { a = a + b; }

// The n values of a block, or a part of one.
template <int n>
struct Values {
  Lanes of[n / lanes];
};

template <int n>
inline Values<n> load(const float* from) {
  Values<n> values;
  memcpy(&values, from, sizeof(values));
  return values;
}

inline float magnitude(float x) { return x < 0 ? -x : x; }
inline float smaller(float a, float b) { return a < b ? a : b; }
inline float larger(float a, float b) { return a > b ? a : b; }
inline float clamped(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

// To the nearest integer, ties to even; |x| < 2^22.
constexpr float rounding = 12582912.0F;
inline float nearest(float x) { return (x + rounding) - rounding; }
inline void round_and_clamp(Lanes& x, float low, float high) {
  const Register lowest = Register{} + low, highest = Register{} + high;
  for (Register& values : x.in) {
    const Register whole = (values + rounding) - rounding;
    const Register raised = whole < lowest ? lowest : whole;
    values = raised > highest ? highest : raised;
  }
}

// The nearest value that half precision has; the largest, not infinity, for what is beyond.
inline float rounded_to_half(float x) {
  const float size = magnitude(x);
  if (size >= 65504) return x < 0 ? -65504.0F : 65504.0F;
  float half;
  if (size < 0x1p-14F) {
    half = (size + 0.5F) - 0.5F;
  } else {
    uint32_t bits;
    memcpy(&bits, &size, sizeof(bits));
    bits = (bits + 0xfffU + (bits >> 13 & 1)) & ~0x1fffU;
    memcpy(&half, &bits, sizeof(half));
  }
  return x < 0 ? -half : half;
}

// In a fixed order: each half to the other, down to one.
using Lanes4 = float __attribute__((vector_size(16)));
inline float sum_of_4(const Lanes4& v) { return (v[0] + v[2]) + (v[1] + v[3]); }
#if LAPIDARY_WIDTH == 4
inline float sum(const Lanes& v) { return sum_of_4((v.in[0] + v.in[2]) + (v.in[1] + v.in[3])); }
#else
using Lanes8 = float __attribute__((vector_size(32)));
inline float sum_of_8(const Lanes8& v) {
  return sum_of_4(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
}
#if LAPIDARY_WIDTH == 8
inline float sum(const Lanes& v) { return sum_of_8(v.in[0] + v.in[1]); }
#else
inline float sum(const Lanes& v) {
  const Register& all = v.in[0];
  return sum_of_8(__builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15));
}
#endif
#endif

// The value of largest magnitude, with its sign; the first of equals.
template <int n>
inline float largest(const float* x) {
  float best = 0;
  for (int i = 0; i < n; ++i)
    if (magnitude(x[i]) > magnitude(best)) best = x[i];
  return best;
}

// ---- codes that a scale alone turns into weights: x = scale * code, low <= code <= high

template <int n>
inline void encode(const float* x, float inverse, float low, float high, float* codes) {
  for (int i = 0; i < n; ++i) codes[i] = clamped(nearest(x[i] * inverse), low, high);
}

template <int n>
inline float squared_error(const Values<n>& x, const Values<n>& w, float scale, float low, float high) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  Lanes total{};
  for (int k = 0; k < n / lanes; ++k) {
    Lanes code = x.of[k] * inverse;
    round_and_clamp(code, low, high);
    const Lanes error = x.of[k] - code * scale;
    total += w.of[k] * error * error;
  }
  return sum(total);
}

// The scale that is best for the codes that `inverse` gives.
template <int n>
inline float fitted_scale(const Values<n>& x, const Values<n>& w, float inverse, float low, float high) {
  Lanes products{}, squares{};
  for (int k = 0; k < n / lanes; ++k) {
    Lanes code = x.of[k] * inverse;
    round_and_clamp(code, low, high);
    const Lanes weighted = w.of[k] * code;
    products += weighted * x.of[k];
    squares += weighted * code;
  }
  const float denominator = sum(squares);
  return denominator > 0 ? sum(products) / denominator : 0;
}

struct Best {
  float scale = 0, error = 0;
};

template <int n>
inline void consider(const Values<n>& x, const Values<n>& w, float scale, float low, float high, Best& best) {
  const float error = squared_error<n>(x, w, scale, low, high);
  if (error < best.error) best = {scale, error};
}

// A scale in half precision for a block of codes low … high (low < 0). The candidates: the largest value on the lowest
// code, or beyond it or short of it, and the same on the highest; each refitted to the codes it gives; and, for weights
// that were on such a lattice before, the largest value on any code.
template <int n>
inline float search_scale(const float* values, const Values<n>& w, float low, float high) {
  const Values<n> x = load<n>(values);
  const float extreme = largest<n>(values);
  Best best;
  if (extreme == 0) return 0;
  best.error = squared_error<n>(x, w, 0, low, high);
  const float ends[2] = {low, high};
  for (const float end : ends)
    for (int step = -6; step <= 5; ++step) {
      const float past = 0.12F * static_cast<float>(step);
      const float inverse = (end > 0 ? end + past : end - past) / extreme;
      consider<n>(x, w, rounded_to_half(fitted_scale<n>(x, w, inverse, low, high)), low, high, best);
    }
  consider<n>(x, w, rounded_to_half(extreme / low), low, high, best);
  consider<n>(x, w, rounded_to_half(fitted_scale<n>(x, w, best.scale != 0 ? 1 / best.scale : 0, low, high)), low, high,
              best);
  return best.scale;
}

// ---- with a minimum: x = scale * code + shift, 0 <= code <= top

struct Affine {
  float scale = 0, shift = 0, error = 0;
};

template <int n>
inline float affine_error(const Values<n>& x, const Values<n>& w, float scale, float shift, float top) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  Lanes total{};
  for (int k = 0; k < n / lanes; ++k) {
    Lanes code = (x.of[k] - shift) * inverse;
    round_and_clamp(code, 0, top);
    const Lanes error = x.of[k] - (code * scale + shift);
    total += w.of[k] * error * error;
  }
  return sum(total);
}

// What does not depend on the codes.
template <int n>
struct Moments {
  float w, wx;
};
template <int n>
inline Moments<n> moments(const Values<n>& x, const Values<n>& w) {
  Lanes ws{}, wx{};
  for (int k = 0; k < n / lanes; ++k) {
    ws += w.of[k];
    wx += w.of[k] * x.of[k];
  }
  return {sum(ws), sum(wx)};
}

// Scale and shift that are best for the codes of (inverse, shift); the shift not above `shift_max`.
template <int n>
inline Affine fitted_affine(const Values<n>& x, const Values<n>& w, const Moments<n>& all, float inverse, float shift,
                            float top, float shift_max) {
  Lanes wc{}, wcc{}, wxc{};
  for (int k = 0; k < n / lanes; ++k) {
    Lanes code = (x.of[k] - shift) * inverse;
    round_and_clamp(code, 0, top);
    const Lanes weighted = w.of[k] * code;
    wc += weighted;
    wcc += weighted * code;
    wxc += weighted * x.of[k];
  }
  const float sc = sum(wc), scc = sum(wcc), sxc = sum(wxc);
  const float determinant = all.w * scc - sc * sc;
  Affine fit;
  if (determinant > 0) {
    fit.scale = (all.w * sxc - all.wx * sc) / determinant;
    fit.shift = (scc * all.wx - sc * sxc) / determinant;
  }
  if (!(determinant > 0) || fit.shift > shift_max) {
    fit.shift = shift_max;
    fit.scale = scc > 0 ? (sxc - shift_max * sc) / scc : 0;
  }
  return fit;
}

template <int n>
inline Affine search_affine(const float* values, const Values<n>& w, float top, float shift_max) {
  float low = values[0], high = values[0];
  for (int i = 1; i < n; ++i) {
    low = smaller(low, values[i]);
    high = larger(high, values[i]);
  }
  low = smaller(low, shift_max);
  const Values<n> x = load<n>(values);
  const Moments<n> all = moments<n>(x, w);
  Affine best;
  best.shift = low;
  best.error = affine_error<n>(x, w, 0, low, top);
  if (!(high > low)) return best;
  const auto consider_fit = [&](Affine fit) {
    if (!(fit.scale > 0)) return;
    fit.error = affine_error<n>(x, w, fit.scale, fit.shift, top);
    if (fit.error < best.error) best = fit;
  };
  for (int step = -12; step <= 8; ++step)
    consider_fit(
        fitted_affine<n>(x, w, all, (top + 0.1F * static_cast<float>(step)) / (high - low), low, top, shift_max));
  for (int round = 0; round < 3 && best.scale > 0; ++round) {
    const float before = best.error;
    consider_fit(fitted_affine<n>(x, w, all, 1 / best.scale, best.shift, top, shift_max));
    if (!(best.error < before)) break;
  }
  return best;
}

// ---- blocks

inline void put_half(uint8_t* out, float value) {
  const uint16_t half = float_to_half(value);
  memcpy(out, &half, sizeof(half));
}

constexpr int small = 32;   // values in a block of the older types, and in a part of a K block
constexpr int large = 256;  // values in a K block

// What an error in each of n values counts, besides what is given: the same for all; or, where steps are coarse, more
// for larger values (`emphasis`), as models have been found to mind.
template <int n>
inline Values<n> block_weights(const float* given, int64_t begin, const float* x, bool emphasis = false) {
  Values<n> w;
  for (Lanes& lane : w.of) lane = Lanes{} + 1.0F;
  if (emphasis) {
    const Values<n> values = load<n>(x);
    Lanes squares{};
    for (int k = 0; k < n / lanes; ++k) squares += values.of[k] * values.of[k];
    const float mean = sum(squares) / n;
    const float per_size = mean > 0 ? 1 / __builtin_sqrtf(mean) : 0;
    for (int k = 0; k < n / lanes; ++k) {
      for (int r = 0; r < registers; ++r) {
        const Register &value = values.of[k].in[r], size = value < 0 ? -value : value;
        w.of[k].in[r] += size * per_size;
      }
    }
  }
  if (given != nullptr) {
    const Values<n> factors = load<n>(given + begin);
    for (int k = 0; k < n / lanes; ++k) w.of[k] = w.of[k] * factors.of[k];
  }
  return w;
}

void pack_nibbles(const float* codes, float offset, uint8_t* out) {
  for (int i = 0; i < 16; ++i)
    out[i] = static_cast<uint8_t>(static_cast<int>(codes[i] + offset) | static_cast<int>(codes[16 + i] + offset) << 4);
}

void pack_fifth_bits(const float* codes, float offset, uint8_t* high, uint8_t* low) {
  uint32_t bits = 0;
  alignas(64) float lower[small];
  for (int i = 0; i < small; ++i) {
    const int code = static_cast<int>(codes[i] + offset);
    bits |= static_cast<uint32_t>(code >> 4 & 1) << i;
    lower[i] = static_cast<float>(code & 15);
  }
  memcpy(high, &bits, sizeof(bits));
  pack_nibbles(lower, 0, low);
}

void quantize_q8_0(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[small];
  for (int64_t begin = 0; begin < columns; begin += small, out += 34) {
    const float* block = x + begin;
    const Values<small> values = load<small>(block), w = block_weights<small>(given, begin, block);
    const float extreme = magnitude(largest<small>(block));
    Best best;
    best.error = squared_error<small>(values, w, 0, -127, 127);
    // A little more than the largest value needs: 32 remainders fall otherwise at every scale.
    for (int step = 0; step < 24 && extreme > 0; ++step)
      consider<small>(values, w, rounded_to_half(extreme / (127 - 0.25F * static_cast<float>(step))), -127, 127, best);
    put_half(out, best.scale);
    encode<small>(block, best.scale != 0 ? 1 / best.scale : 0, -127, 127, codes);
    for (int i = 0; i < small; ++i) out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(codes[i]));
  }
}

void quantize_q4_0(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[small];
  for (int64_t begin = 0; begin < columns; begin += small, out += 18) {
    const float scale = search_scale<small>(x + begin, block_weights<small>(given, begin, x + begin, true), -8, 7);
    put_half(out, scale);
    encode<small>(x + begin, scale != 0 ? 1 / scale : 0, -8, 7, codes);
    pack_nibbles(codes, 8, out + 2);
  }
}

void quantize_q5_0(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[small];
  for (int64_t begin = 0; begin < columns; begin += small, out += 22) {
    const float scale = search_scale<small>(x + begin, block_weights<small>(given, begin, x + begin), -16, 15);
    put_half(out, scale);
    encode<small>(x + begin, scale != 0 ? 1 / scale : 0, -16, 15, codes);
    pack_fifth_bits(codes, 16, out + 2, out + 6);
  }
}

void quantize_q5_1(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[small];
  for (int64_t begin = 0; begin < columns; begin += small, out += 24) {
    const float* block = x + begin;
    const Affine found = search_affine<small>(block, block_weights<small>(given, begin, block), 31, 65504);
    const float scale = rounded_to_half(found.scale), shift = rounded_to_half(found.shift);
    put_half(out, scale);
    put_half(out + 2, shift);
    const float inverse = scale != 0 ? 1 / scale : 0;
    for (int i = 0; i < small; ++i) codes[i] = clamped(nearest((block[i] - shift) * inverse), 0, 31);
    pack_fifth_bits(codes, 0, out + 4, out + 8);
  }
}

// ---- K blocks with minimums: x = d * scale_j * code - m * minimum_j, scales and minimums of 6 bits

struct KBlock {
  float d = 0, m = 0;
  int scales[8] = {}, minimums[8] = {};
  float error = 0;
};

// The parts of a block and what their errors count.
struct KValues {
  Values<small> x[8], w[8];
};

// The 6-bit scale and minimum of each part that are best under block.d and block.m, near those that are wanted.
inline void choose_parts(const KValues& values, float top, const Affine* wanted, KBlock& block) {
  block.error = 0;
  for (int part = 0; part < 8; ++part) {
    const float scale = block.d > 0 ? clamped(nearest(wanted[part].scale / block.d), 0, 63) : 0;
    const float minimum = block.m > 0 ? clamped(nearest(-wanted[part].shift / block.m), 0, 63) : 0;
    float best = -1;
    for (float s = larger(scale - 2, 0); s <= smaller(scale + 2, 63); s += 1)
      for (float v = larger(minimum - 2, 0); v <= smaller(minimum + 2, 63); v += 1) {
        const float error = affine_error<small>(values.x[part], values.w[part], block.d * s, -block.m * v, top);
        if (best >= 0 && error >= best) continue;
        best = error;
        block.scales[part] = static_cast<int>(s);
        block.minimums[part] = static_cast<int>(v);
      }
    block.error += best;
  }
}

inline void encode_part(const float* x, const KBlock& block, int part, float top, float* codes) {
  const float scale = block.d * static_cast<float>(block.scales[part]);
  const float shift = -block.m * static_cast<float>(block.minimums[part]);
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (int i = 0; i < small; ++i) codes[i] = clamped(nearest((x[i] - shift) * inverse), 0, top);
}

// d and m that are best for the codes, scales and minimums of `block`.
inline void refit(const KValues& values, float top, KBlock& block) {
  Lanes saa{}, sab{}, sbb{}, sax{}, sbx{};
  for (int part = 0; part < 8; ++part) {
    const float s = static_cast<float>(block.scales[part]), v = -static_cast<float>(block.minimums[part]);
    const float scale = block.d * s, shift = block.m * v, inverse = scale != 0 ? 1 / scale : 0;
    for (int k = 0; k < small / lanes; ++k) {
      const Lanes &x = values.x[part].of[k], &w = values.w[part].of[k];
      Lanes a = (x - shift) * inverse;
      round_and_clamp(a, 0, top);
      a = a * s;
      saa += w * a * a;
      sab += w * a * v;
      sbb += w * v * v;
      sax += w * a * x;
      sbx += w * x * v;
    }
  }
  const float aa = sum(saa), ab = sum(sab), bb = sum(sbb), ax = sum(sax), bx = sum(sbx);
  const float determinant = aa * bb - ab * ab;
  float d = block.d, m = block.m;
  if (determinant > 1e-6F * aa * bb) {
    d = (ax * bb - bx * ab) / determinant;
    m = (bx * aa - ax * ab) / determinant;
  } else if (aa > 0) {
    d = ax / aa;
    m = 0;
  }
  if (d > 0) block.d = rounded_to_half(d);
  block.m = m > 0 ? rounded_to_half(m) : 0;
}

inline KBlock search_k_block(const float* x, const float* given, int64_t begin, float top) {
  KValues values;
  Affine wanted[8];
  float scale_max = 0, minimum_max = 0;
  for (int part = 0; part < 8; ++part) {
    values.x[part] = load<small>(x + begin + small * part);
    values.w[part] = block_weights<small>(given, begin + small * part, x + begin + small * part, top == 15);
    wanted[part] = search_affine<small>(x + begin + small * part, values.w[part], top, 0);
    scale_max = larger(scale_max, wanted[part].scale);
    minimum_max = larger(minimum_max, -wanted[part].shift);
  }
  KBlock best;
  best.d = rounded_to_half(scale_max / 63);
  best.m = rounded_to_half(minimum_max / 63);
  choose_parts(values, top, wanted, best);
  KBlock next = best;
  for (int round = 0; round < 2; ++round) {
    refit(values, top, next);
    choose_parts(values, top, wanted, next);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
}

void pack_scales(const KBlock& block, uint8_t* out) {
  for (int part = 0; part < 4; ++part) {
    out[part] = static_cast<uint8_t>(block.scales[part] | (block.scales[part + 4] >> 4) << 6);
    out[part + 4] = static_cast<uint8_t>(block.minimums[part] | (block.minimums[part + 4] >> 4) << 6);
    out[part + 8] = static_cast<uint8_t>((block.scales[part + 4] & 15) | (block.minimums[part + 4] & 15) << 4);
  }
}

void quantize_q4_k(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[small];
  for (int64_t begin = 0; begin < columns; begin += large, out += 144) {
    const KBlock block = search_k_block(x, given, begin, 15);
    put_half(out, block.d);
    put_half(out + 2, block.m);
    pack_scales(block, out + 4);
    for (int part = 0; part < 8; ++part) {
      encode_part(x + begin + small * part, block, part, 15, codes);
      uint8_t* pair = out + 16 + part / 2 * 32;
      for (int i = 0; i < small; ++i) {
        const int code = static_cast<int>(codes[i]);
        pair[i] = static_cast<uint8_t>(part % 2 == 0 ? code : pair[i] | code << 4);
      }
    }
  }
}

void quantize_q5_k(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[small];
  for (int64_t begin = 0; begin < columns; begin += large, out += 176) {
    const KBlock block = search_k_block(x, given, begin, 31);
    put_half(out, block.d);
    put_half(out + 2, block.m);
    pack_scales(block, out + 4);
    memset(out + 16, 0, 32);
    for (int part = 0; part < 8; ++part) {
      encode_part(x + begin + small * part, block, part, 31, codes);
      uint8_t* pair = out + 48 + part / 2 * 32;
      for (int i = 0; i < small; ++i) {
        const int code = static_cast<int>(codes[i]), low = code & 15;
        pair[i] = static_cast<uint8_t>(part % 2 == 0 ? low : pair[i] | low << 4);
        out[16 + i] = static_cast<uint8_t>(out[16 + i] | (code >> 4) << part);
      }
    }
  }
}

// ---- Q6_K: x = d * scale_j * code, sixteen scales of 8 bits, codes -32 … 31

constexpr int part_values = 16, part_count = 16;

struct Q6Block {
  float d = 0;
  int scales[part_count] = {};
  float error = 0;
};

struct Q6Values {
  Values<part_values> x[part_count], w[part_count];
  float extreme[part_count];
  float wanted[part_count];  // the best scale of each part by itself
};

// The scale that is best for a part if it may be any number.
inline float search_part_scale(const Values<part_values>& x, const Values<part_values>& w, float extreme) {
  Best best;
  if (extreme == 0) return 0;
  best.error = squared_error<part_values>(x, w, 0, -32, 31);
  const float ends[2] = {-32, 31};
  for (const float end : ends)
    for (int step = -4; step <= 4; ++step) {
      const float inverse = end * (1 + 0.008F * static_cast<float>(step)) / extreme;
      consider<part_values>(x, w, fitted_scale<part_values>(x, w, inverse, -32, 31), -32, 31, best);
    }
  return best.scale;
}

inline void choose_scales(const Q6Values& values, Q6Block& block) {
  block.error = 0;
  for (int part = 0; part < part_count; ++part) {
    const Values<part_values>&x = values.x[part], &w = values.w[part];
    float best = squared_error<part_values>(x, w, 0, -32, 31);
    block.scales[part] = 0;
    // From where the largest value lies on code 34 to where it lies on code 27, on either side of zero.
    const float unit = block.d > 0 ? values.extreme[part] / block.d : 0;
    const auto consider_scale = [&](float scale) {
      if (scale < -128 || scale > 127) return;
      const float error = squared_error<part_values>(x, w, block.d * scale, -32, 31);
      if (error >= best) return;
      best = error;
      block.scales[part] = static_cast<int>(scale);
    };
    const float near = block.d > 0 ? nearest(values.wanted[part] / block.d) : 0;
    for (int step = -1; step <= 1; ++step) consider_scale(near + static_cast<float>(step));
    for (int side = -1; side <= 1; side += 2) {
      const float towards = unit < 0 ? -static_cast<float>(side) : static_cast<float>(side);
      const float first = nearest(magnitude(unit) / 34), last = nearest(magnitude(unit) / 27);
      const float step = larger(1, nearest((last - first) / 9));
      for (float size = first; size <= last; size += step) consider_scale(towards * size);
    }
    block.error += best;
  }
}

inline void refit(const Q6Values& values, Q6Block& block) {
  Lanes products{}, squares{};
  for (int part = 0; part < part_count; ++part) {
    const Lanes &x = values.x[part].of[0], &w = values.w[part].of[0];
    const float scale = static_cast<float>(block.scales[part]), step = block.d * scale;
    Lanes a = x * (step != 0 ? 1 / step : 0);
    round_and_clamp(a, -32, 31);
    a = a * scale;
    products += w * a * x;
    squares += w * a * a;
  }
  const float below = sum(squares), d = below > 0 ? sum(products) / below : 0;
  if (d > 0) block.d = rounded_to_half(d);
}

void quantize_q6_k(const float* x, const float* given, int64_t columns, uint8_t* out) {
  float codes[part_values];
  for (int64_t begin = 0; begin < columns; begin += large, out += 210) {
    Q6Values values;
    float extreme = 0, scale_max = 0;
    for (int part = 0; part < part_count; ++part) {
      const int64_t first = begin + part_values * part;
      values.x[part] = load<part_values>(x + first);
      values.w[part] = block_weights<part_values>(given, first, x + first);
      values.extreme[part] = largest<part_values>(x + first);
      values.wanted[part] = search_part_scale(values.x[part], values.w[part], values.extreme[part]);
      extreme = larger(extreme, magnitude(values.extreme[part]));
      scale_max = larger(scale_max, magnitude(values.wanted[part]));
    }
    // From two starts: room for the largest scale to grow, or none, as blocks have that were of this type before.
    Q6Block best;
    best.error = -1;
    for (const float d : {extreme / (28 * 127), scale_max / 128}) {
      Q6Block next;
      next.d = rounded_to_half(d);
      choose_scales(values, next);
      if (best.error < 0 || next.error < best.error) best = next;
      refit(values, next);
      choose_scales(values, next);
      if (next.error < best.error) best = next;
    }
    memset(out, 0, 210);
    put_half(out + 208, best.d);
    for (int part = 0; part < part_count; ++part) {
      const float scale = best.d * static_cast<float>(best.scales[part]);
      encode<part_values>(x + begin + part_values * part, scale != 0 ? 1 / scale : 0, -32, 31, codes);
      out[192 + part] = static_cast<uint8_t>(static_cast<int8_t>(best.scales[part]));
      // Of the 128 values of a half: a quarter's low bits share bytes with those two quarters on, high bits with all.
      const int half = part / 8, quarter = part % 8 / 2, offset = part % 2 * part_values;
      for (int i = 0; i < part_values; ++i) {
        const int code = static_cast<int>(codes[i]) + 32;
        out[64 * half + 32 * (quarter % 2) + offset + i] |= static_cast<uint8_t>((code & 15) << (quarter / 2 * 4));
        out[128 + 32 * half + offset + i] |= static_cast<uint8_t>((code >> 4) << (quarter * 2));
      }
    }
  }
}

// Whether next to nothing is left when the largest value is put on one of the codes and the scale refitted.
inline bool on_lattice(const float* block) {
  const float extreme = largest<small>(block);
  const Values<small> x = load<small>(block), w = block_weights<small>(nullptr, 0, block);
  // Rounding to bf16 leaves about 1.3e-6 of the squares, a search for any four-bit scale about 5e-3.
  const float limit = 4e-5F * squared_error<small>(x, w, 0, -8, 7);
  for (int code = -8; code <= 7; ++code) {
    if (code == 0) continue;
    const float scale = fitted_scale<small>(x, w, static_cast<float>(code) / extreme, -8, 7);
    if (squared_error<small>(x, w, scale, -8, 7) < limit) return true;
  }
  return false;
}

void count_lattice(const float* x, int64_t columns, int64_t* blocks, int64_t* found) {
  for (int64_t begin = 0; begin + small <= columns; begin += small) {
    if (largest<small>(x + begin) == 0) continue;
    ++*blocks;
    *found += on_lattice(x + begin) ? 1 : 0;
  }
}

}  // namespace

extern const BlockQuantizers quantizers;
const BlockQuantizers quantizers = {quantize_q8_0, quantize_q4_0, quantize_q5_0, quantize_q5_1,
                                    quantize_q4_k, quantize_q5_k, quantize_q6_k, count_lattice};

}  // namespace lapidary::LAPIDARY_VARIANT
