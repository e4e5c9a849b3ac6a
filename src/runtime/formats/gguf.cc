#include "formats/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/byte_cursor.h"
#include "base/checked.h"
#include "formats/gguf_header.h"

namespace lapidary {
namespace {

// gguf.md, "gguf_metadata_value_type".
enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

constexpr uint64_t default_alignment = 32;
constexpr uint32_t dimensions_max = 4;

// What a header may take. The 12B's has 41 keys, 667 tensors, arrays of up to 514,906 texts, and 16 MB. In memory a
// number takes at most eight times its bytes in the file; without these limits a huge file of nothing but keys or
// one-byte numbers would take as many times more memory than the machine has.
constexpr uint64_t header_bytes_max = 128ULL << 20;
constexpr uint64_t keys_max = 1 << 16;
constexpr uint64_t tensors_max = 1 << 17;
constexpr uint64_t elements_max = 1 << 24;
// The least that a key (empty name, type, one byte) and a tensor (empty name, one dimension) take in a file.
constexpr uint64_t key_bytes_min = 8 + 4 + 1, tensor_bytes_min = 8 + 4 + 8 + 4 + 8;

std::string name_of(const GgufValue& value) {
  constexpr const char* names[] = {"a whole number", "a whole number", "a number",
                                   "a truth value",  "a text",         "an array"};
  return names[value.index()];
}
std::string key_place(std::string_view key) { return fmt::format("key {}", key); }

std::optional<int64_t> whole(const GgufValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value);
      number && *number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return static_cast<int64_t>(*number);
  return std::nullopt;
}

Result<int64_t> in_range(std::string_view key, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max)
    return malformed(key_place(key), fmt::format("a number from {} to {}", min, max), std::to_string(value));
  return value;
}

const GgufValue* find_in(const GgufMetadata& metadata, std::string_view key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

uint64_t value_bytes(uint32_t type) {
  constexpr uint64_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};  // of a string and an array: the least
  return type < std::size(bytes) ? bytes[type] : 0;
}

std::string at(const ByteCursor& cursor) { return fmt::format("byte {}", cursor.offset()); }

Result<std::string_view> read_string(ByteCursor& cursor, std::string_view what) {
  LAPIDARY_TRY(const uint64_t size, cursor.read<uint64_t>(what));
  return cursor.take_text(size, what);
}

template <typename T, typename Wide>
Result<Wide> read_wide(ByteCursor& cursor) {
  LAPIDARY_TRY(const T value, cursor.read<T>("a value"));
  return static_cast<Wide>(value);
}

Result<GgufValue> read_scalar(ByteCursor& cursor, uint32_t type) {
  const auto as = [](auto result) -> Result<GgufValue> {
    if (!result) return std::unexpected(std::move(result).error());
    return GgufValue(*result);
  };
  switch (type) {
    case u8:
      return as(read_wide<uint8_t, uint64_t>(cursor));
    case i8:
      return as(read_wide<int8_t, int64_t>(cursor));
    case u16:
      return as(read_wide<uint16_t, uint64_t>(cursor));
    case i16:
      return as(read_wide<int16_t, int64_t>(cursor));
    case u32:
      return as(read_wide<uint32_t, uint64_t>(cursor));
    case i32:
      return as(read_wide<int32_t, int64_t>(cursor));
    case u64:
      return as(read_wide<uint64_t, uint64_t>(cursor));
    case i64:
      return as(read_wide<int64_t, int64_t>(cursor));
    case f32:
      return as(read_wide<float, double>(cursor));
    case f64:
      return as(read_wide<double, double>(cursor));
    case boolean: {
      LAPIDARY_TRY(const uint8_t value, cursor.read<uint8_t>("a truth value"));
      if (value > 1) return malformed(at(cursor), "0 or 1", std::to_string(value));
      return GgufValue(value == 1);
    }
    case string:
      return as(read_string(cursor, "a string"));
    default:
      return malformed(at(cursor), "a value type from 0 to 12", std::to_string(type));
  }
}

// A count from the file, before anything is allocated for it: so many things of `bytes_min` each have to fit into what
// is left of the file.
Result<void> check_count(const ByteCursor& cursor, const char* what, uint64_t count, uint64_t bytes_min,
                         uint64_t count_max) {
  const uint64_t most = std::min(cursor.remaining() / bytes_min, count_max);
  if (count > most) return malformed(at(cursor), fmt::format("at most {} {}", most, what), std::to_string(count));
  return {};
}

