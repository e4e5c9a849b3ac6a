#include "base/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <system_error>

namespace lapidary {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

std::string reason() { return std::generic_category().message(errno); }

Result<void> write_all(int file, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(file, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail(ErrorKind::io, path, fmt::format("cannot be written: {}", reason()));
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (::fsync(file) != 0) return fail(ErrorKind::io, path, fmt::format("cannot be written: {}", reason()));
  return {};
}

// A new file beside `path` with the content, to be moved or linked into place.
Result<std::string> write_beside(const std::string& path, std::string_view content) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::exists(folder)) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return fail(ErrorKind::io, folder.string(), fmt::format("cannot be made: {}", error.message()));
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  std::string temporary = fmt::format("{}.{}", path, random_hex(6));
  const Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.number() < 0) return fail(ErrorKind::io, path, fmt::format("cannot be written: {}", reason()));
  if (auto written = write_all(file.number(), content, path); !written) {
    ::unlink(temporary.c_str());
    return std::unexpected(written.error());
  }
  return temporary;
}

}  // namespace

std::string random_hex(size_t bytes) {
  std::string random(bytes, '\0');
  size_t filled = 0;
  while (filled < bytes) {
    const ssize_t got = ::getrandom(random.data() + filled, bytes - filled, 0);
    if (got > 0) {
      filled += static_cast<size_t>(got);
    } else if (errno != EINTR) {  // a kernel without the call: the library's source reads /dev/urandom
      random[filled++] = static_cast<char>(std::random_device{}());
    }
  }
  std::string hex;
  hex.reserve(2 * bytes);
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char byte : random) {
    hex += digits[static_cast<uint8_t>(byte) >> 4];
    hex += digits[static_cast<uint8_t>(byte) & 15];
  }
  return hex;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<uint8_t>(a[i]) ^ static_cast<unsigned>(static_cast<uint8_t>(b[i]));
  const volatile unsigned sum = difference;  // so that no compiler leaves the loop early
  return sum == 0;
}

Result<void> write_private_file(const std::string& path, std::string_view content) {
  LAPIDARY_TRY(const std::string temporary, write_beside(path, content));
  if (std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  auto error = fail(ErrorKind::io, path, fmt::format("cannot be written: {}", reason()));
  ::unlink(temporary.c_str());
  return error;
}

Result<void> create_private_file(const std::string& path, std::string_view content) {
  LAPIDARY_TRY(const std::string temporary, write_beside(path, content));
  const bool linked = ::link(temporary.c_str(), path.c_str()) == 0;
  const int why = errno;
  ::unlink(temporary.c_str());
  if (linked) return {};
  return fail(why == EEXIST ? ErrorKind::refused : ErrorKind::io, path,
              why == EEXIST ? "is already there" : std::generic_category().message(why));
}

Result<std::string> read_private_file(const std::string& path, uint64_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) return fail(errno == ENOENT ? ErrorKind::not_found : ErrorKind::io, path, reason());
  struct stat about{};
  if (::fstat(file.number(), &about) != 0) return fail(ErrorKind::io, path, reason());
  if (!S_ISREG(about.st_mode)) return fail(ErrorKind::refused, path, "expected a regular file");
  if ((about.st_mode & 077) != 0 || about.st_uid != ::geteuid())
    return fail(ErrorKind::refused, path,
                fmt::format("expected a file that only you may read (mode 0600), found mode {:04o}{}",
                            about.st_mode & 07777, about.st_uid != ::geteuid() ? " of another user" : ""));
  std::string content;
  std::array<char, 4096> block{};
  for (;;) {
    const ssize_t got = ::read(file.number(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(ErrorKind::io, path, reason());
    if (got == 0) return content;
    content.append(block.data(), static_cast<size_t>(got));
    if (content.size() > bytes_max)
      return fail(ErrorKind::refused, path, fmt::format("expected at most {} bytes, found more", bytes_max));
  }
}

}  // namespace lapidary
