#include "service/job_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/system.h"

namespace lapidary {
namespace {

std::vector<JobPointer>::iterator first_of(std::vector<JobPointer>& jobs) {
  return std::ranges::min_element(jobs, [](const auto& a, const auto& b) { return goes_before(*a, *b); });
}

}  // namespace

Result<void> JobQueue::push(const JobPointer& job, double* retry_after_seconds) {
  const std::scoped_lock lock(mutex_);
  if (closed_) return fail(ErrorKind::cancelled, "service", "it is ending and takes no more requests");
  if (waiting() >= queue_max_) {
    ++state_.refused;
    const double each = finished_ > 0 ? busy_seconds_ / static_cast<double>(finished_) : 1.0;
    if (retry_after_seconds != nullptr)  // until a quarter of the queue is gone
      *retry_after_seconds =
          std::clamp(each * static_cast<double>(waiting()) / 4 / static_cast<double>(slots_), 1.0, 60.0);
    return fail(ErrorKind::limit, "service", fmt::format("busy: {} requests are waiting already", waiting()));
  }
  all_.reserve(all_.size() + 1);  // where there is no memory, in neither
  unread_.reserve(unread_.size() + 1);
  job->number = ++state_.requests;
  all_.push_back(job);
  unread_.push_back(job);
  rung_.notify_all();
  return {};
}

void JobQueue::drain(double seconds) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  const auto quiet = [this] { return all_.empty(); };
  if (rung_.wait_for(lock, std::chrono::duration<double>(std::clamp(seconds, 0.0, 1e6)), quiet)) return;
  for (const JobPointer& job : all_) job->cancelled = true;
  newcomer_ = true;  // a pass under way is left
  rung_.notify_all();
  rung_.wait(lock, quiet);
}

void JobQueue::end() {
  const std::scoped_lock lock(mutex_);
  closed_ = over_ = true;
  for (const JobPointer& job : all_) job->cancelled = true;
  newcomer_ = true;
  rung_.notify_all();
}

void JobQueue::ring() {
  const std::scoped_lock lock(mutex_);
  rung_.notify_all();
}

JobPointer JobQueue::next_to_read(bool only_interactive) {
  std::unique_lock lock(mutex_);
  std::vector<JobPointer>::iterator next;
  const auto found = [&] {
    next = first_of(unread_);
    if (next == unread_.end() || (only_interactive && !(*next)->interactive())) return false;
    const bool interactive = (*next)->interactive();
    return std::ranges::count_if(
               ready_, [&](const JobPointer& other) { return other->interactive() == interactive; }) <= slots_;
  };
  rung_.wait(lock, [&] { return over_ || found(); });
  if (over_) return nullptr;
  JobPointer job = *next;
  unread_.erase(next);
  return job;
}

void JobQueue::was_read(JobPointer job) {
  const std::scoped_lock lock(mutex_);
  if (job->interactive()) newcomer_.store(true, std::memory_order_relaxed);
  ready_.push_back(std::move(job));
  rung_.notify_all();
}

bool JobQueue::wait(bool busy, std::optional<double> until_seconds) {
  std::unique_lock lock(mutex_);
  const auto finished = [this] { return over_ && all_.empty(); };
  if (busy) return true;
  const auto wanted = [&] {
    return finished() || !ready_.empty() ||
           std::ranges::any_of(unread_, [](const auto& job) { return job->stopped(); });
  };
  if (until_seconds)
    rung_.wait_for(lock, std::chrono::duration<double>(std::clamp(*until_seconds - monotonic_seconds(), 0.0, 1e6)),
                   wanted);
  else
    rung_.wait(lock, wanted);
  return !finished();
}

std::vector<JobPointer> JobQueue::take_gone(double now) {
  const std::scoped_lock lock(mutex_);
  std::vector<JobPointer> gone;
  for (auto* jobs : {&unread_, &ready_})
    std::erase_if(*jobs, [&](const JobPointer& job) {
      if (!job->stopped() && !job->late(now)) return false;
      gone.push_back(job);
      return true;
    });
  running_ += static_cast<int64_t>(gone.size());
  if (!gone.empty()) rung_.notify_all();  // another one may be read
  return gone;
}

std::vector<JobPointer> JobQueue::ready() const {
  const std::scoped_lock lock(mutex_);
  return ready_;
}

void JobQueue::take(const JobPointer& job) {
  const std::scoped_lock lock(mutex_);
  std::erase(ready_, job);
  ++running_;
  rung_.notify_all();  // another one may be read
}

void JobQueue::ending(const JobPointer& job, bool failed, double busy_seconds) {
  const std::scoped_lock lock(mutex_);
  if (job->stopped())
    ++state_.cancelled;
  else if (failed)
    ++state_.failed;
  ++finished_;
  busy_seconds_ += busy_seconds;
  --running_;
  ++ending_;
}

void JobQueue::ended(const JobPointer& job) {
  const std::scoped_lock lock(mutex_);
  --ending_;
  std::erase(all_, job);
  rung_.notify_all();
}

void JobQueue::update(const std::function<void(ServiceState&)>& change) {
  const std::scoped_lock lock(mutex_);
  change(state_);
}

ServiceState JobQueue::state() const {
  const std::scoped_lock lock(mutex_);
  ServiceState state = state_;
  state.running = static_cast<int32_t>(running_);
  state.waiting = static_cast<int32_t>(waiting());
  return state;
}

}  // namespace lapidary
