// The kinds of numbers a row of floats can be stored as: weights, keys, values.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

struct Floats32 {
  static constexpr int64_t bytes = 4;
  LAPIDARY_INLINE static Lanes load(const uint8_t* p) {
    return LAPIDARY_VARIANT::load(reinterpret_cast<const float*>(p));
  }
  LAPIDARY_INLINE static Lanes load_some(const uint8_t* p, int64_t count) {
    return LAPIDARY_VARIANT::load_some(reinterpret_cast<const float*>(p), count);
  }
};

struct Halves {
  static constexpr int64_t bytes = 2;
  LAPIDARY_INLINE static Lanes load(const uint8_t* p) { return load_halves(p); }
  LAPIDARY_INLINE static Lanes load_some(const uint8_t* p, int64_t count) { return load_some_halves(p, count); }
};

struct Bfloats {
  static constexpr int64_t bytes = 2;
  LAPIDARY_INLINE static Lanes load(const uint8_t* p) { return load_bfloats(p); }
  LAPIDARY_INLINE static Lanes load_some(const uint8_t* p, int64_t count) { return load_some_bfloats(p, count); }
};

// sums[i][j] = dot(row i of a, row j of b), both `columns` long: 16 sums along the columns, then sum_of. A product of
// two rows is the same numbers whatever tile it is part of.
template <int a_rows, int b_rows, typename A>
LAPIDARY_INLINE void dot_tile(const uint8_t* a, int64_t a_stride_bytes, const float* b, int64_t b_stride,
                              int64_t columns, float (*sums)[b_rows]) {
  Lanes partial[a_rows][b_rows];
  for (int i = 0; i < a_rows; ++i)
    for (int j = 0; j < b_rows; ++j) partial[i][j] = broadcast(0);
  int64_t k = 0;
  for (; k + lane_count <= columns; k += lane_count) {
    Lanes rows[a_rows];
    for (int i = 0; i < a_rows; ++i) rows[i] = A::load(a + i * a_stride_bytes + k * A::bytes);
    for (int j = 0; j < b_rows; ++j) {
      const Lanes other = load(b + j * b_stride + k);
      for (int i = 0; i < a_rows; ++i) partial[i][j] = fused(rows[i], other, partial[i][j]);
    }
  }
  if (const int64_t rest = columns - k; rest > 0) {
    Lanes rows[a_rows];
    for (int i = 0; i < a_rows; ++i) rows[i] = A::load_some(a + i * a_stride_bytes + k * A::bytes, rest);
    for (int j = 0; j < b_rows; ++j) {
      const Lanes other = load_some(b + j * b_stride + k, rest);
      for (int i = 0; i < a_rows; ++i) partial[i][j] = fused(rows[i], other, partial[i][j]);
    }
  }
  for (int i = 0; i < a_rows; ++i)
    for (int j = 0; j < b_rows; ++j) sums[i][j] = sum_of(partial[i][j]);
}

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
