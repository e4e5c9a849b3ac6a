// Which type each tensor of a quantised model gets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/config.h"
#include "tensor/dtype.h"

namespace lapidary {

// As users name them. The mixes (_m) give the tensors that matter most two bits more.
enum class QuantizedType : uint8_t { f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m, q4_0 };

std::optional<QuantizedType> quantized_type(std::string_view name);  // "q4_k_m"
std::string_view name_of(QuantizedType type);
uint32_t gguf_file_type(QuantizedType type);  // general.file_type

struct TensorPlace {
  std::string_view name;  // as GGUF has it
  int64_t columns = 0;
  bool on_lattice = false;  // its weights are a Q4_0 lattice already
};

// Whether a tensor is a matrix of the text model, all of which can be quantised: by its name.
bool is_quantizable(std::string_view name);

// The type of a quantisable tensor. Matrices whose rows are not whole blocks of it get the next larger type that fits.
// The values of attention are worth two bits more in a mix, and so are the down projections of the first and last
// eighth of the layers and of every third between; where K and V are one projection, that one counts as V. The head,
// which a tied embedding is, gets Q6_K at least, but for a Q4_0 lattice.
DType type_of(const TensorPlace& tensor, QuantizedType type, const ModelConfig& config);

}  // namespace lapidary
