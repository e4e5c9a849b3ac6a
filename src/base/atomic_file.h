// Writing files that are either whole or not there, whenever the process is killed.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace lapidary {

// Written under a temporary name in the same folder, readable by the owner alone, and renamed by commit(). Destroyed
// without it, nothing is left; killed, the temporary file is ("NAME.PID.tmp": remove_temporary_files).
class AtomicFile {
 public:
  static Result<std::unique_ptr<AtomicFile>> create(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  Result<void> write(std::span<const std::byte> bytes);
  Result<void> commit();

 private:
  AtomicFile(std::string path, std::string temporary, int descriptor);
  std::string path_, temporary_;
  int descriptor_;
};

// What killed processes have left in this folder. Not while others write there.
void remove_temporary_files(const std::string& folder);

// A folder for one's own files, mode 0700 if it has to be made.
Result<void> make_private_folder(const std::string& path);

}  // namespace lapidary