template <typename Stored>
Result<GgufValue> read_elements(ByteCursor& cursor, uint32_t type, uint64_t count) {
  auto array = std::make_shared<GgufArray>();
  auto& values = array->values.emplace<std::vector<Stored>>();
  values.reserve(count);  // count fits the rest of the file: see read_array
  for (uint64_t i = 0; i < count; ++i) {
    LAPIDARY_TRY(const GgufValue value, read_scalar(cursor, type));
    values.push_back(std::get<Stored>(value));
  }
  return GgufValue(std::shared_ptr<const GgufArray>(std::move(array)));
}

Result<GgufValue> read_array(ByteCursor& cursor) {
  LAPIDARY_TRY(const uint32_t type, cursor.read<uint32_t>("an array's type"));
  LAPIDARY_TRY(const uint64_t count, cursor.read<uint64_t>("an array's length"));
  if (type == array) return fail(ErrorKind::unsupported, at(cursor), "an array of arrays is not supported");
  const uint64_t least = value_bytes(type);
  if (least == 0) return malformed(at(cursor), "a value type from 0 to 12", std::to_string(type));
  // Before anything is allocated: as many elements cannot fit into what is left of the file.
  LAPIDARY_CHECK(check_count(cursor, "elements", count, least, elements_max));
  switch (type) {
    case f32:
    case f64:
      return read_elements<double>(cursor, type, count);
    case boolean:
      return read_elements<bool>(cursor, type, count);
    case string:
      return read_elements<std::string_view>(cursor, type, count);
    case i8:
    case i16:
    case i32:
    case i64:
      return read_elements<int64_t>(cursor, type, count);
    default:
      return read_elements<uint64_t>(cursor, type, count);
  }
}

struct Directory {  // a tensor as the header describes it
  std::string_view name;
  DType dtype;
  std::vector<int64_t> shape;
  uint64_t offset = 0, bytes = 0;
};

Result<uint64_t> bytes_of(const DTypeInfo& info, const std::vector<int64_t>& shape, const std::string& where) {
  const auto columns = static_cast<uint64_t>(shape.back());
  if (columns % static_cast<uint64_t>(info.block_values) != 0)
    return malformed(where, fmt::format("a row of whole {} blocks of {}", info.name, info.block_values),
                     fmt::format("{} values", columns));
  std::optional<uint64_t> total = columns / static_cast<uint64_t>(info.block_values);
  total = checked_multiply(*total, static_cast<uint64_t>(info.block_bytes));
  for (size_t i = 0; i + 1 < shape.size() && total; ++i)
    total = checked_multiply(*total, static_cast<uint64_t>(shape[i]));
  if (!total) return malformed(where, "a size that fits 64 bits", "more");
  return *total;
}

