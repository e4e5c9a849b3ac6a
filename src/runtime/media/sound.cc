#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "media/audio.h"
#include "media/resample.h"
#include "media/signature.h"
#include "media/sound_readers.h"

namespace lapidary {
namespace {

constexpr int32_t sample_rate_hz_min = 1'000, sample_rate_hz_max = 1'000'000;

std::unexpected<Error> not_readable(MediaFormat format) {
  const auto [name, media_class] = media_format_info(format);
  if (media_class == MediaClass::unknown) return malformed("byte 0", "a WAV, FLAC, Ogg, MP3, AIFF or AU sound", name);
  if (media_class == MediaClass::picture || media_class == MediaClass::document)
    return fail(ErrorKind::unsupported, "", fmt::format("this is {}, not a sound", name));
  return fail(ErrorKind::unsupported, "",
              fmt::format("this is {}; sounds are read from WAV, FLAC, Ogg, MP3, AIFF and AU: convert it with "
                          "`ffmpeg -i INPUT -vn -ac 1 -ar 16000 sound.wav`",
                          name));
}

// libsndfile knows dozens of formats that nobody sends; only these reach it.
Result<std::unique_ptr<SoundReader>> open(std::span<const std::byte> file) {
  const MediaFormat format = recognise_media(file);
  switch (format) {
    case MediaFormat::mp3:
      return open_mp3(file);
    case MediaFormat::wav:
    case MediaFormat::flac:
    case MediaFormat::ogg:
    case MediaFormat::aiff:
    case MediaFormat::au:
      return open_with_sndfile(file, format);
    default:
      return not_readable(format);
  }
}

// What the header claims, before anything is decoded.
Result<void> check_claim(const SoundClaim& claim, const SoundLimits& limits) {
  if (claim.sample_rate_hz < sample_rate_hz_min || claim.sample_rate_hz > sample_rate_hz_max)
    return malformed("header", fmt::format("a sample rate from {} to {} Hz", sample_rate_hz_min, sample_rate_hz_max),
                     fmt::format("{} Hz", claim.sample_rate_hz));
  if (claim.channels < 1) return malformed("header", "at least one channel", fmt::format("{}", claim.channels));
  const double seconds = static_cast<double>(claim.frames.value_or(0)) / claim.sample_rate_hz;
  if (seconds > limits.seconds_max)
    return fail(ErrorKind::limit, "header",
                fmt::format("the sound lasts {:.0f} seconds, at most {:.0f} are read", seconds, limits.seconds_max));
  return {};
}

// Floats may be anything. What is not a number, or infinite, is silence; what is far out of range is bounded, or the
// resampler would make infinities of it.
double bounded(float sample) { return std::isfinite(sample) ? std::clamp<double>(sample, -1e4, 1e4) : 0; }

// The mean of the channels.
void mix_to_mono(std::span<const float> frames, size_t channels, std::vector<float>& mono) {
  mono.clear();
  for (size_t i = 0; i < frames.size(); i += channels) {
    double sum = 0;
    for (const float sample : frames.subspan(i, channels)) sum += bounded(sample);
    mono.push_back(static_cast<float>(sum / static_cast<double>(channels)));
  }
}

Result<Sound> decode(SoundReader& reader, const SoundLimits& limits) {
  const SoundClaim claim = reader.claim();
  LAPIDARY_CHECK(check_claim(claim, limits));
  LAPIDARY_TRY(Resampler resampler, Resampler::create(claim.sample_rate_hz, model_sample_rate_hz));
  const double samples_max = limits.seconds_max * model_sample_rate_hz;
  const auto channels = static_cast<size_t>(claim.channels);
  std::vector<float> frames(std::max<size_t>(1, 65'536 / channels) * channels), mono;
  Sound sound;
  // The memory grows with what is really decoded, not with what the header claims.
  while (const size_t count = reader.read(frames)) {
    mix_to_mono(std::span(frames).first(count * channels), channels, mono);
    LAPIDARY_CHECK(resampler.process(mono, sound.samples));
    if (static_cast<double>(sound.samples.size()) > samples_max)
      return fail(ErrorKind::limit, "",
                  fmt::format("the sound lasts longer than the {:.0f} seconds that are read", limits.seconds_max));
  }
  LAPIDARY_CHECK(resampler.finish(sound.samples));
  if (sound.samples.empty()) return malformed("", "a sound", "no samples");
  for (float& sample : sound.samples) sample = std::clamp(sample, -1.0F, 1.0F);
  return sound;
}

Result<Sound> decode_file(std::span<const std::byte> file, const SoundLimits& limits) {
  if (file.empty()) return malformed("", "a sound", "an empty file");
  if (file.size() > static_cast<uint64_t>(limits.file_bytes_max))
    return fail(ErrorKind::limit, "",
                fmt::format("the file has {} bytes, at most {} are read", file.size(), limits.file_bytes_max));
  LAPIDARY_TRY(const std::unique_ptr<SoundReader> reader, open(file));
  return decode(*reader, limits);
}

}  // namespace

Result<Sound> decode_sound(std::span<const std::byte> file, const std::string& name, const SoundLimits& limits) {
  try {
    auto sound = decode_file(file, limits);
    if (!sound.has_value()) return std::unexpected(std::move(sound).error().in(name));
    return sound;
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::out_of_memory, name, "the decoded sound does not fit into memory");
  }
}

std::vector<float> make_frames(const Sound& sound, int32_t frame_samples) {
  std::vector<float> frames = sound.samples;
  const auto frame = static_cast<size_t>(frame_samples);
  frames.resize((frames.size() + frame - 1) / frame * frame);
  return frames;
}

}  // namespace lapidary
