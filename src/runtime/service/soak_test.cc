// Thousands of small requests of both classes, many of them stopped at any time: every one gets exactly one last event,
// memory stays flat. LAPIDARY_SOAK_SECONDS makes it longer than the 10 seconds of the test run.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

#include "base/system.h"
#include "sanitized.h"
#include "service/service.h"
#include "service/service_for_test.h"

namespace lapidary {
namespace {

using namespace service_test;

struct Counts {
  std::mutex mutex;
  std::vector<double> stop_seconds;  // from cancelling to the last event
  std::atomic<int64_t> requests{0}, answered{0}, stopped{0}, refused{0}, wrong{0};
};

// What a sink leaves behind; shared with it, as the ticket may go first.
struct Outcome {
  std::atomic<int32_t> events{0}, last_events{0};
  std::atomic<bool> error{false};
};

void client(Service& service, uint32_t seed, double until, Counts& counts) {
  std::mt19937 random(seed);
  while (monotonic_seconds() < until) {
    GenerateRequest request;
    request.options.raw = true;
    request.text = fmt::format("Common beginning of client {}: ", seed % 3);
    for (uint32_t words = random() % 60; words > 0; --words) request.text += fmt::format("{} ", random() % 50);
    request.options.tokens_max = 1 + static_cast<int64_t>(random() % 6);
    request.request_class = random() % 3 == 0 ? RequestClass::background : RequestClass::interactive;
    const auto outcome = std::make_shared<Outcome>();
    auto ticket = service.submit(std::move(request), [outcome](GenerateEvent&& event) {
      ++outcome->events;
      outcome->error = outcome->error || std::holds_alternative<Error>(event);
      outcome->last_events += std::holds_alternative<Error>(event) || std::holds_alternative<UsageEvent>(event);
    });
    ++counts.requests;
    if (!ticket) {
      ++counts.refused;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      continue;
    }
    const uint32_t fate = random() % 4;
    double stopped_at = 0;
    if (fate == 0) ticket->cancel();
    if (fate == 1) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
      stopped_at = monotonic_seconds();
      ticket->cancel();
    }
    while (outcome->last_events == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (stopped_at > 0) {
      const std::scoped_lock lock(counts.mutex);
      counts.stop_seconds.push_back(monotonic_seconds() - stopped_at);
    }
    (fate < 2 ? counts.stopped : counts.answered) += 1;
    if (outcome->last_events != 1 || (fate >= 2 && outcome->error)) ++counts.wrong;
  }
}

}  // namespace

TEST_CASE("soak") {
  double seconds = 10;
  if (const auto text = environment("LAPIDARY_SOAK_SECONDS")) seconds = std::atof(text->c_str());
  ServiceOptions options = spark_options();
  options.slots = 3;
  options.queue_max = 14;
  options.prefix_cache_bytes = 8 << 20;
  const auto service = start(options);
  Counts counts;
  uint64_t warm = 0;
  const auto run = [&](double for_seconds, uint32_t seed) {
    const double until = monotonic_seconds() + for_seconds;
    std::vector<std::thread> clients;
    for (uint32_t i = 0; i < 16; ++i) clients.emplace_back([&, i] { client(*service, seed + i, until, counts); });
    for (std::thread& thread : clients) thread.join();
  };
  run(seconds * 0.3, 1000);
  warm = resident_bytes_now();
  run(seconds * 0.7, 2000);
  const uint64_t end = resident_bytes_now();
  const ServiceState state = service->state();
  fmt::print(
      "{} requests in {:.0f} s: {} answered, {} stopped, {} refused, {} pushed aside; {:.1f} MB resident after "
      "warming up, {:.1f} MB at the end; from cancelling to the last event p99 {:.1f} ms\n",
      counts.requests.load(), seconds, counts.answered.load(), counts.stopped.load(), counts.refused.load(),
      state.preempted, static_cast<double>(warm) / 1e6, static_cast<double>(end) / 1e6,
      1e3 * counts.stop_seconds[counts.stop_seconds.size() * 99 / 100]);
  CHECK(counts.wrong == 0);
  CHECK(counts.answered > 20);
  CHECK(state.running == 0);
  CHECK(state.waiting == 0);
  CHECK(state.prefix_cache_bytes <= options.prefix_cache_bytes);
  CHECK(state.kv_bytes <= options.prefix_cache_bytes);  // nothing is held but what the cache holds
  if (!sanitized) CHECK(end < warm + (24 << 20));       // they keep what was freed
}

}  // namespace lapidary
