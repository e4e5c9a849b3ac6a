#include "tensor/dtype.h"

#include <array>
#include <charconv>

namespace lapidary {
namespace {

// In the order of DType.
constexpr std::array<DTypeInfo, dtype_count> infos = {{
    {DType::f32, "F32", 0, 1, 4},
    {DType::f16, "F16", 1, 1, 2},
    {DType::bf16, "BF16", 30, 1, 2},
    {DType::q8_0, "Q8_0", 8, 32, 34},
    {DType::q4_0, "Q4_0", 2, 32, 18},
    {DType::q4_1, "Q4_1", 3, 32, 20},
    {DType::q5_0, "Q5_0", 6, 32, 22},
    {DType::q5_1, "Q5_1", 7, 32, 24},
    {DType::q3_k, "Q3_K", 11, 256, 110},
    {DType::q4_k, "Q4_K", 12, 256, 144},
    {DType::q5_k, "Q5_K", 13, 256, 176},
    {DType::q6_k, "Q6_K", 14, 256, 210},
    {DType::iq4_nl, "IQ4_NL", 20, 32, 18},
    {DType::iq4_xs, "IQ4_XS", 23, 256, 136},
}};

// By number, those included that no longer occur in files.
constexpr std::array<std::string_view, 43> ggml_names = {
    "F32",        "F16",        "Q4_0",       "Q4_1",  "Q4_2",     "Q4_3",     "Q5_0",     "Q5_1",    "Q8_0",
    "Q8_1",       "Q2_K",       "Q3_K",       "Q4_K",  "Q5_K",     "Q6_K",     "Q8_K",     "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS",    "IQ1_S",      "IQ4_NL",     "IQ3_S", "IQ2_S",    "IQ4_XS",   "I8",       "I16",     "I32",
    "I64",        "F64",        "IQ1_M",      "BF16",  "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0",
    "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4", "NVFP4",    "Q1_0",     "Q2_0",
};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) { return infos[static_cast<size_t>(dtype)]; }

std::optional<DType> dtype_of_ggml(uint32_t ggml_type) {
  for (const DTypeInfo& info : infos)
    if (info.ggml_type == ggml_type) return info.dtype;
  return std::nullopt;
}

std::string_view ggml_type_name(uint32_t ggml_type) {
  if (ggml_type < ggml_names.size()) return ggml_names[ggml_type];
  thread_local std::array<char, 16> text = {'t', 'y', 'p', 'e', ' '};
  const auto end = std::to_chars(text.data() + 5, text.data() + text.size(), ggml_type).ptr;
  return {text.data(), static_cast<size_t>(end - text.data())};
}

}  // namespace lapidary
