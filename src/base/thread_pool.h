// The threads that compute. One pool belongs to one engine; only the thread that owns the engine calls it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace lapidary {

// A view of a callable; does not own it. Cheap to pass, never allocates.
class RangeTask {
 public:
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, RangeTask>)
  RangeTask(F&& f)  // NOLINT: meant to convert
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, int64_t begin, int64_t end) {
          (*static_cast<std::remove_reference_t<F>*>(object))(begin, end);
        }) {}
  void operator()(int64_t begin, int64_t end) const { call_(object_, begin, end); }

 private:
  void* object_;
  void (*call_)(void*, int64_t, int64_t);
};

// Splits ranges over threads. Who computes which part is decided at run time; callers must write code whose result does
// not depend on it (each output element is computed by one call, in a fixed order), as the invariance tests check.
class ThreadPool {
 public:
  // `threads` counts the calling thread: 1 starts none. Workers wait by spinning for a bounded time, then sleep.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(begin, end) for parts of [0, count), each a multiple of `grain` long (but the last), and returns when
  // all are done. The task must not throw and must not call the pool.
  void run(int64_t count, int64_t grain, RangeTask task);

 private:
  void work();
  void take_parts();

  std::vector<std::thread> workers_;
  alignas(64) std::atomic<uint32_t> round_{0};   // a new number starts the workers
  alignas(64) std::atomic<int32_t> running_{0};  // workers still in the current round
  alignas(64) std::atomic<int64_t> next_{0};     // the first part nobody has taken
  int64_t count_ = 0, grain_ = 1;
  const RangeTask* task_ = nullptr;
  std::atomic<bool> stop_{false};
};

}  // namespace lapidary
