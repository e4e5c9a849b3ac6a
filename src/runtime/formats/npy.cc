#include "formats/npy.h"

#include <fmt/format.h>

#include <fstream>

namespace lapidary {

Result<void> write_npy(const std::string& path, std::span<const float> values, std::span<const int64_t> shape) {
  std::string dimensions;
  for (const int64_t size : shape) dimensions += fmt::format("{}, ", size);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", dimensions);
  constexpr size_t prefix = 10, alignment = 64;
  header.append(alignment - (prefix + header.size() + 1) % alignment, ' ');
  header.push_back('\n');
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  const auto length = static_cast<uint16_t>(header.size());
  file.write(reinterpret_cast<const char*>(&length), 2);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  file.flush();
  if (!file) return fail(ErrorKind::io, path, "cannot write");
  return {};
}

}  // namespace lapidary
