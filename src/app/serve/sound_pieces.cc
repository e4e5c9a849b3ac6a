#include "serve/sound_pieces.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace lapidary {
namespace {

constexpr size_t rate = model_sample_rate_hz;
constexpr size_t piece_samples_max = 29 * rate, search_samples = 14 * rate, window_samples = rate / 5;

// The middle of the quietest window that begins in [first, last).
size_t quietest(const std::vector<float>& samples, size_t first, size_t last) {
  double energy = 0;
  for (size_t i = first; i < first + window_samples; ++i) energy += double{samples[i]} * samples[i];
  double least = energy;
  size_t best = first;
  for (size_t begin = first + 1; begin < last; ++begin) {
    const double left = samples[begin - 1], entered = samples[begin + window_samples - 1];
    energy += entered * entered - left * left;
    if (energy >= least) continue;
    least = energy;
    best = begin;
  }
  return best + window_samples / 2;
}

void put(std::string& out, uint32_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 255);
}

size_t sample_at(double seconds, size_t count) {
  return std::min(count, static_cast<size_t>(std::llround(std::max(0.0, seconds) * static_cast<double>(rate))));
}

}  // namespace

std::vector<SoundPiece> cut_at_pauses(const Sound& sound) {
  std::vector<SoundPiece> pieces;
  const auto seconds = [](size_t sample) { return static_cast<double>(sample) / static_cast<double>(rate); };
  size_t begin = 0;
  while (sound.samples.size() - begin > piece_samples_max) {
    const size_t limit = begin + piece_samples_max;
    const size_t cut = quietest(sound.samples, limit - search_samples, limit - window_samples);
    pieces.push_back({seconds(begin), seconds(cut)});
    begin = cut;
  }
  pieces.push_back({seconds(begin), seconds(sound.samples.size())});
  return pieces;
}

std::string wav_bytes(const Sound& sound, const SoundPiece& piece) {
  const size_t begin = sample_at(piece.begin_seconds, sound.samples.size());
  const size_t end = std::max(begin, sample_at(piece.end_seconds, sound.samples.size()));
  const auto data_bytes = static_cast<uint32_t>((end - begin) * sizeof(float));
  std::string wav = "RIFF";
  put(wav, 36 + data_bytes, 4);
  wav += "WAVEfmt ";
  put(wav, 16, 4);
  put(wav, 3, 2);  // float
  put(wav, 1, 2);  // one channel
  put(wav, model_sample_rate_hz, 4);
  put(wav, model_sample_rate_hz * sizeof(float), 4);
  put(wav, sizeof(float), 2);
  put(wav, 8 * sizeof(float), 2);
  wav += "data";
  put(wav, data_bytes, 4);
  for (size_t i = begin; i < end; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, &sound.samples[i], sizeof(bits));
    put(wav, bits, 4);
  }
  return wav;
}

}  // namespace lapidary
