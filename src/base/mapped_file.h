// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace lapidary {

// Owns the mapping; bytes() stays valid and unchanged while the object lives. Safe to read from any thread.
// Follows links (a Hugging Face cache is a folder of them); refuses what is not a regular file.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Asks the system to read [offset, offset + size) ahead, in the background.
  void will_need(uint64_t offset, uint64_t size) const;
  // Lets go of the memory that holds [offset, offset + size), which is read again when it is touched: for files larger
  // than the memory that a program may take.
  void forget(uint64_t offset, uint64_t size) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size);
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole of a (small) file as text. Refuses files above `bytes_max`.
Result<std::string> read_file(const std::string& path, uint64_t bytes_max);

}  // namespace lapidary
