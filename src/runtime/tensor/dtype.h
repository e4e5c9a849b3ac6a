// The types a weight can have, and how their blocks lie in a file.
//
// Names, numbers and layouts are GGML's (gguf specification, "ggml_type"); a row of a quantised tensor is a whole
// number of blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lapidary {

enum class DType : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs };
inline constexpr int dtype_count = 14;

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // "Q4_K", as users know it
  uint32_t ggml_type;     // the number in a GGUF file
  int32_t block_values;   // weights in one block
  int32_t block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
std::optional<DType> dtype_of_ggml(uint32_t ggml_type);
// The name of any GGML type, also of those we do not handle ("IQ2_XXS", "TQ1_0", "MXFP4"), for error messages; "type
// 99" for a number without a name, valid until this thread's next call.
std::string_view ggml_type_name(uint32_t ggml_type);

}  // namespace lapidary