Result<Directory> read_tensor(ByteCursor& cursor) {
  Directory tensor;
  LAPIDARY_TRY(tensor.name, read_string(cursor, "a tensor's name"));
  const std::string where = fmt::format("byte {}: tensor {}", cursor.offset(), tensor.name.substr(0, 80));
  LAPIDARY_TRY(const uint32_t dimensions, cursor.read<uint32_t>("a number of dimensions"));
  if (dimensions == 0 || dimensions > dimensions_max)
    return malformed(where, "1 to 4 dimensions", std::to_string(dimensions));
  for (uint32_t i = 0; i < dimensions; ++i) {
    LAPIDARY_TRY(const uint64_t size, cursor.read<uint64_t>("a dimension"));
    if (size == 0 || size > (1ULL << 40)) return malformed(where, "a dimension from 1 to 2^40", std::to_string(size));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  LAPIDARY_TRY(const uint32_t type, cursor.read<uint32_t>("a tensor's type"));
  const auto dtype = dtype_of_ggml(type);
  if (!dtype)
    return fail(ErrorKind::unsupported, where,
                fmt::format("its type {} is not supported; take a file in Q4_0, Q4_K_M, Q5_K_M, Q6_K or Q8_0",
                            ggml_type_name(type)));
  tensor.dtype = *dtype;
  LAPIDARY_TRY(tensor.bytes, bytes_of(dtype_info(*dtype), tensor.shape, where));
  LAPIDARY_TRY(tensor.offset, cursor.read<uint64_t>("a tensor's offset"));
  return tensor;
}

Result<void> check_version(uint32_t version) {
  if (version == 2 || version == 3) return {};
  if (version == 0x02000000 || version == 0x03000000)
    return fail(ErrorKind::unsupported, "byte 4", "a big-endian GGUF file; take the little-endian one");
  if (version == 1) return fail(ErrorKind::unsupported, "byte 4", "GGUF version 1, of 2023; take a newer file");
  return malformed("byte 4", "GGUF version 2 or 3", std::to_string(version));
}

Result<GgufMetadata> read_metadata(ByteCursor& cursor, uint64_t count) {
  GgufMetadata metadata;
  for (uint64_t i = 0; i < count; ++i) {
    LAPIDARY_TRY(const std::string_view key, read_string(cursor, "a key"));
    const std::string where = key_place(key.substr(0, 80));
    auto type = cursor.read<uint32_t>("a value type");
    if (!type) return std::unexpected(std::move(type).error().in(where));
    auto value = *type == array ? read_array(cursor) : read_scalar(cursor, *type);
    if (!value) return std::unexpected(std::move(value).error().in(where));
    if (!metadata.emplace(std::string(key), std::move(*value)).second)
      return malformed(where, "each key once", "it a second time");
  }
  return metadata;
}

// Where the tensor lies in the file, whose data begin at `data`.
Result<StoredTensor> place(const Directory& entry, std::span<const std::byte> bytes, uint64_t data, uint64_t alignment,
                           uint32_t file, const std::string& where) {
  const auto begin = checked_add(data, entry.offset);
  const auto end = begin ? checked_add(*begin, entry.bytes) : std::nullopt;
  if (entry.offset % alignment != 0)
    return malformed(where, fmt::format("an offset at a multiple of {}", alignment), std::to_string(entry.offset));
  if (!end || *end > bytes.size())
    return malformed(where, fmt::format("{} bytes at offset {} inside the file", entry.bytes, entry.offset),
                     fmt::format("a file of {} bytes", bytes.size()));
  return StoredTensor{entry.dtype, entry.shape, bytes.subspan(*begin, entry.bytes), file, *begin};
}

}  // namespace

Result<std::optional<int64_t>> integer_in(const GgufMetadata& metadata, std::string_view key, int64_t min,
                                          int64_t max) {
  const GgufValue* value = find_in(metadata, key);
  if (value == nullptr) return std::optional<int64_t>();
  const auto number = whole(*value);
  if (!number) return malformed(key_place(key), "a whole number", name_of(*value));
  LAPIDARY_TRY(const int64_t checked, in_range(key, *number, min, max));
  return std::optional(checked);
}

Result<GgufMetadata> read_gguf_header(std::span<const std::byte> bytes, uint32_t file, TensorMap& tensors) {
  ByteCursor cursor(bytes.first(std::min<uint64_t>(bytes.size(), header_bytes_max)));
  LAPIDARY_TRY(const std::string_view magic, cursor.take_text(4, "the magic \"GGUF\""));
  if (magic != "GGUF") return malformed("byte 0", "the magic \"GGUF\"", "something else");
  LAPIDARY_TRY(const uint32_t version, cursor.read<uint32_t>("the version"));
  LAPIDARY_CHECK(check_version(version));
  LAPIDARY_TRY(const uint64_t tensor_count, cursor.read<uint64_t>("the number of tensors"));
  LAPIDARY_TRY(const uint64_t key_count, cursor.read<uint64_t>("the number of keys"));
  LAPIDARY_CHECK(check_count(cursor, "keys", key_count, key_bytes_min, keys_max));
  LAPIDARY_CHECK(check_count(cursor, "tensors", tensor_count, tensor_bytes_min, tensors_max));

  LAPIDARY_TRY(GgufMetadata metadata, read_metadata(cursor, key_count));
  LAPIDARY_TRY(const auto alignment_key, integer_in(metadata, "general.alignment", 8, 1 << 20));
  const auto alignment = static_cast<uint64_t>(alignment_key.value_or(default_alignment));
  if (alignment % 8 != 0) return malformed("key general.alignment", "a multiple of 8", std::to_string(alignment));

  std::vector<Directory> directory;
  directory.reserve(tensor_count);
  for (uint64_t i = 0; i < tensor_count; ++i) {
    LAPIDARY_TRY(directory.emplace_back(), read_tensor(cursor));
  }
  const auto data = checked_align_up(cursor.offset(), alignment);
  if (!data || (*data > bytes.size() && tensor_count > 0))
    return malformed(at(cursor), "tensor data", "the end of the file");
  for (const Directory& entry : directory) {
    const std::string where = fmt::format("tensor {}", entry.name.substr(0, 80));
    LAPIDARY_TRY(StoredTensor stored, place(entry, bytes, *data, alignment, file, where));
    if (!tensors.tensors.emplace(std::string(entry.name), std::move(stored)).second)
      return malformed(where, "each tensor once", "it a second time");
  }
  return metadata;
}

