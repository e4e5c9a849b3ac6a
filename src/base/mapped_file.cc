#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lapidary {
namespace {

ErrorKind kind_of(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR ? ErrorKind::not_found : ErrorKind::io;
}

struct FileDescriptor {
  int value = -1;
  ~FileDescriptor() {
    if (value >= 0) ::close(value);
  }
};

// Opens a regular file for reading and returns its size. Non-blocking, so that a pipe cannot hang us.
Result<uint64_t> open_regular(const std::string& path, FileDescriptor& file) {
  file.value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.value < 0) return fail(kind_of(errno), path, std::string("cannot open: ") + std::strerror(errno));
  struct stat status{};
  if (::fstat(file.value, &status) != 0) return fail(ErrorKind::io, path, std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    return malformed(path, "a regular file", S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe");
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(std::string path, const std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  FileDescriptor file;
  LAPIDARY_TRY(const uint64_t size, open_regular(path, file));
  const std::byte* data = nullptr;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
    if (address == MAP_FAILED) return fail(ErrorKind::io, path, std::string("cannot map: ") + std::strerror(errno));
    data = static_cast<const std::byte*>(address);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

void MappedFile::will_need(uint64_t offset, uint64_t size) const {
  if (offset >= size_) return;
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  const uint64_t end = size < size_ - offset ? offset + size : size_;
  ::madvise(const_cast<std::byte*>(data_ + begin), end - begin, MADV_WILLNEED);  // advice: failure changes nothing
}

void MappedFile::forget(uint64_t offset, uint64_t size) const {
  if (offset >= size_) return;
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  const uint64_t end = size < size_ - offset ? offset + size : size_;
  ::madvise(const_cast<std::byte*>(data_ + begin), end - begin, MADV_DONTNEED);  // a read-only mapping: nothing is lost
}

Result<std::string> read_file(const std::string& path, uint64_t bytes_max) {
  FileDescriptor file;
  LAPIDARY_TRY(const uint64_t size, open_regular(path, file));
  if (size > bytes_max) return malformed(path, "at most " + std::to_string(bytes_max) + " bytes", std::to_string(size));
  std::string text(size, '\0');
  uint64_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.value, text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(ErrorKind::io, path, std::strerror(errno));
    if (got == 0) break;  // the file shrank while it was read
    done += static_cast<uint64_t>(got);
  }
  text.resize(done);
  return text;
}

}  // namespace lapidary
