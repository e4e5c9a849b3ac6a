// A file that appears complete or not at all: it is written without a name (or, where the file system knows no such
// files, under another one) in the same folder, and takes its own name, in place of what had it, when all is on disk.
// Whatever ends the program before, a file without a name is gone with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace lapidary {

enum class Readers : uint8_t { anyone, owner };  // anyone: as the process's umask has it

class OutputFile {
 public:
  // Checks that the disk has room for `bytes` and makes the file that has no name yet. Errors: io, or limit if there is
  // no room.
  static Result<OutputFile> create(const std::string& path, uint64_t bytes, Readers readers = Readers::anyone);
  // Removes what was written, unless commit() succeeded.
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  Result<void> write_at(uint64_t offset, std::span<const std::byte> bytes);
  Result<void> append(std::span<const std::byte> bytes);  // after what append() has written
  // To disk, and to its own name. Nothing may be written afterwards.
  Result<void> commit();

 private:
  OutputFile(std::string path, std::string temporary, bool named, int descriptor);
  std::string path_, temporary_;
  bool named_ = false;  // `temporary_` exists
  int descriptor_ = -1;
  uint64_t appended_ = 0;  // bytes
};

// What killed programs have left in this folder, where files had to have a name. Not while others write there.
void remove_partial_files(const std::string& folder);

// A folder for one's own files, mode 0700 if it has to be made.
Result<void> make_private_folder(const std::string& path);

}  // namespace lapidary
