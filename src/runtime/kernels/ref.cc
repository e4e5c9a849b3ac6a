// The definition of right: fp32 arithmetic on dequantised weights, in plain C++ that any compiler makes decent use of.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/variants.h"
#include "tensor/dequantize.h"

namespace lapidary::ref {
namespace {

// Eight sums that do not wait for each other: as many as fill the vector units of the least CPU.
constexpr int partial_sums = 8;

float sum_of(const float* partial) {
  float total = 0;
  for (int i = 0; i < partial_sums; ++i) total += partial[i];
  return total;
}

float dot(const float* a, const float* b, int64_t n) {
  float partial[partial_sums] = {};
  int64_t i = 0;
  for (; i + partial_sums <= n; i += partial_sums)
    for (int k = 0; k < partial_sums; ++k) partial[k] += a[i + k] * b[i + k];
  for (int k = 0; i < n; ++i, ++k) partial[k] += a[i] * b[i];
  return sum_of(partial);
}

// A weight row is dequantised once for all activations; a few rows together, so that the activations are not fetched
// from far away for each.
void matmul(const TensorView& weights, int64_t row_begin, int64_t row_end, const ActivationRows& x, float* y,
            int64_t y_stride) {
  constexpr int64_t rows_together = 4;
  if (x.rows == 0) return;
  const int64_t columns = weights.columns;
  std::vector<float> rows(static_cast<size_t>(columns * rows_together));
  for (int64_t first = row_begin; first < row_end; first += rows_together) {
    const int64_t count = std::min(rows_together, row_end - first);
    for (int64_t r = 0; r < count; ++r) dequantize_row(weights, first + r, rows.data() + r * columns);
    for (int32_t m = 0; m < x.rows; ++m)
      for (int64_t r = 0; r < count; ++r)
        y[m * y_stride + first + r] = dot(rows.data() + r * columns, x.values + m * columns, columns);
  }
}

// Sums over a whole row are taken in double precision: the fast kernels are measured against these.
double mean_of(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  return sum / static_cast<double>(n);
}

double mean_square(const float* x, double mean, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  return sum / static_cast<double>(n);
}

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  const float inverse = static_cast<float>(1 / std::sqrt(mean_square(x, 0, n) + static_cast<double>(eps)));
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * inverse * (weight == nullptr ? 1.0f : weight[i]);
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out) {
  const double mean = mean_of(x, n);
  const double inverse = 1 / std::sqrt(mean_square(x, mean, n) + static_cast<double>(eps));
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<float>((static_cast<double>(x[i]) - mean) * inverse) * weight[i] + bias[i];
}

void gelu_multiply(const float* gate, const float* up, int64_t n, float* out) {
  constexpr float root_two_over_pi = 0.79788456080286535588f;
  for (int64_t i = 0; i < n; ++i) {
    const float x = gate[i];
    const float inner = root_two_over_pi * (x + 0.044715f * x * x * x);
    out[i] = 0.5f * x * (1.0f + std::tanh(inner)) * up[i];
  }
}

void rotate(float* head, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = a * cos[i] - b * sin[i];
    head[half + i] = b * cos[i] + a * sin[i];
  }
}

void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void scale(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void softcap(float* x, float cap, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = cap * std::tanh(x[i] / cap);
}

// Reads the key or value at `index` of a span.
void read_kv_row(const void* data, int32_t index, KvType type, int32_t head_dim, float* out) {
  const std::byte* row =
      static_cast<const std::byte*>(data) + int64_t{index} * head_dim * (type == KvType::f32 ? 4 : 2);
  dequantize_row(type == KvType::f32 ? DType::f32 : DType::f16, row, out, head_dim);
}

// The key of a layer that stores values alone.
void key_of_value(const AttentionCall& call, int64_t position, float* row) {
  const KeysFromValues& from = *call.keys_from_values;
  for (int32_t i = 0; i < call.head_dim; ++i) row[i] *= from.weight[i];
  for (const float* angles : {from.places + position % kv_page_positions * 2 * from.pairs,
                              from.pages + position / kv_page_positions * 2 * from.pairs})
    for (int64_t i = 0; i < from.pairs; ++i) {
      const float a = row[i], b = row[call.head_dim / 2 + i], cos = angles[i], sin = angles[from.pairs + i];
      row[i] = a * cos - b * sin;
      row[call.head_dim / 2 + i] = b * cos + a * sin;
    }
}

void softmax(float* scores, int32_t n) {
  const float largest = *std::max_element(scores, scores + n);
  float sum = 0;
  for (int32_t i = 0; i < n; ++i) sum += scores[i] = std::exp(scores[i] - largest);
  for (int32_t i = 0; i < n; ++i) scores[i] /= sum;
}

void attend(const AttentionCall& call) {
  std::vector<float> row(static_cast<size_t>(call.head_dim));
  int32_t position = 0;
  for (const KvSpan* span = call.spans; span != call.spans + call.span_count; ++span)
    for (int32_t i = 0; i < span->count; ++i, ++position) {
      read_kv_row(call.keys_from_values == nullptr ? span->key : span->value, i, call.type, call.head_dim, row.data());
      if (call.keys_from_values != nullptr) key_of_value(call, span->position + i, row.data());
      for (int32_t h = 0; h < call.heads; ++h)
        call.scores[int64_t{h} * call.keys + position] =
            call.scale * dot(call.query + int64_t{h} * call.head_dim, row.data(), call.head_dim);
    }
  for (int32_t h = 0; h < call.heads; ++h) {
    float* scores = call.scores + int64_t{h} * call.keys;
    const int32_t begin = call.begins == nullptr ? 0 : call.begins[h];
    const int32_t end = call.begins == nullptr ? call.keys : call.ends[h];
    softmax(scores + begin, end - begin);
    std::fill(scores, scores + begin, 0.0f);
    std::fill(scores + end, scores + call.keys, 0.0f);
  }

  std::fill_n(call.out, int64_t{call.heads} * call.head_dim, 0.0f);
  position = 0;
  for (const KvSpan* span = call.spans; span != call.spans + call.span_count; ++span)
    for (int32_t i = 0; i < span->count; ++i, ++position) {
      read_kv_row(span->value, i, call.type, call.head_dim, row.data());
      for (int32_t h = 0; h < call.heads; ++h) {
        const float probability = call.scores[int64_t{h} * call.keys + position];
        float* out = call.out + int64_t{h} * call.head_dim;
        for (int32_t d = 0; d < call.head_dim; ++d) out[d] += probability * row[d];
      }
    }
}

void to_half(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = float_to_half(x[i]);
}

}  // namespace

const Kernels kernels = {
    .name = "ref",
    .matmul = matmul,
    .quantize_row = nullptr,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .gelu_multiply = gelu_multiply,
    .rotate = rotate,
    .add = add,
    .scale = scale,
    .softcap = softcap,
    .attend = attend,
    .to_half = to_half,
};

}  // namespace lapidary::ref
