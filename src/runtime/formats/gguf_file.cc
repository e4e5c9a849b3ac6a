// GGUF on disk: one file, or the parts of a split one.
#include <fmt/format.h>

#include <filesystem>

#include "formats/gguf_header.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr int64_t parts_max = 999;

// "model-00002-of-00005.gguf" -> stem "model", count 5. Nothing if the name has no such ending.
struct SplitName {
  std::string stem;
  uint64_t count;
};
std::optional<SplitName> split_name(const std::string& name) {
  constexpr std::string_view ending = "-00000-of-00000.gguf";
  if (name.size() <= ending.size()) return std::nullopt;
  const std::string tail = name.substr(name.size() - ending.size());
  uint64_t count = 0;
  for (size_t i = 0; i < ending.size(); ++i) {
    const bool digit = ending[i] == '0';
    if (digit ? tail[i] < '0' || tail[i] > '9' : tail[i] != ending[i]) return std::nullopt;
    if (digit && i > 8) count = count * 10 + static_cast<uint64_t>(tail[i] - '0');
  }
  return SplitName{name.substr(0, name.size() - ending.size()), count};
}

// One part of a split file: that it is the part its name says, and of the same model.
Result<GgufMetadata> add_part(const std::string& path, int64_t part, int64_t count, TensorMap& tensors) {
  auto file = MappedFile::open(path);
  if (!file && file.error().kind == ErrorKind::not_found)
    return fail(ErrorKind::not_found, path, fmt::format("part {} of {} of this model is missing", part, count));
  if (!file) return std::unexpected(std::move(file).error());
  auto metadata = read_gguf_header((*file)->bytes(), static_cast<uint32_t>(part - 1), tensors);
  if (!metadata) return std::unexpected(std::move(metadata).error().in(path));
  const auto own_count = integer_in(*metadata, "split.count", 0, parts_max);
  const auto own_number = integer_in(*metadata, "split.no", 0, parts_max);
  for (const auto* number : {&own_count, &own_number})
    if (!*number) return std::unexpected(Error(number->error()).in(path));
  if (*own_count != count || *own_number != part - 1)
    return malformed(path, fmt::format("part {} of {}", part, count),
                     fmt::format("part {} of {}", own_number->value_or(-1) + 1, own_count->value_or(1)));
  tensors.files.push_back(std::move(*file));
  return metadata;
}

}  // namespace

Result<Gguf> Gguf::open(const std::string& path) {
  Gguf gguf;
  LAPIDARY_TRY(auto file, MappedFile::open(path));
  auto metadata = read_gguf_header(file->bytes(), 0, gguf.tensors_);
  if (!metadata) return std::unexpected(std::move(metadata).error().in(path));
  gguf.metadata_ = std::move(*metadata);
  gguf.tensors_.files.push_back(std::move(file));
  auto count = gguf.integer("split.count", 0, parts_max);
  if (!count) return std::unexpected(std::move(count).error().in(path));
  if (count->value_or(0) <= 1) return gguf;

  const int64_t parts = **count;
  const fs::path own_path(path);
  const auto split = split_name(own_path.filename().string());
  if (!split || static_cast<int64_t>(split->count) != parts)
    return malformed(path,
                     fmt::format("a name ending in -0000N-of-{:05}.gguf, as this is one of {} parts", parts, parts),
                     own_path.filename().string());
  // The first part has the keys that matter; the others repeat some.
  Gguf whole;
  for (int64_t part = 1; part <= parts; ++part) {
    const fs::path part_path = own_path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", split->stem, part, parts);
    LAPIDARY_TRY(GgufMetadata own, add_part(part_path.string(), part, parts, whole.tensors_));
    if (part == 1) whole.metadata_ = std::move(own);
  }
  LAPIDARY_TRY(const auto tensors, whole.integer("split.tensors.count", 0, int64_t{1} << 32));
  if (tensors && static_cast<size_t>(*tensors) != whole.tensors_.tensors.size())
    return malformed(path, fmt::format("{} tensors in all parts", *tensors),
                     std::to_string(whole.tensors_.tensors.size()));
  return whole;
}

}  // namespace lapidary
