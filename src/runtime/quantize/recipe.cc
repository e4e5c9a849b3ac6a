#include "quantize/recipe.h"

#include <array>
#include <charconv>

namespace lapidary {
namespace {

struct TypeInfo {
  QuantizedType type;
  std::string_view name;
  uint32_t file_type;
  DType most, better;  // of most tensors, and of those that matter more
};
constexpr std::array<TypeInfo, 7> infos = {{
    {QuantizedType::f16, "f16", 1, DType::f16, DType::f16},
    {QuantizedType::bf16, "bf16", 32, DType::bf16, DType::bf16},
    {QuantizedType::q8_0, "q8_0", 7, DType::q8_0, DType::q8_0},
    {QuantizedType::q6_k, "q6_k", 18, DType::q6_k, DType::q6_k},
    {QuantizedType::q5_k_m, "q5_k_m", 17, DType::q5_k, DType::q6_k},
    {QuantizedType::q4_k_m, "q4_k_m", 15, DType::q4_k, DType::q6_k},
    {QuantizedType::q4_0, "q4_0", 2, DType::q4_0, DType::q4_0},
}};

const TypeInfo& info_of(QuantizedType type) { return infos[static_cast<size_t>(type)]; }

// "blk.12.attn_v.weight" -> 12, "attn_v.weight"; -1 and the name itself for what is in no layer.
struct LayerName {
  int64_t layer = -1;
  std::string_view rest;
};
LayerName split(std::string_view name) {
  constexpr std::string_view prefix = "blk.";
  LayerName result{-1, name};
  if (!name.starts_with(prefix)) return result;
  int64_t layer = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, layer);
  if (error != std::errc() || stop == end || *stop != '.') return result;
  return {layer, std::string_view(stop + 1, static_cast<size_t>(end - stop - 1))};
}

bool is_head(std::string_view name) { return name == "token_embd.weight" || name == "output.weight"; }

// The first and the last eighth, and every third between.
bool worth_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// The next type up whose blocks divide a row.
DType fitting(DType type, int64_t columns, QuantizedType wanted) {
  const auto fits = [&](DType dtype) { return columns % dtype_info(dtype).block_values == 0; };
  if (fits(type)) return type;
  if (type == DType::q4_k) type = DType::q5_0;
  if (type == DType::q5_k) type = DType::q5_1;
  if (type == DType::q6_k) type = DType::q8_0;
  if (fits(type)) return type;
  return wanted == QuantizedType::bf16 ? DType::bf16 : DType::f16;
}

}  // namespace

std::optional<QuantizedType> quantized_type(std::string_view name) {
  for (const TypeInfo& info : infos)
    if (info.name == name) return info.type;
  return std::nullopt;
}

std::string_view name_of(QuantizedType type) { return info_of(type).name; }
uint32_t gguf_file_type(QuantizedType type) { return info_of(type).file_type; }

bool is_quantizable(std::string_view name) {
  if (is_head(name)) return true;
  const auto [layer, rest] = split(name);
  if (layer < 0) return false;
  for (const char* matrix : {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight", "ffn_gate.weight",
                             "ffn_up.weight", "ffn_down.weight"})
    if (rest == matrix) return true;
  return false;
}

DType type_of(const TensorPlace& tensor, QuantizedType type, const ModelConfig& config) {
  const TypeInfo& info = info_of(type);
  const auto [layer, rest] = split(tensor.name);
  const auto layers = static_cast<int64_t>(config.layers.size());
  DType dtype = info.most;
  if (is_head(tensor.name)) {
    const bool enough = type == QuantizedType::f16 || type == QuantizedType::bf16 || type == QuantizedType::q8_0 ||
                        (type == QuantizedType::q4_0 && tensor.on_lattice);
    if (!enough) dtype = DType::q6_k;
  } else if (layer >= 0 && layer < layers) {
    const bool value = rest == "attn_v.weight" ||
                       (rest == "attn_k.weight" && config.layers[static_cast<size_t>(layer)].value_from_key);
    if (value || (rest == "ffn_down.weight" && worth_more_bits(layer, layers))) dtype = info.better;
  }
  return fitting(dtype, tensor.columns, type);
}

}  // namespace lapidary
