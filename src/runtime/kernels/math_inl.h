// exp and tanh over lanes, the same to the last bit in every variant.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

// e^x within 2 units of the last place; 0 below -87.3; above 88.3 it stays at e^88.3; a NaN stays one.
LAPIDARY_INLINE Lanes exponential(Lanes x) {
  const Lanes least = broadcast(-87.3f);
  const Lanes bounded = smaller(broadcast(88.3f), larger(least, x));
  // x = whole * ln 2 + rest, |rest| <= ln 2 / 2; ln 2 in two parts, so that nothing of x is lost.
  const Lanes whole = rounded(bounded * broadcast(1.44269504f));
  Lanes rest = fused(whole, broadcast(-0.693147182f), bounded);
  rest = fused(whole, broadcast(1.90465421e-9f), rest);
  // e^rest = 1 + rest + rest^2 * P(rest), P fitted for the least relative error of the whole.
  Lanes p = broadcast(0.00019790237f);
  p = fused(p, rest, broadcast(0.0013944767f));
  p = fused(p, rest, broadcast(0.008333498f));
  p = fused(p, rest, broadcast(0.041666295f));
  p = fused(p, rest, broadcast(0.16666666f));
  p = fused(p, rest, broadcast(0.5f));
  const Lanes power = broadcast(1.0f) + fused(rest * rest, p, rest);
  return zero_where_less(power * power_of_two(whole), x, least);
}

// Within 1e-6 of tanh x.
LAPIDARY_INLINE Lanes hyperbolic_tangent(Lanes x) {
  const Lanes decay = exponential(broadcast(-2.0f) * magnitude(x));
  const Lanes one = broadcast(1.0f);
  return with_sign_of((one - decay) / (one + decay), x);
}

// 1 / sqrt(x)
LAPIDARY_INLINE float inverse_root(float x) { return 1.0f / square_root(x); }

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
