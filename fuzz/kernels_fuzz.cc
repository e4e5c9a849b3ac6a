// The same bytes through every variant of the int8 family that the CPU has: products must be the contract's, everything
// else the same, to the last bit.
//
// Input: which operation, then its sizes, one byte each; what follows is used as weights, activations, queries, keys,
// over and over until there is enough.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/activations.h"
#include "kernels/int8_contract.h"
#include "kernels/ops.h"
#include "tensor/code_block.h"

namespace lapidary {
namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  int number(int least, int most) { return least + byte() % (most - least + 1); }

  template <typename T>
  std::vector<T> array(int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    std::vector<uint8_t> bytes(values.size() * sizeof(T));
    for (uint8_t& b : bytes) b = byte();
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  uint8_t byte() { return size_ == 0 ? 0 : data_[position_++ % size_]; }

  const uint8_t* data_;
  size_t size_;
  size_t position_ = 0;
};

bool same_bits(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

void require(bool condition) {
  if (!condition) std::abort();
}

void require_same(const std::vector<float>& a, const std::vector<float>& b) {
  require(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) require(same_bits(a[i], b[i]));
}

std::vector<const Kernels*> int8_family() {
  std::vector<const Kernels*> family = available_kernels();
  std::erase_if(family, [](const Kernels* kernels) { return kernels->quantize_row == nullptr; });
  return family;
}

// Runs an operation with each variant; all must give what the first gives.
template <typename Operation>
void require_agreement(Operation operation) {
  std::vector<float> first;
  for (const Kernels* kernels : int8_family()) {
    const std::vector<float> result = operation(*kernels);
    if (first.empty()) first = result;
    require_same(result, first);
  }
}

Activations quantized(const std::vector<float>& x, int32_t rows, int64_t columns,
                      Activations::QuantizeRow quantize_row) {
  Activations activations;
  activations.set(x.data(), rows, columns);
  activations.make_room();
  for (int32_t m = 0; m < rows; ++m) activations.quantize(quantize_row, m, 0, columns);
  return activations;
}

void check_product(Input input) {
  const DType dtype = static_cast<DType>(input.number(0, dtype_count - 1));
  const DTypeInfo& info = dtype_info(dtype);
  const bool integers = is_quantized(dtype);
  const int64_t rows = input.number(1, 40);
  const int64_t columns = integers ? info.block_values * input.number(1, 3) : input.number(1, 40);
  const int64_t begin = input.number(0, static_cast<int>(rows) - 1),
                end = input.number(static_cast<int>(begin), static_cast<int>(rows));
  const int32_t rows_of_x = input.number(1, 40);
  const int64_t row_bytes = columns / info.block_values * info.block_bytes;
  const auto x = input.array<float>(rows_of_x * columns);
  const auto weights = input.array<std::byte>(rows * row_bytes);
  const TensorView view = {dtype, weights.data(), rows, columns, row_bytes};
  if (!integers) {
    const ActivationRows activation_rows = {.rows = rows_of_x, .columns = columns, .values = x.data()};
    require_agreement([&](const Kernels& kernels) {
      std::vector<float> y(static_cast<size_t>(rows_of_x * rows));
      kernels.matmul(view, begin, end, activation_rows, y.data(), rows);
      return y;
    });
    return;
  }
  const Activations expected = quantized(x, rows_of_x, columns, int8_reference_quantize_row);
  const ActivationRows& activation_rows = expected.rows();
  const int64_t blocks = rows_of_x * columns / 32;
  std::vector<float> y_expected(static_cast<size_t>(rows_of_x * rows));
  for (int32_t m = 0; m < rows_of_x; ++m)
    for (int64_t r = begin; r < end; ++r)
      y_expected[static_cast<size_t>(m * rows + r)] = int8_reference_dot(view, r, activation_rows, m);
  for (const Kernels* kernels : int8_family()) {
    const Activations made = quantized(x, rows_of_x, columns, kernels->quantize_row);
    const ActivationRows& actual = made.rows();
    require(std::equal(actual.quantized, actual.quantized + blocks * 32, activation_rows.quantized) &&
            std::equal(actual.sums_of_32, actual.sums_of_32 + blocks, activation_rows.sums_of_32) &&
            std::equal(actual.sums_of_16, actual.sums_of_16 + blocks * 2, activation_rows.sums_of_16));
    require_same({actual.scales, actual.scales + blocks}, {activation_rows.scales, activation_rows.scales + blocks});
    std::vector<float> y(y_expected.size());
    kernels->matmul(view, begin, end, activation_rows, y.data(), rows);
    require_same(y, y_expected);
  }
}

void check_elementwise(Input input) {
  const int64_t n = input.number(1, 70);
  const size_t size = static_cast<size_t>(n);
  const auto x = input.array<float>(2 * n), y = input.array<float>(n), z = input.array<float>(n);
  require_agreement([&](const Kernels& kernels) {
    std::vector<float> all;
    const auto append = [&all](const std::vector<float>& part) { all.insert(all.end(), part.begin(), part.end()); };
    std::vector<float> out(size);
    kernels.rms_norm(x.data(), y.data(), n, 1e-6f, out.data());
    append(out);
    kernels.layer_norm(x.data(), y.data(), z.data(), n, 1e-6f, out.data());
    append(out);
    kernels.gelu_multiply(x.data(), y.data(), n, out.data());
    append(out);
    out = x;
    kernels.rotate(out.data(), y.data(), z.data(), n);
    append(out);
    out.resize(size);
    kernels.add(out.data(), x.data(), n);
    append(out);
    kernels.scale(out.data(), z[0], n);
    append(out);
    out = y;
    kernels.softcap(out.data(), 30, n);
    append(out);
    std::vector<uint16_t> halves(size);
    kernels.to_half(x.data(), n, halves.data());
    all.insert(all.end(), halves.begin(), halves.end());
    return all;
  });
}

void check_attention(Input input) {
  const int32_t heads = input.number(1, 17), head_dim = input.number(1, 80), keys = input.number(1, 70);
  const KvType type = input.number(0, 1) == 0 ? KvType::f16 : KvType::f32;
  const int32_t cut = input.number(0, keys);
  const int64_t kv_bytes = int64_t{keys} * head_dim * (type == KvType::f32 ? 4 : 2);
  const auto query = input.array<float>(int64_t{heads} * head_dim);
  const auto key = input.array<std::byte>(kv_bytes), value = input.array<std::byte>(kv_bytes);
  const int64_t offset = kv_bytes / keys * cut;
  const KvSpan whole = {key.data(), value.data(), keys};
  const KvSpan parts[2] = {{key.data(), value.data(), cut}, {key.data() + offset, value.data() + offset, keys - cut}};
  require_agreement([&](const Kernels& kernels) {
    std::vector<float> out(query.size()), out_of_parts(query.size()), scores(static_cast<size_t>(heads * keys));
    AttentionCall call = {.query = query.data(),
                          .out = out.data(),
                          .heads = heads,
                          .head_dim = head_dim,
                          .scale = 0.1f,
                          .type = type,
                          .spans = &whole,
                          .span_count = 1,
                          .keys = keys,
                          .scores = scores.data()};
    kernels.attend(call);
    call.out = out_of_parts.data();
    call.spans = parts;
    call.span_count = 2;
    kernels.attend(call);
    require_same(out, out_of_parts);
    return out;
  });
}

void check_keys_from_values(Input input) {
  const int32_t heads = input.number(1, 17), head_dim = 2 * input.number(1, 40), keys = input.number(1, 64);
  const int64_t pairs = input.number(0, head_dim / 2), place = input.number(0, 64 - keys);
  const auto query = input.array<float>(int64_t{heads} * head_dim), weight = input.array<float>(head_dim);
  const auto value = input.array<std::byte>(int64_t{keys} * head_dim * 2);
  std::vector<float> pages, places;
  const auto turn = [pairs](int64_t position, std::vector<float>& table) {
    for (const float shift : {0.0f, 1.5707963f})
      for (int64_t i = 0; i < pairs; ++i)
        table.push_back(std::cos(static_cast<float>(position) / static_cast<float>(i + 1) - shift));
  };
  for (int64_t page = 0; page < 3; ++page) turn(page * kv_page_positions, pages);
  for (int64_t p = 0; p < kv_page_positions; ++p) turn(p, places);
  const KeysFromValues from = {weight.data(), pairs, pages.data(), places.data()};
  const KvSpan span = {nullptr, value.data(), keys, 2 * kv_page_positions + place};
  require_agreement([&](const Kernels& kernels) {
    std::vector<float> out(query.size()), scores(static_cast<size_t>(heads * keys));
    std::vector<float> rows(static_cast<size_t>((heads + key_rows_together) * head_dim));
    kernels.attend({.query = query.data(),
                    .out = out.data(),
                    .heads = heads,
                    .head_dim = head_dim,
                    .scale = 0.1f,
                    .type = KvType::f16,
                    .spans = &span,
                    .span_count = 1,
                    .keys = keys,
                    .scores = scores.data(),
                    .keys_from_values = &from,
                    .rows = rows.data()});
    return out;
  });
}

}  // namespace
}  // namespace lapidary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  if (size < 8) return 0;
  const Input input(data + 1, size - 1);
  if (data[0] % 8 == 7) {
    check_keys_from_values(input);
    return 0;
  }
  switch (data[0] % 4) {
    case 0:
      check_elementwise(input);
      break;
    case 1:
      check_attention(input);
      break;
    default:
      check_product(input);
      break;
  }
  return 0;
}
