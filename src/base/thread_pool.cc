#include "base/thread_pool.h"

#include <algorithm>

namespace lapidary {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 30 microseconds: longer than the gaps inside a layer, shorter than anything that would warm a lap.
constexpr int spin_rounds = 2000;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  round_.fetch_add(1);
  round_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t count, int64_t grain, RangeTask task) {
  if (count <= 0) return;
  const int64_t grains = (count + grain - 1) / grain;
  if (workers_.empty() || grains == 1) {
    task(0, count);
    return;
  }
  count_ = count;
  grain_ = grain;
  task_ = &task;
  next_.store(0, std::memory_order_relaxed);
  running_.store(static_cast<int32_t>(workers_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  take_parts();
  for (int spin = 0; running_.load(std::memory_order_acquire) != 0;) {
    if (++spin < spin_rounds) {
      pause();
      continue;
    }
    const int32_t running = running_.load(std::memory_order_acquire);
    if (running != 0) running_.wait(running, std::memory_order_acquire);
  }
}

void ThreadPool::take_parts() {
  for (int64_t begin = next_.load(std::memory_order_relaxed); begin < count_;) {
    // A share of what is left: large at first, small at the end, so that no thread waits long for the last part.
    const int64_t grains = (count_ - begin + grain_ - 1) / grain_;
    const int64_t end = begin + std::max<int64_t>(1, grains / (2 * threads())) * grain_;
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    (*task_)(begin, std::min(end, count_));
    begin = next_.load(std::memory_order_relaxed);
  }
}

void ThreadPool::work() {
  uint32_t seen = 0;
  for (;;) {
    for (int spin = 0; round_.load(std::memory_order_acquire) == seen;) {
      if (++spin < spin_rounds)
        pause();
      else
        round_.wait(seen, std::memory_order_acquire);
    }
    seen = round_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    take_parts();
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

}  // namespace lapidary
