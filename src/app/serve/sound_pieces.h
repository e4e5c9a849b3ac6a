// A long sound cut at its pauses into pieces that the model can take.
#pragma once

#include <string>
#include <vector>

#include "media/audio.h"

namespace lapidary {

struct SoundPiece {
  double begin_seconds = 0, end_seconds = 0;
};

// Pieces of at most 29 s; each cut lies in the quietest 0.2 s of the 14 s before that limit. They follow each other
// without gaps, and cover everything.
std::vector<SoundPiece> cut_at_pauses(const Sound& sound);

// A piece as the bytes of a WAV file (float samples: nothing is rounded).
std::string wav_bytes(const Sound& sound, const SoundPiece& piece);

}  // namespace lapidary
