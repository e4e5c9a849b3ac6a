// A model of 16 or 32 bits a weight -> a GGUF file of fewer: row by row, so that neither needs to fit into memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "quantize/importance.h"
#include "quantize/model_source.h"
#include "quantize/recipe.h"

namespace lapidary {

// What is to be written, worked out before anything is.
struct QuantizePlan {
  struct Tensor {
    const SourceTensor* source = nullptr;
    DType dtype = DType::f32;
    uint64_t offset = 0;                                 // in the file
    const std::vector<float>* column_weights = nullptr;  // one a column
  };
  QuantizedType type = QuantizedType::q4_0;
  std::string header;
  std::vector<Tensor> tensors;
  uint64_t file_bytes = 0, source_bytes = 0;
  bool lattice = false;       // the matrices were a Q4_0 lattice already: quantisation-aware training, or a Q4_0 file
  bool head_lattice = false;  // so was the embedding
};

// Types and places of the model's tensors. Reads a sample of the weights, to find out about the lattice. `importance`:
// null, or what must outlive the plan.
Result<QuantizePlan> plan_quantization(const ModelSource& source, QuantizedType type,
                                       const Importance* importance = nullptr);
// The same for the projector, which keeps its precision.
QuantizePlan plan_projector(const SourceFile& projector);

// The quantised type that most weights of the source's layers have, if it is one: to quantise it once more loses twice.
std::optional<DType> quantized_already(const ModelSource& source);

// Bytes of the source that are done, of all; return false to stop (the call fails with ErrorKind::cancelled).
using QuantizeProgress = std::function<bool(uint64_t done, uint64_t total)>;

// Writes `path`: complete, or not at all. Errors: what the disk says; refused if a weight is no number.
Result<void> write_quantized(const QuantizePlan& plan, const TensorMap& files, const std::string& path,
                             ThreadPool& pool, const QuantizeProgress& progress);

}  // namespace lapidary
