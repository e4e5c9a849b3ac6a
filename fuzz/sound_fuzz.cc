// Sounds: any file, to frames.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "media/audio.h"

// Older libsndfile forgets a decoder's state when an Ogg header is damaged; its leaks are not ours to find.
extern "C" [[gnu::visibility("default")]] const char* __lsan_default_suppressions() {
  return "leak:libvorbis\nleak:libsndfile\nleak:libFLAC\nleak:libopus\n";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  const auto sound = lapidary::decode_sound(file, "it", {.seconds_max = 20});
  if (!sound.has_value()) {
    if (sound.error().message.empty()) std::abort();
    return 0;
  }
  if (sound->samples.empty() || sound->seconds() > 20.001) std::abort();
  for (const float sample : sound->samples)
    if (!(std::abs(sample) <= 1)) std::abort();
  if (lapidary::make_frames(*sound, 640).size() % 640 != 0) std::abort();
  return 0;
}