Result<Gguf> Gguf::parse(std::span<const std::byte> bytes, const std::string& name) {
  Gguf gguf;
  auto metadata = read_gguf_header(bytes, 0, gguf.tensors_);
  if (!metadata) return std::unexpected(std::move(metadata).error().in(name));
  gguf.metadata_ = std::move(*metadata);
  return gguf;
}

const GgufValue* Gguf::find(std::string_view key) const { return find_in(metadata_, key); }

Result<std::optional<int64_t>> Gguf::integer(std::string_view key, int64_t min, int64_t max) const {
  return integer_in(metadata_, key, min, max);
}

Result<std::optional<double>> Gguf::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* real = std::get_if<double>(value)) return std::optional(*real);
  if (const auto integer = whole(*value)) return std::optional(static_cast<double>(*integer));
  return malformed(key_place(key), "a number", name_of(*value));
}

template <typename T, typename Out>
static Result<std::optional<Out>> plain(const GgufValue* value, std::string_view key, const char* expected) {
  if (value == nullptr) return std::optional<Out>();
  if (const auto* found = std::get_if<T>(value)) return std::optional<Out>(Out(*found));
  return malformed(key_place(key), expected, name_of(*value));
}

Result<std::optional<bool>> Gguf::boolean(std::string_view key) const {
  return plain<bool, bool>(find(key), key, "a truth value");
}
Result<std::optional<std::string>> Gguf::string(std::string_view key) const {
  return plain<std::string_view, std::string>(find(key), key, "a text");
}

Result<std::optional<std::vector<int64_t>>> Gguf::integers(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<std::vector<int64_t>>();
  std::vector<int64_t> out;
  if (const auto one = whole(*value)) {
    out.push_back(*one);
  } else {
    const auto* held = std::get_if<std::shared_ptr<const GgufArray>>(value);
    if (held == nullptr) return malformed(key_place(key), "whole numbers", name_of(*value));
    if (const auto* s = std::get_if<std::vector<int64_t>>(&(*held)->values))
      out = *s;
    else if (const auto* u = std::get_if<std::vector<uint64_t>>(&(*held)->values)) {
      for (const uint64_t v : *u)
        out.push_back(static_cast<int64_t>(std::min<uint64_t>(v, std::numeric_limits<int64_t>::max())));
    } else if (const auto* b = std::get_if<std::vector<bool>>(&(*held)->values))
      out.assign(b->begin(), b->end());
    else
      return malformed(key_place(key), "whole numbers", "an array of something else");
  }
  for (const int64_t v : out) LAPIDARY_CHECK(in_range(key, v, min, max));
  return std::optional(std::move(out));
}

template <typename Stored>
static Result<std::optional<std::vector<Stored>>> elements(const GgufValue* value, std::string_view key,
                                                           const char* expected) {
  if (value == nullptr) return std::optional<std::vector<Stored>>();
  const auto* held = std::get_if<std::shared_ptr<const GgufArray>>(value);
  const auto* values = held == nullptr ? nullptr : std::get_if<std::vector<Stored>>(&(*held)->values);
  if (values == nullptr)
    return malformed(key_place(key), expected, held == nullptr ? name_of(*value) : "an array of something else");
  return std::optional(*values);
}
Result<std::optional<std::vector<double>>> Gguf::numbers(std::string_view key) const {
  return elements<double>(find(key), key, "an array of numbers");
}
Result<std::optional<std::vector<std::string_view>>> Gguf::strings(std::string_view key) const {
  return elements<std::string_view>(find(key), key, "an array of texts");
}

Result<int64_t> Gguf::required_integer(std::string_view key, int64_t min, int64_t max) const {
  LAPIDARY_TRY(const auto value, integer(key, min, max));
  if (!value) return malformed(key_place(key), "a whole number", "no such key");
  return *value;
}
Result<double> Gguf::required_number(std::string_view key) const {
  LAPIDARY_TRY(const auto value, number(key));
  if (!value) return malformed(key_place(key), "a number", "no such key");
  return *value;
}

}  // namespace lapidary
