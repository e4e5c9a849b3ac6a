#include "formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/byte_cursor.h"
#include "base/checked.h"
#include "base/json.h"

namespace lapidary {
namespace {

constexpr uint64_t header_bytes_max = 100'000'000;
constexpr size_t dimensions_max = 8;
// A tensor is an object with three members, of which two are short lists. The 12B has 677 of them.
constexpr JsonLimits header_limits = {.depth_max = 8, .values_max = 2'000'000};

Result<DType> dtype_named(const std::string& name, const std::string& where) {
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  return fail(
      ErrorKind::unsupported, where,
      fmt::format("its type {} is not supported; take the checkpoint in BF16, or a GGUF file in Q4_0, Q4_K_M or Q8_0",
                  name.substr(0, 20)));
}

Result<StoredTensor> read_entry(const Json& entry, std::span<const std::byte> data, const std::string& where) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
      !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
      entry["data_offsets"].size() != 2)
    return malformed(where, "dtype, shape and data_offsets", "something else");
  StoredTensor tensor;
  if (entry["shape"].size() > dimensions_max)
    return malformed(where, fmt::format("at most {} dimensions", dimensions_max),
                     std::to_string(entry["shape"].size()));
  LAPIDARY_TRY(tensor.dtype, dtype_named(entry["dtype"].get<std::string>(), where));
  std::optional<uint64_t> bytes = static_cast<uint64_t>(dtype_info(tensor.dtype).block_bytes);
  for (const Json& size : entry["shape"]) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > (1ULL << 40))
      return malformed(where, "sizes from 0 to 2^40", dump(size).substr(0, 40));
    tensor.shape.push_back(static_cast<int64_t>(size.get<uint64_t>()));
    if (bytes) bytes = checked_multiply(*bytes, size.get<uint64_t>());
  }
  if (tensor.shape.empty()) tensor.shape.push_back(1);  // a scalar
  const Json &begin = entry["data_offsets"][0], &end = entry["data_offsets"][1];
  if (!begin.is_number_unsigned() || !end.is_number_unsigned())
    return malformed(where, "offsets", dump(entry["data_offsets"]).substr(0, 60));
  const auto first = begin.get<uint64_t>(), last = end.get<uint64_t>();
  if (first > last || last > data.size())
    return malformed(where, fmt::format("offsets inside {} bytes of data", data.size()),
                     fmt::format("{} to {}", first, last));
  if (!bytes || *bytes != last - first)
    return malformed(where,
                     bytes ? fmt::format("{} bytes, as its shape and type say", *bytes) : "a size that fits 64 bits",
                     std::to_string(last - first));
  tensor.offset = first;
  tensor.bytes = data.subspan(first, last - first);
  return tensor;
}

struct Extent {
  uint64_t begin, end;
  const std::string* tensor;
};

// Together the tensors are the data: none shares bytes with another, and nothing lies between them or after them.
Result<void> check_extents(std::vector<Extent>& extents, uint64_t data_bytes, const std::string& name) {
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != end)
      return malformed(fmt::format("{}: tensor {}", name, extent.tensor->substr(0, 120)),
                       fmt::format("its bytes to begin at {}, where those before it end", end),
                       fmt::format("{} to {}", extent.begin, extent.end));
    end = extent.end;
  }
  if (end != data_bytes)
    return malformed(name, fmt::format("{} bytes of data, as its tensors take", end), std::to_string(data_bytes));
  return {};
}

}  // namespace

Result<void> add_safetensors(std::span<const std::byte> bytes, const std::string& name, uint32_t file, TensorMap& map) {
  ByteCursor cursor(bytes);
  auto header_size = cursor.read<uint64_t>("the header's length");
  if (!header_size) return std::unexpected(std::move(header_size).error().in(name));
  if (*header_size > header_bytes_max || *header_size > cursor.remaining())
    return malformed(
        name + ": byte 0",
        fmt::format("a header of at most {} bytes", std::min<uint64_t>(header_bytes_max, cursor.remaining())),
        std::to_string(*header_size));
  LAPIDARY_TRY(const std::string_view text, cursor.take_text(*header_size, "the header"));
  LAPIDARY_TRY(const Json header, parse_json(text, name + ": header", header_limits));
  if (!header.is_object()) return malformed(name + ": header", "an object", "something else");
  const auto data = bytes.subspan(cursor.offset());
  std::vector<Extent> extents;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    LAPIDARY_TRY(StoredTensor tensor, read_entry(entry, data, fmt::format("{}: tensor {}", name, key.substr(0, 120))));
    extents.push_back({tensor.offset, tensor.offset + tensor.bytes.size(), &key});
    tensor.file = file;
    tensor.offset += cursor.offset();
    if (!map.tensors.emplace(key, std::move(tensor)).second)
      return malformed(fmt::format("{}: tensor {}", name, key.substr(0, 120)), "each tensor once", "it in two files");
  }
  return check_extents(extents, data.size(), name);
}

Result<void> add_safetensors(const std::string& path, TensorMap& map) {
  LAPIDARY_TRY(auto file, MappedFile::open(path));
  LAPIDARY_CHECK(add_safetensors(file->bytes(), path, static_cast<uint32_t>(map.files.size()), map));
  map.files.push_back(std::move(file));
  return {};
}

}  // namespace lapidary
