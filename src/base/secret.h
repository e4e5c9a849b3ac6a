// What is kept from others: random keys, files that only their owner may read, comparisons that tell nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary {

// `bytes` bytes from the system's generator, as twice as many hexadecimal digits.
std::string random_hex(size_t bytes);

// Takes as long for a key that differs in its first byte as for one that differs in its last. Lengths are no secret.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// Writes the whole file, mode 0600, in one step: readers see the old content or the new. Makes its folder (0700).
Result<void> write_private_file(const std::string& path, std::string_view content);

// As write_private_file, but ErrorKind::refused if the file is already there: two first starts cannot overwrite each
// other's.
Result<void> create_private_file(const std::string& path, std::string_view content);

// The whole of a file; refuses one that others may read or write, that is not ours, or that is no regular file.
Result<std::string> read_private_file(const std::string& path, uint64_t bytes_max);

}  // namespace lapidary
