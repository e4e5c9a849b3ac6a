// The events of a turn as `run --json` prints them: one JSON object a line.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "chat/turn.h"

namespace lapidary {

// `seed`: what the sampler was started with; part of the usage event.
std::string json_event(const TurnEvent& event, uint64_t seed);
std::string json_event(const Error& error);

const char* stop_name(StopReason reason);

}  // namespace lapidary
