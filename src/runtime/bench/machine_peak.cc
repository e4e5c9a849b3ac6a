#include "bench/machine_peak.h"

#include <barrier>
#include <cstddef>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "base/large_buffer.h"
#include "base/system.h"
#include "bench/machine_loops.h"

namespace lapidary {
namespace {

// Each thread runs `work(thread)`, bound to its processor, and returns what it did; all begin together. What was done
// by all, per second from the first begin to the last end.
template <typename Work>
double rate(int threads, const Work& work) {
  struct Part {
    double begin = 0, end = 0, done = 0;
  };
  std::vector<Part> parts(static_cast<size_t>(threads));
  std::barrier start(threads);
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&, i] {
      pin_thread(i);
      start.arrive_and_wait();
      Part& part = parts[static_cast<size_t>(i)];
      part.begin = monotonic_seconds();
      part.done = work(i);
      part.end = monotonic_seconds();
    });
  for (std::thread& worker : workers) worker.join();
  double begin = parts[0].begin, end = parts[0].end, done = 0;
  for (const Part& part : parts) {
    begin = std::min(begin, part.begin);
    end = std::max(end, part.end);
    done += part.done;
  }
  return end > begin ? done / (end - begin) : 0;
}

}  // namespace

Result<Spread> measure_stream(int threads, uint64_t buffer_bytes, int reps) {
  constexpr uint64_t page = 4096;
  const uint64_t share = buffer_bytes / static_cast<uint64_t>(threads) / page * page;
  if (share == 0) return fail(ErrorKind::wrong_use, "stream", "the buffer is too small");
  LAPIDARY_TRY(const LargeBuffer buffer, LargeBuffer::create(share * static_cast<uint64_t>(threads)));
  std::memset(buffer.bytes().data(), 1, buffer.bytes().size());
  Spread best;
  for (const ReadLoop loop : read_loops()) {
    std::vector<double> rates;
    for (int rep = 0; rep < reps; ++rep)
      rates.push_back(rate(threads,
                           [&](int thread) {
                             loop(buffer.bytes().data() + share * static_cast<uint64_t>(thread), share);
                             return static_cast<double>(share);
                           }) /
                      1e9);
    const Spread spread = spread_of(std::move(rates));
    if (spread.median > best.median) best = spread;
  }
  return best;
}

std::optional<Spread> measure_int8(std::string_view variant, int threads, int reps) {
  const auto loop = int8_loop(variant);
  if (!loop) return std::nullopt;
  constexpr int64_t rounds = 20'000'000;
  std::vector<double> rates;
  for (int rep = 0; rep < reps; ++rep)
    rates.push_back(rate(threads,
                         [&](int) {
                           loop->run(rounds);
                           return static_cast<double>(rounds) * loop->operations_per_round;
                         }) /
                    1e9);
  return spread_of(std::move(rates));
}

}  // namespace lapidary
