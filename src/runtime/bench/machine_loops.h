// The loops that machine_peak.h times: one instruction set each, chosen by what the CPU has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lapidary {

// Reads `bytes` bytes (a multiple of 4096) from `data` (aligned to a page) once.
using ReadLoop = void (*)(const std::byte* data, uint64_t bytes);
// The ways to read that this CPU has; at least one.
std::vector<ReadLoop> read_loops();

struct Int8Loop {
  void (*run)(int64_t rounds);
  double operations_per_round;
};
// The multiply-adds of the kernels of that name, if they have any and this CPU has them.
std::optional<Int8Loop> int8_loop(std::string_view variant);

}  // namespace lapidary
