// Everything of the table but products and attention.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// Applies `function` to each lane of one to four arrays.
template <typename Function>
LAPIDARY_INLINE void map(const float* a, int64_t n, float* out, Function function) {
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) store(out + i, function(load(a + i)));
  if (i < n) store_some(out + i, function(load_some(a + i, n - i)), n - i);
}
template <typename Function>
LAPIDARY_INLINE void map(const float* a, const float* b, int64_t n, float* out, Function function) {
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) store(out + i, function(load(a + i), load(b + i)));
  if (i < n) store_some(out + i, function(load_some(a + i, n - i), load_some(b + i, n - i)), n - i);
}
template <typename Function>
LAPIDARY_INLINE void map(const float* a, const float* b, const float* c, int64_t n, float* out, Function function) {
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) store(out + i, function(load(a + i), load(b + i), load(c + i)));
  if (i < n) {
    const int64_t rest = n - i;
    store_some(out + i, function(load_some(a + i, rest), load_some(b + i, rest), load_some(c + i, rest)), rest);
  }
}

template <typename Function>
LAPIDARY_INLINE void map(const float* a, const float* b, const float* c, const float* d, int64_t n, float* out,
                         Function function) {
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count)
    store(out + i, function(load(a + i), load(b + i), load(c + i), load(d + i)));
  if (i < n) {
    const int64_t rest = n - i;
    store_some(out + i,
               function(load_some(a + i, rest), load_some(b + i, rest), load_some(c + i, rest), load_some(d + i, rest)),
               rest);
  }
}

float sum_of_row(const float* x, int64_t n) {
  Lanes sum = broadcast(0);
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) sum = sum + load(x + i);
  if (i < n) sum = sum + load_some(x + i, n - i);
  return sum_of(sum);
}

float sum_of_squares(const float* x, int64_t n) {
  Lanes sum = broadcast(0);
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) {
    const Lanes a = load(x + i);
    sum = fused(a, a, sum);
  }
  if (i < n) {
    const Lanes a = load_some(x + i, n - i);
    sum = fused(a, a, sum);
  }
  return sum_of(sum);
}

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  const Lanes inverse = broadcast(inverse_root(sum_of_squares(x, n) / static_cast<float>(n) + eps));
  if (weight == nullptr)
    map(x, n, out, [inverse](Lanes a) { return a * inverse; });
  else
    map(x, weight, n, out, [inverse](Lanes a, Lanes w) { return a * inverse * w; });
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out) {
  const Lanes mean = broadcast(sum_of_row(x, n) / static_cast<float>(n));
  map(x, n, out, [mean](Lanes a) { return a - mean; });
  // A patch of one colour has a spread far below its mean: the mean's own rounding would show, so it is taken out
  // again.
  const Lanes rest = broadcast(sum_of_row(out, n) / static_cast<float>(n));
  map(out, n, out, [rest](Lanes a) { return a - rest; });
  const Lanes inverse = broadcast(inverse_root(sum_of_squares(out, n) / static_cast<float>(n) + eps));
  map(out, weight, bias, n, out, [inverse](Lanes a, Lanes w, Lanes b) { return a * inverse * w + b; });
}

void gelu_multiply(const float* gate, const float* up, int64_t n, float* out) {
  // (1 + tanh u) / 2 = 1 / (1 + e^-2u), u = sqrt(2 / pi) * (x + 0.044715 x^3)
  const Lanes linear = broadcast(-1.59576912f), cubic = broadcast(-0.0713548163f), one = broadcast(1.0f);
  map(gate, up, n, out, [=](Lanes x, Lanes y) {
    const Lanes exponent = x * fused(x * x, cubic, linear);
    return x / (one + exponential(exponent)) * y;
  });
}

// Turns the pairs (first[i], second[i]) by angles given as cos and sin.
LAPIDARY_INLINE void turn_pairs(float* first, float* second, const float* cos, const float* sin, int64_t pairs) {
  int64_t i = 0;
  for (; i + lane_count <= pairs; i += lane_count) {
    const Lanes a = load(first + i), b = load(second + i), c = load(cos + i), s = load(sin + i);
    store(first + i, a * c - b * s);
    store(second + i, b * c + a * s);
  }
  if (const int64_t rest = pairs - i; rest > 0) {
    const Lanes a = load_some(first + i, rest), b = load_some(second + i, rest);
    const Lanes c = load_some(cos + i, rest), s = load_some(sin + i, rest);
    store_some(first + i, a * c - b * s, rest);
    store_some(second + i, b * c + a * s, rest);
  }
}

void rotate(float* head, const float* cos, const float* sin, int64_t half) {
  turn_pairs(head, head + half, cos, sin, half);
}

void add(float* x, const float* y, int64_t n) {
  map(x, y, n, x, [](Lanes a, Lanes b) { return a + b; });
}

void scale(float* x, float factor, int64_t n) {
  const Lanes f = broadcast(factor);
  map(x, n, x, [f](Lanes a) { return a * f; });
}

void softcap(float* x, float cap, int64_t n) {
  const Lanes c = broadcast(cap);
  map(x, n, x, [c](Lanes a) { return c * hyperbolic_tangent(a / c); });
}

void to_half(const float* x, int64_t n, uint16_t* out) {
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) store_halves(out + i, load(x + i));
  if (i < n) store_some_halves(out + i, load_some(x + i, n - i), n - i);
}

void quantize_row(const float* x, int64_t columns, int64_t stride, int8_t* quantized, float* scales,
                  int32_t* sums_of_32, int32_t* sums_of_16) {
  for (int64_t block = 0, at = 0; block < columns / 32; ++block, at += stride) {
    const float* values = x + block * 32;
    int8_t* bytes = quantized + at * 32;
    const uint32_t bits = largest_magnitude_bits(values);
    if (bits >= 0x7f800000u) {  // an infinity or NaN
      __builtin_memset(bytes, 0, 32);
      scales[at] = __builtin_nanf("");
      sums_of_32[at] = sums_of_16[2 * at] = sums_of_16[2 * at + 1] = 0;
      continue;
    }
    float largest;
    __builtin_memcpy(&largest, &bits, sizeof(largest));
    const float inverse = largest >= int8_smallest_maximum ? 127.0f / largest : 0.0f;
    scales[at] = largest / 127.0f;
    const int32_t first = store_rounded_bytes(bytes, values, inverse);
    const int32_t second = store_rounded_bytes(bytes + 16, values + 16, inverse);
    sums_of_16[2 * at] = first;
    sums_of_16[2 * at + 1] = second;
    sums_of_32[at] = first + second;
  }
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
