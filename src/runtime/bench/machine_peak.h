// The walls of this machine, measured: how fast its memory is read, and how many int8 operations its cores do. Decode
// cannot be faster than the first lets the weights in, prefill not faster than the second multiplies.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "bench/spread.h"

namespace lapidary {

// GB/s (10^9 bytes) that `threads` threads, one a processor, read together from a buffer of `buffer_bytes`, which must
// be far larger than the caches: the best of the access patterns that this CPU has.
Result<Spread> measure_stream(int threads, uint64_t buffer_bytes, int reps);

// 10^9 int8 operations a second, a multiply-add counting two, of `threads` threads that do nothing else in registers:
// the instructions of the kernels called `variant`. Nothing where that variant has no such instructions, or this CPU
// has not got them.
std::optional<Spread> measure_int8(std::string_view variant, int threads, int reps);

}  // namespace lapidary
