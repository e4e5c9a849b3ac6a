// What every container of weights gives: named tensors in mapped memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace lapidary {

// A tensor as its file describes it. Shape is outermost first (row-major), as in safetensors; GGUF's "ne" is reversed.
struct StoredTensor {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // inside a mapped file; exactly the size that shape and dtype demand
  uint32_t file = 0;                 // index into TensorMap::files
  uint64_t offset = 0;               // of the bytes in that file
};

// All tensors of a model, from one file or several. Keeps the mappings alive.
struct TensorMap {
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::map<std::string, StoredTensor, std::less<>> tensors;

  const StoredTensor* find(std::string_view name) const {
    const auto it = tensors.find(name);
    return it == tensors.end() ? nullptr : &it->second;
  }
};

// What a path turns out to be, by content and not by name.
enum class FileKind : uint8_t {
  gguf_model,      // general.architecture is a text model
  gguf_mmproj,     // general.architecture = "clip" (or general.type = "mmproj")
  hugging_face,    // a folder with config.json and safetensors, or one of its files
  tokenizer_json,  // a tokenizer.json alone
  unknown,
};

}  // namespace lapidary
