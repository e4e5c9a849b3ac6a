#include "base/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr const char* partial_mark = ".partial-";  // and the process's number, after the file's name

std::unexpected<Error> io_error(const std::string& path, const char* what) {
  return fail(ErrorKind::io, path, std::string(what) + ": " + std::strerror(errno));
}

std::string gigabytes(uint64_t bytes) {
  std::string text = std::to_string((bytes + 9'999'999) / 10'000'000);  // hundredths, rounded up
  while (text.size() < 3) text.insert(text.begin(), '0');
  return text.insert(text.size() - 2, ".") + " GB";
}

}  // namespace

OutputFile::OutputFile(std::string path, std::string temporary, bool named, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), named_(named), descriptor_(descriptor) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      named_(other.named_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      appended_(other.appended_) {}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (named_) ::unlink(temporary_.c_str());
}

Result<OutputFile> OutputFile::create(const std::string& path, uint64_t bytes, Readers readers) {
  const fs::path target(path);
  const fs::path folder = target.parent_path().empty() ? "." : target.parent_path();
  std::error_code error;
  if (fs::is_directory(target, error)) return malformed(path, "the name of a file to write", "a folder");
  const fs::space_info space = fs::space(folder, error);
  if (error) return fail(ErrorKind::io, folder.string(), "cannot be written to: " + error.message());
  if (space.available < bytes)
    return fail(ErrorKind::limit, path,
                gigabytes(bytes) + " are needed, but the disk has " + gigabytes(space.available) + " left");
  std::string temporary = path + partial_mark + std::to_string(::getpid());
  const mode_t mode = readers == Readers::owner ? 0600 : 0666;
#if defined(O_TMPFILE)
  if (const int nameless = ::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, mode); nameless >= 0)
    return OutputFile(path, std::move(temporary), false, nameless);
#endif
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (descriptor < 0) return io_error(temporary, "cannot make");
  return OutputFile(path, std::move(temporary), true, descriptor);
}

Result<void> OutputFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return io_error(path_, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

Result<void> OutputFile::append(std::span<const std::byte> bytes) {
  LAPIDARY_CHECK(write_at(appended_, bytes));
  appended_ += bytes.size();
  return {};
}

Result<void> OutputFile::commit() {
  if (::fsync(descriptor_) != 0) return io_error(path_, "cannot write");
  if (!named_) {  // a link cannot take a name that is in use: by way of another one
    const std::string self = "/proc/self/fd/" + std::to_string(descriptor_);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) != 0)
      return io_error(temporary_, "cannot make");
    named_ = true;
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error(path_, "cannot give the file its name");
  ::close(std::exchange(descriptor_, -1));
  return {};
}

void remove_partial_files(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().find(partial_mark) != std::string::npos) fs::remove(entry.path(), error);
}

Result<void> make_private_folder(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return {};
  if (const fs::path parent = fs::path(path).parent_path(); !parent.empty()) fs::create_directories(parent, error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return io_error(path, "cannot make");
  return {};
}

}  // namespace lapidary
