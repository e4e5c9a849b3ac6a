#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <cstring>

#include "media/sound_readers.h"

namespace lapidary {
namespace {

// A file in memory, as libsndfile asks for one.
struct Source {
  std::span<const std::byte> file;
  sf_count_t offset = 0;
};

sf_count_t source_size(void* user) { return static_cast<sf_count_t>(static_cast<Source*>(user)->file.size()); }
sf_count_t source_tell(void* user) { return static_cast<Source*>(user)->offset; }

sf_count_t source_seek(sf_count_t offset, int whence, void* user) {
  auto& source = *static_cast<Source*>(user);
  const sf_count_t base = whence == SEEK_CUR ? source.offset : whence == SEEK_END ? source_size(user) : 0;
  sf_count_t place = 0;
  if (__builtin_add_overflow(base, offset, &place)) return -1;
  source.offset = std::clamp<sf_count_t>(place, 0, source_size(user));
  return source.offset;
}

sf_count_t source_read(void* out, sf_count_t size, void* user) {
  auto& source = *static_cast<Source*>(user);
  const sf_count_t count = std::clamp<sf_count_t>(size, 0, source_size(user) - source.offset);
  std::memcpy(out, source.file.data() + source.offset, static_cast<size_t>(count));
  source.offset += count;
  return count;
}

sf_count_t source_write(const void*, sf_count_t, void*) { return 0; }

class SndfileReader : public SoundReader {
 public:
  explicit SndfileReader(std::span<const std::byte> file) : source_{file} {
    SF_VIRTUAL_IO io{source_size, source_seek, source_read, source_write, source_tell};
    sound_ = sf_open_virtual(&io, SFM_READ, &info_, &source_);
  }
  ~SndfileReader() override { sf_close(sound_); }
  SndfileReader(const SndfileReader&) = delete;
  SndfileReader& operator=(const SndfileReader&) = delete;

  bool is_open() const { return sound_ != nullptr; }

  SoundClaim claim() const override {
    SoundClaim claim{info_.frames, info_.samplerate, info_.channels};
    if (info_.frames == SF_COUNT_MAX) claim.frames.reset();
    return claim;
  }

  size_t read(std::span<float> out) override {
    const sf_count_t frames = sf_readf_float(sound_, out.data(), static_cast<sf_count_t>(out.size()) / info_.channels);
    return static_cast<size_t>(std::max<sf_count_t>(frames, 0));
  }

 private:
  Source source_;
  SF_INFO info_{};
  SNDFILE* sound_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<SoundReader>> open_with_sndfile(std::span<const std::byte> file, MediaFormat format) {
  auto reader = std::make_unique<SndfileReader>(file);
  if (reader->is_open()) return reader;
  // libsndfile's own words do not tell damage from an encoding that it does not know.
  return malformed(
      "header", fmt::format("{} that can be read", media_format_info(format).name),
      fmt::format("\"{}\"; if it plays elsewhere, convert it with `ffmpeg -i INPUT -ac 1 -ar 16000 sound.wav`",
                  sf_strerror(nullptr)));
}

}  // namespace lapidary
