// Inside the reader of GGUF files: one file's header.
#pragma once

#include "formats/gguf.h"

namespace lapidary {

// Reads magic, counts, metadata and tensor directory. Every tensor's place is checked against the file before it enters
// `tensors`, as one of file number `file`. Returns the metadata, whose texts are views of `bytes`.
Result<GgufMetadata> read_gguf_header(std::span<const std::byte> bytes, uint32_t file, TensorMap& tensors);

// As Gguf::integer, of metadata that are not a Gguf's yet.
Result<std::optional<int64_t>> integer_in(const GgufMetadata& metadata, std::string_view key, int64_t min, int64_t max);

}  // namespace lapidary
