// Sound: from a file's bytes to the samples that the model takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace lapidary {

inline constexpr int32_t model_sample_rate_hz = 16'000;

// Mono, 16 kHz, in [-1, 1].
struct Sound {
  std::vector<float> samples;
  double seconds() const { return static_cast<double>(samples.size()) / model_sample_rate_hz; }
};

struct SoundLimits {
  double seconds_max = 3600;  // refused from the header, before anything is decoded
  int64_t file_bytes_max = 1LL << 30;
};

// What libsndfile reads: WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF …, any rate and number of channels (mixed to one).
// 16-bit samples become int16/32768 exactly; a 16 kHz file is not resampled. A length that the header claims but the
// data does not have is cut to the data. M4A/AAC and the like give ErrorKind::unsupported and say how to convert.
Result<Sound> decode_sound(std::span<const std::byte> file, const std::string& name, const SoundLimits& limits = {});

// gemma4.md 4: consecutive frames of `frame_samples`, the last one padded with zeros. [frames, frame_samples]
std::vector<float> make_frames(const Sound& sound, int32_t frame_samples);

}  // namespace lapidary
