#include "formats/gguf_writer.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/byte_cursor.h"

namespace lapidary {
namespace {

enum GgufType : uint32_t {
  gguf_uint8,
  gguf_int8,
  gguf_uint16,
  gguf_int16,
  gguf_uint32,
  gguf_int32,
  gguf_float32,
  gguf_bool,
  gguf_string,
  gguf_array,
  gguf_uint64,
  gguf_int64,
  gguf_float64,
};
constexpr std::array<uint64_t, 13> type_bytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // 0: told by the value
constexpr uint32_t version = 3;

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<uint64_t>(text.size()));
  out += text;
}

uint64_t aligned(uint64_t offset) { return (offset + gguf_alignment - 1) / gguf_alignment * gguf_alignment; }

// Passes over `count` values of a type.
Result<void> skip_values(ByteCursor& cursor, uint32_t type, uint64_t count, bool in_array) {
  if (type >= type_bytes.size() || (in_array && type == gguf_array))
    return malformed("byte " + std::to_string(cursor.offset()), "the type of a value", std::to_string(type));
  if (type_bytes[type] > 0) {
    if (count > cursor.remaining()) return malformed("array", "a length that fits the file", std::to_string(count));
    LAPIDARY_CHECK(cursor.take(count * type_bytes[type], "values"));
    return {};
  }
  if (type == gguf_array) {
    LAPIDARY_TRY(const auto element, cursor.read<uint32_t>("type of an array"));
    LAPIDARY_TRY(const auto length, cursor.read<uint64_t>("length of an array"));
    return skip_values(cursor, element, length, true);
  }
  for (uint64_t i = 0; i < count; ++i) {
    LAPIDARY_TRY(const auto length, cursor.read<uint64_t>("length of a string"));
    LAPIDARY_CHECK(cursor.take(length, "string"));
  }
  return {};
}

}  // namespace

Result<std::vector<GgufRawKey>> gguf_raw_keys(std::span<const std::byte> file) {
  ByteCursor cursor(file);
  LAPIDARY_TRY(const auto magic, cursor.take_text(4, "magic"));
  if (magic != "GGUF") return malformed("byte 0", "GGUF", "another magic");
  LAPIDARY_CHECK(cursor.read<uint32_t>("version"));
  LAPIDARY_CHECK(cursor.read<uint64_t>("number of tensors"));
  LAPIDARY_TRY(const auto count, cursor.read<uint64_t>("number of keys"));
  std::vector<GgufRawKey> keys;
  for (uint64_t i = 0; i < count; ++i) {
    LAPIDARY_TRY(const auto length, cursor.read<uint64_t>("length of a key"));
    GgufRawKey key;
    LAPIDARY_TRY(key.key, cursor.take_text(length, "key"));
    LAPIDARY_TRY(key.type, cursor.read<uint32_t>("type of a value"));
    const uint64_t begin = cursor.offset();
    LAPIDARY_CHECK(skip_values(cursor, key.type, 1, false));
    key.value = file.subspan(begin, cursor.offset() - begin);
    keys.push_back(key);
  }
  return keys;
}

void GgufWriter::start(std::string_view key, uint32_t type) {
  append_text(keys_, key);
  append(keys_, type);
  ++key_count_;
}

void GgufWriter::start_array(std::string_view key, uint32_t type, uint64_t count) {
  start(key, gguf_array);
  append(keys_, type);
  append(keys_, count);
}

void GgufWriter::number(std::string_view key, uint32_t value) {
  start(key, gguf_uint32);
  append(keys_, value);
}

void GgufWriter::integer(std::string_view key, int32_t value) {
  start(key, gguf_int32);
  append(keys_, value);
}

void GgufWriter::real(std::string_view key, float value) {
  start(key, gguf_float32);
  append(keys_, value);
}

void GgufWriter::truth(std::string_view key, bool value) {
  start(key, gguf_bool);
  append(keys_, static_cast<uint8_t>(value));
}

void GgufWriter::text(std::string_view key, std::string_view value) {
  start(key, gguf_string);
  append_text(keys_, value);
}

void GgufWriter::integers(std::string_view key, std::span<const int32_t> values) {
  start_array(key, gguf_int32, values.size());
  for (const int32_t value : values) append(keys_, value);
}

void GgufWriter::reals(std::string_view key, std::span<const float> values) {
  start_array(key, gguf_float32, values.size());
  for (const float value : values) append(keys_, value);
}

void GgufWriter::truths(std::string_view key, const std::vector<bool>& values) {
  start_array(key, gguf_bool, values.size());
  for (const bool value : values) append(keys_, static_cast<uint8_t>(value));
}

void GgufWriter::texts(std::string_view key, std::span<const std::string> values) {
  start_array(key, gguf_string, values.size());
  for (const std::string& value : values) append_text(keys_, value);
}

void GgufWriter::copy(const GgufRawKey& key) {
  start(key.key, key.type);
  keys_.append(reinterpret_cast<const char*>(key.value.data()), key.value.size());
}

void GgufWriter::tensor(std::string_view name, std::span<const int64_t> shape, DType dtype) {
  const DTypeInfo& info = dtype_info(dtype);
  append_text(directory_, name);
  append(directory_, static_cast<uint32_t>(shape.size()));
  uint64_t values = 1;
  for (size_t i = shape.size(); i-- > 0;) {  // fastest first
    append(directory_, static_cast<uint64_t>(shape[i]));
    values *= static_cast<uint64_t>(shape[i]);
  }
  append(directory_, info.ggml_type);
  append(directory_, data_bytes_);
  places_.push_back(data_bytes_);
  const auto block_values = static_cast<uint64_t>(info.block_values);
  data_bytes_ = aligned(data_bytes_ + values / block_values * static_cast<uint64_t>(info.block_bytes));
}

GgufWriter::Layout GgufWriter::layout() const {
  Layout layout;
  std::string& header = layout.header;
  header = "GGUF";
  append(header, version);
  append(header, static_cast<uint64_t>(places_.size()));
  append(header, key_count_);
  header += keys_;
  header += directory_;
  header.resize(aligned(header.size()), '\0');
  for (const uint64_t place : places_) layout.offsets.push_back(header.size() + place);
  layout.file_bytes = header.size() + data_bytes_;
  return layout;
}

}  // namespace lapidary
