#include <doctest/doctest.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

#include "golden_case.h"
#include "media/audio.h"
#include "media/media_files_for_test.h"

// Older libsndfile forgets a decoder's state when an Ogg header is damaged; its leaks are not ours to find.
extern "C" [[gnu::visibility("default")]] const char* __lsan_default_suppressions() { return "leak:libvorbis\n"; }

namespace lapidary {
namespace {

Sound decoded(const FileBytes& file, const SoundLimits& limits = {}) {
  auto sound = decode_sound(file, "it", limits);
  if (!sound) FAIL(sound.error().text());
  return std::move(sound).value();
}

Error refusal(const FileBytes& file, const SoundLimits& limits = {}) {
  const auto sound = decode_sound(file, "it", limits);
  REQUIRE_FALSE(sound.has_value());
  return sound.error();
}

// A file in memory, for libsndfile to write to.
struct Target {
  FileBytes bytes;
  size_t offset = 0;
};
Target& target_of(void* user) { return *static_cast<Target*>(user); }

template <typename Sample>  // float or short
FileBytes written(const std::vector<Sample>& samples, int channels, int rate_hz, int format) {
  Target target;
  SF_VIRTUAL_IO io{[](void* user) { return static_cast<sf_count_t>(target_of(user).bytes.size()); },
                   [](sf_count_t offset, int whence, void* user) {
                     Target& to = target_of(user);
                     const size_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? to.offset : to.bytes.size();
                     to.offset = base + static_cast<size_t>(offset);
                     return static_cast<sf_count_t>(to.offset);
                   },
                   [](void* out, sf_count_t size, void* user) {
                     Target& to = target_of(user);
                     const size_t count =
                         std::min(static_cast<size_t>(size), to.bytes.size() - std::min(to.offset, to.bytes.size()));
                     std::memcpy(out, to.bytes.data() + to.offset, count);
                     to.offset += count;
                     return static_cast<sf_count_t>(count);
                   },
                   [](const void* data, sf_count_t size, void* user) {
                     Target& to = target_of(user);
                     to.bytes.resize(std::max(to.bytes.size(), to.offset + static_cast<size_t>(size)));
                     std::memcpy(to.bytes.data() + to.offset, data, static_cast<size_t>(size));
                     to.offset += static_cast<size_t>(size);
                     return size;
                   },
                   [](void* user) { return static_cast<sf_count_t>(target_of(user).offset); }};
  SF_INFO info{};
  info.samplerate = rate_hz;
  info.channels = channels;
  info.format = format;
  SNDFILE* file = sf_open_virtual(&io, SFM_WRITE, &info, &target);
  REQUIRE(file != nullptr);
  const auto size = static_cast<sf_count_t>(samples.size());
  if constexpr (std::is_same_v<Sample, float>)
    REQUIRE(sf_write_float(file, samples.data(), size) == size);
  else
    REQUIRE(sf_write_short(file, samples.data(), size) == size);
  sf_close(file);
  return target.bytes;
}

// `channels` copies of a sine, each with its own amplitude.
std::vector<float> sine(double hz, int rate_hz, double seconds, const std::vector<double>& amplitudes) {
  std::vector<float> samples;
  for (int64_t i = 0; i < static_cast<int64_t>(rate_hz * seconds); ++i)
    for (const double amplitude : amplitudes)
      samples.push_back(
          static_cast<float>(amplitude * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz)));
  return samples;
}

// How much of a frequency is in the middle of a sound, as the amplitude of a sine; and what else there is (rms).
struct Tone {
  double amplitude = 0, rest = 0;
};
Tone tone(const Sound& sound, double hz) {
  // Whole periods of every frequency used here (multiples of 10 Hz), away from the ends.
  const size_t first = 1600, count = sound.samples.size() / 1600 * 1600 - 3200;
  double in_phase = 0, across = 0, energy = 0;
  for (size_t i = first; i < first + count; ++i) {
    const double angle = 2 * std::numbers::pi * hz * static_cast<double>(i) / model_sample_rate_hz,
                 sample = sound.samples[i];
    in_phase += sample * std::sin(angle);
    across += sample * std::cos(angle);
    energy += sample * sample;
  }
  const double n = static_cast<double>(count), amplitude = 2 * std::hypot(in_phase, across) / n;
  return {amplitude, std::sqrt(std::max(0.0, energy / n - amplitude * amplitude / 2))};
}

}  // namespace

