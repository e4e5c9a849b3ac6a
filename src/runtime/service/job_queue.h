// Where the service's threads meet: requests wait here until they are read, and then until they are computed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "service/job.h"
#include "service/service.h"

namespace lapidary {

using JobPointer = std::shared_ptr<Job>;

// Safe from any thread.
class JobQueue {
 public:
  JobQueue(int32_t slots, int32_t queue_max) : slots_(slots), queue_max_(queue_max) { state_.slots = slots; }

  // Submitting. ErrorKind::limit if too many wait already: `retry_after_seconds` then says when to come again.
  Result<void> push(const JobPointer& job, double* retry_after_seconds);
  // Takes nothing any more; waits until all have ended, for at most `seconds`, then stops those that have not.
  void drain(double seconds);
  // Stops everything; next_to_read() and wait() then return at once.
  void end();
  // A ticket's: wakes the engine's thread, so that it looks at `cancelled`.
  void ring();

  // Reading: the next request that has not been read, as long as not too many of its class wait for a slot already.
  // Nothing: the service ends. Several threads may read.
  JobPointer next_to_read(bool only_interactive);
  void was_read(JobPointer job);

  // The engine's thread. wait() returns when there may be something to do, or at `until_seconds`; at once if `busy`.
  // False: the service ends and all requests have ended.
  bool wait(bool busy, std::optional<double> until_seconds);
  // Those that wait but were stopped, or whose time is over.
  std::vector<JobPointer> take_gone(double now);
  std::vector<JobPointer> ready() const;
  void take(const JobPointer& job);  // of ready(): it runs now
  // An interactive request has become ready since the last call: what is computed for others may be left.
  bool newcomer() const { return newcomer_.load(std::memory_order_relaxed); }
  void clear_newcomer() { newcomer_.store(false, std::memory_order_relaxed); }
  // Before and after the last event of a job.
  void ending(const JobPointer& job, bool failed, double busy_seconds);
  void ended(const JobPointer& job);

  void update(const std::function<void(ServiceState&)>& change);
  ServiceState state() const;

 private:
  int64_t waiting() const { return static_cast<int64_t>(all_.size()) - running_ - ending_; }

  const int64_t slots_, queue_max_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable rung_;
  std::vector<JobPointer> all_;  // until their last event has been given out
  std::vector<JobPointer> unread_, ready_;
  int64_t running_ = 0, ending_ = 0;  // of all_
  ServiceState state_;
  bool closed_ = false, over_ = false;
  uint64_t finished_ = 0;
  double busy_seconds_ = 0;
  std::atomic<bool> newcomer_{false};
};

}  // namespace lapidary
