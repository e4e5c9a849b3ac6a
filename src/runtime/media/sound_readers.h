// The libraries that read sounds, one file each: sound_sndfile.cc and sound_mp3.cc. Private to this folder;
// decode_sound() is the door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "media/signature.h"

namespace lapidary {

// What a header claims. It may lie.
struct SoundClaim {
  std::optional<int64_t> frames;  // one sample of each channel; none where the format does not tell
  int32_t sample_rate_hz = 0;
  int32_t channels = 0;
};

// An opened file; it views the bytes that it was opened from.
class SoundReader {
 public:
  virtual ~SoundReader() = default;
  virtual SoundClaim claim() const = 0;
  // Decodes up to out.size() / channels frames, interleaved; returns how many. 0: the end, or the data is damaged from
  // here.
  virtual size_t read(std::span<float> out) = 0;
};

// Errors have no file name yet.
Result<std::unique_ptr<SoundReader>> open_with_sndfile(std::span<const std::byte> file, MediaFormat format);
Result<std::unique_ptr<SoundReader>> open_mp3(std::span<const std::byte> file);

}  // namespace lapidary