TEST_CASE("16-bit sounds at 16 kHz become int16/32768 in frames of 640, as in the goldens") {
  for (const char* name : {"audio", "mixed"}) {
    const golden::Case expected = golden::load("unified", name);
    const std::string path = golden::root() + "unified/media/" + std::string(expected.meta["audio"][0]);
    const auto file = MappedFile::open(path).value();
    const std::vector<float> frames = make_frames(decode_sound(file->bytes(), path).value(), 640);
    const golden::Array& features = expected.at("audio_features");
    CHECK(features.columns() == 640);
    CHECK(features.rows() == expected.meta["audio_tokens"].get<int64_t>());
    REQUIRE(frames.size() == features.values.size());
    CHECK(frames == features.values);
  }
}

TEST_CASE("every 16-bit value is exact") {
  std::vector<short> values;
  std::vector<float> samples;
  for (int32_t value = -32'768; value < 32'768; ++value) {
    values.push_back(static_cast<short>(value));
    samples.push_back(static_cast<float>(value) / 32'768);
  }
  for (const int format : {SF_FORMAT_WAV, SF_FORMAT_FLAC, SF_FORMAT_AIFF, SF_FORMAT_AU})
    CHECK(decoded(written(values, 1, 16'000, format | SF_FORMAT_PCM_16)).samples == samples);
}

TEST_CASE("pitfall 23: near-silence keeps its scale") {
  const std::vector<short> quiet = {1, -2, 0, 3};
  CHECK(decoded(written(quiet, 1, 16'000, SF_FORMAT_WAV | SF_FORMAT_PCM_16)).samples ==
        std::vector<float>{1.0F / 32'768, -2.0F / 32'768, 0, 3.0F / 32'768});
  const Sound resampled = decoded(written(sine(1000, 44'100, 1, {1e-4}), 1, 44'100, SF_FORMAT_WAV | SF_FORMAT_FLOAT));
  CHECK(tone(resampled, 1000).amplitude == doctest::Approx(1e-4).epsilon(0.001));
}

TEST_CASE("44.1 kHz stereo becomes 16 kHz mono: the same tone, as loud, as long") {
  const FileBytes file = written(sine(1000, 44'100, 2, {0.8, 0.4}), 2, 44'100, SF_FORMAT_WAV | SF_FORMAT_PCM_24);
  const Sound sound = decoded(file);
  CHECK(sound.samples.size() == 32'000);
  CHECK(sound.seconds() == doctest::Approx(2));
  const auto [amplitude, rest] = tone(sound, 1000);
  CHECK(amplitude == doctest::Approx(0.6).epsilon(0.0002));
  CHECK(rest < 1e-4);
}

TEST_CASE("every rate keeps length, tone and loudness; what 16 kHz cannot hold is gone, not folded") {
  for (const int rate_hz : {8'000, 11'025, 22'050, 24'000, 32'000, 48'000, 96'000, 192'000}) {
    CAPTURE(rate_hz);
    const Sound sound = decoded(written(sine(440, rate_hz, 1, {0.5}), 1, rate_hz, SF_FORMAT_WAV | SF_FORMAT_FLOAT));
    CHECK(sound.samples.size() == 16'000);
    CHECK(tone(sound, 440).amplitude == doctest::Approx(0.5).epsilon(0.0002));
    CHECK(tone(sound, 440).rest < 1e-4);
  }
  const Sound sound = decoded(written(sine(11'000, 44'100, 1, {0.5}), 1, 44'100, SF_FORMAT_WAV | SF_FORMAT_FLOAT));
  CHECK(tone(sound, 5'000).amplitude < 1e-5);  // where 11 kHz would fold to
  CHECK(tone(sound, 5'000).rest < 1e-4);
}

TEST_CASE("FLAC, Ogg Vorbis, Opus and MP3 sound like what was written") {
  const std::vector<float> samples = sine(500, 48'000, 1, {0.5, 0.5});
  struct Kind {
    int format;
    double amplitude_error, seconds_error;
  };
  for (const auto& [format, amplitude_error, seconds_error] : std::initializer_list<Kind>{
           {SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 0.001, 0},
           {SF_FORMAT_OGG | SF_FORMAT_VORBIS, 0.03, 0.001},
           {SF_FORMAT_OGG | SF_FORMAT_OPUS, 0.03, 0.03},
           {SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 0.03, 0.06},
       }) {
    CAPTURE(format);
    const Sound sound = decoded(written(samples, 2, 48'000, format));
    CHECK(std::abs(sound.seconds() - 1) <= seconds_error);
    CHECK(std::abs(tone(sound, 500).amplitude - 0.5) <= amplitude_error);
  }
}

TEST_CASE("MP3 in a WAV wrapper, and one that changes its rate half-way") {
  CHECK(decoded(corpus_file("sound/mpeg.wav")).samples.size() == decoded(corpus_file("sound/mono.mp3")).samples.size());
  FileBytes both = written(sine(500, 48'000, 1, {0.5}), 1, 48'000, SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III);
  const FileBytes second = written(sine(500, 16'000, 1, {0.5}), 1, 16'000, SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III);
  both.insert(both.end(), second.begin(), second.end());
  const Sound sound = decoded(both);
  CHECK(sound.seconds() > 0.9);
  CHECK(sound.seconds() < 1.1);  // what has another rate is left out, not played at the wrong speed
}

TEST_CASE("channels are averaged, and the result stays within [-1, 1]") {
  const Sound mixed = decoded(written<float>({0.5F, -0.25F, 1, 1, -1, 0}, 2, 16'000, SF_FORMAT_WAV | SF_FORMAT_FLOAT));
  CHECK(mixed.samples == std::vector<float>{0.125F, 1, -0.5F});
  const Sound loud = decoded(written<float>({7, -7, 0.5F}, 1, 16'000, SF_FORMAT_WAV | SF_FORMAT_FLOAT));
  CHECK(loud.samples == std::vector<float>{1, -1, 0.5F});
}

TEST_CASE("samples that are not finite are silence") {
  const Sound sound = decoded(corpus_file("sound/float_not_finite.wav"));
  for (const size_t i : {10, 11, 12}) CHECK(sound.samples[i] == 0);
  CHECK(sound.samples[20] == 1);
  for (const float sample : sound.samples) CHECK(std::isfinite(sample));
  // The largest floats do not overflow in the resampler.
  std::vector<float> huge(44'100);
  for (size_t i = 0; i < huge.size(); ++i) huge[i] = i % 3 == 0 ? -3e38F : 3e38F;
  for (const float sample : decoded(written(huge, 1, 44'100, SF_FORMAT_WAV | SF_FORMAT_FLOAT)).samples)
    CHECK(std::abs(sample) <= 1);
  // One that is not finite would spread in the resampler.
  const std::vector<float> strange(44'100, NAN);
  for (const float sample : decoded(written(strange, 1, 44'100, SF_FORMAT_WAV | SF_FORMAT_FLOAT)).samples)
    CHECK(sample == 0);
}

TEST_CASE("a length that the data does not have is cut to the data") {
  const Sound sound = decoded(corpus_file("sound/damaged_claims_more.wav"));
  CHECK(sound.samples.size() == (100 - 44) / 2);
}

TEST_CASE("advisory 22: a sound of ten hours is refused from its header") {
  const Error flac = refusal(corpus_file("sound/damaged_ten_hours.flac"));
  CHECK(flac.kind == ErrorKind::limit);
  CHECK(flac.text() == "it: header: the sound lasts 36000 seconds, at most 3600 are read");
  const FileBytes two_seconds = written(sine(100, 8'000, 2, {0.1}), 1, 8'000, SF_FORMAT_WAV | SF_FORMAT_PCM_16);
  CHECK(refusal(two_seconds, {.seconds_max = 1.9}).kind == ErrorKind::limit);
  CHECK(decoded(two_seconds, {.seconds_max = 2}).samples.size() == 32'000);
  CHECK(refusal(two_seconds, {.file_bytes_max = 1000}).kind == ErrorKind::limit);
}

TEST_CASE("nothing to hear is refused") {
  CHECK(refusal({}).kind == ErrorKind::refused);
  CHECK(refusal(corpus_file("sound/damaged_empty.wav")).kind == ErrorKind::refused);
  CHECK(refusal(written<float>({}, 1, 16'000, SF_FORMAT_WAV | SF_FORMAT_PCM_16)).kind == ErrorKind::refused);
  CHECK(refusal(written<float>({}, 1, 44'100, SF_FORMAT_WAV | SF_FORMAT_PCM_16)).kind == ErrorKind::refused);
  CHECK(refusal(bytes_of("RIFF\0\0\0\0WAVE")).kind == ErrorKind::refused);
  CHECK(refusal(corpus_file("sound/damaged_header.wav")).where == "it: header");
  CHECK(refusal(corpus_file("sound/damaged_tag.mp3")).kind == ErrorKind::refused);
  CHECK(refusal(bytes_of("just a text")).kind == ErrorKind::refused);
  CHECK(refusal(written<float>({0, 0}, 1, 999, SF_FORMAT_WAV | SF_FORMAT_PCM_16)).message.find("999 Hz") !=
        std::string::npos);
}

TEST_CASE("other formats are recognised by content, and the error says how to convert them") {
  using namespace std::string_view_literals;
  struct Other {
    std::string_view bytes, name;
  };
  for (const auto& [bytes, name] : std::initializer_list<Other>{
           {"\0\0\0\x18"
            "ftypM4A \0\0\0\0"sv,
            "M4A"},
           {"\0\0\0\x18"
            "ftypmp42\0\0\0\0"sv,
            "MP4"},
           {"\xff\xf1\x50\x80\x02\x1f\xfc"sv, "AAC"},
           {"\x30\x26\xb2\x75\x8e\x66\xcf\x11"sv, "Windows Media"},
           {"#!AMR\n"sv, "AMR"},
           {"caff\0\1\0\0"sv, "CAF"},
           {"\x1a\x45\xdf\xa3"sv, "WebM"},
       }) {
    const Error error = refusal(bytes_of(bytes));
    CAPTURE(error.message);
    CHECK(error.kind == ErrorKind::unsupported);
    CHECK(error.message.find(name) != std::string::npos);
    CHECK(error.message.find("`ffmpeg -i INPUT -vn -ac 1 -ar 16000 sound.wav`") != std::string::npos);
  }
  const Error picture = refusal(corpus_file("image/rgb8.png"));
  CHECK(picture.kind == ErrorKind::unsupported);
  CHECK(picture.message == "this is a PNG picture, not a sound");
}

TEST_CASE("a file cut at every 64th part never crashes, and gives a sound or a reason") {
  for (const char* name : {"pcm16.wav", "ima_adpcm.wav", "gsm.wav", "ulaw.wav", "stereo.flac", "vorbis.ogg", "opus.ogg",
                           "mono.mp3", "stereo.aiff", "wave64.w64", "rf64.wav"}) {
    const FileBytes whole = corpus_file(std::string("sound/") + name);
    const size_t all = decoded(whole).samples.size();
    for (size_t i = 0; i < 64; ++i) {
      CAPTURE(name);
      CAPTURE(i);
      const auto sound = decode_sound(std::span(whole).first(whole.size() * i / 64), name);
      if (sound.has_value()) {
        CHECK(!sound->samples.empty());
        CHECK(sound->samples.size() <= all + 1152);
      } else {
        CHECK_FALSE(sound.error().message.empty());
      }
    }
  }
}

TEST_CASE("frames: as many as ceil(samples / 640), the last padded with zeros") {
  for (const size_t samples : {1, 639, 640, 641, 1280, 16'277}) {
    const std::vector<float> frames = make_frames({std::vector<float>(samples, 0.5F)}, 640);
    CHECK(frames.size() == (samples + 639) / 640 * 640);
    CHECK(std::count(frames.begin(), frames.end(), 0.5F) == static_cast<ptrdiff_t>(samples));
    CHECK(frames[samples - 1] == 0.5F);
  }
  CHECK(make_frames({}, 640).empty());
}

}  // namespace lapidary
