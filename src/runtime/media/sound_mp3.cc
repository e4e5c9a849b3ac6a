// MP3 goes to mpg123 itself and not through libsndfile, which leaves it free to print its warnings.
#include <fmt/format.h>
#include <mpg123.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "media/sound_readers.h"

namespace lapidary {
namespace {

// A file in memory, as mpg123 asks for one.
struct Source {
  std::span<const std::byte> file;
  off_t offset = 0;
};

mpg123_ssize_t source_read(void* user, void* out, size_t size) {
  auto& source = *static_cast<Source*>(user);
  const size_t count = std::min(size, source.file.size() - static_cast<size_t>(source.offset));
  std::memcpy(out, source.file.data() + source.offset, count);
  source.offset += static_cast<off_t>(count);
  return static_cast<mpg123_ssize_t>(count);
}

off_t source_seek(void* user, off_t offset, int whence) {
  auto& source = *static_cast<Source*>(user);
  const auto size = static_cast<off_t>(source.file.size());
  const off_t base = whence == SEEK_CUR ? source.offset : whence == SEEK_END ? size : 0;
  off_t place = 0;
  if (__builtin_add_overflow(base, offset, &place) || place < 0) return -1;
  source.offset = std::min(place, size);
  return source.offset;
}

class Mp3Reader : public SoundReader {
 public:
  explicit Mp3Reader(std::span<const std::byte> file) : source_{file} {}
  ~Mp3Reader() override { mpg123_delete(handle_); }
  Mp3Reader(const Mp3Reader&) = delete;
  Mp3Reader& operator=(const Mp3Reader&) = delete;

  Result<void> open() {
    int code = mpg123_init();  // once a process; further calls do nothing
    if (code == MPG123_OK) handle_ = mpg123_new(nullptr, &code);
    if (handle_ == nullptr) return fail(ErrorKind::out_of_memory, "", mpg123_plain_strerror(code));
    const long flags = MPG123_QUIET | MPG123_FORCE_FLOAT | MPG123_GAPLESS | MPG123_SKIP_ID3V2 | MPG123_NO_FRANKENSTEIN;
    mpg123_param(handle_, MPG123_ADD_FLAGS, flags, 0);
    mpg123_replace_reader_handle(handle_, source_read, source_seek, nullptr);
    long rate_hz = 0;
    int channels = 0, encoding = 0;
    // The scan walks the frames' headers: the length is then what is there, not what a tag says.
    if (mpg123_open_handle(handle_, &source_) != MPG123_OK ||
        mpg123_getformat(handle_, &rate_hz, &channels, &encoding) != MPG123_OK || mpg123_scan(handle_) != MPG123_OK)
      return malformed("header", "an MP3 sound that can be read", fmt::format("\"{}\"", mpg123_strerror(handle_)));
    if (encoding != MPG123_ENC_FLOAT_32)
      return fail(ErrorKind::unsupported, "", "this build of mpg123 does not give floats");
    claim_ = {mpg123_length(handle_), static_cast<int32_t>(rate_hz), channels};
    if (*claim_.frames < 0) claim_.frames.reset();
    return {};
  }

  SoundClaim claim() const override { return claim_; }

  size_t read(std::span<float> out) override {
    const size_t frame_bytes = sizeof(float) * static_cast<size_t>(claim_.channels);
    size_t bytes = 0;
    int code = MPG123_NEW_FORMAT;  // told once, before the first samples
    while (code == MPG123_NEW_FORMAT && bytes == 0) {
      code = mpg123_read(handle_, out.data(), out.size() / static_cast<size_t>(claim_.channels) * frame_bytes, &bytes);
      if (code == MPG123_NEW_FORMAT && !has_claimed_format()) return 0;
    }
    return bytes / frame_bytes;
  }

 private:
  bool has_claimed_format() {
    long rate_hz = 0;
    int channels = 0, encoding = 0;
    return mpg123_getformat(handle_, &rate_hz, &channels, &encoding) == MPG123_OK && rate_hz == claim_.sample_rate_hz &&
           channels == claim_.channels && encoding == MPG123_ENC_FLOAT_32;
  }

  Source source_;
  mpg123_handle* handle_ = nullptr;
  SoundClaim claim_;
};

}  // namespace

Result<std::unique_ptr<SoundReader>> open_mp3(std::span<const std::byte> file) {
  auto reader = std::make_unique<Mp3Reader>(file);
  LAPIDARY_CHECK(reader->open());
  return reader;
}

}  // namespace lapidary
