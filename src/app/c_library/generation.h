// A generation: what its handle and the model's thread share.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "c_library/event_view.h"
#include "c_library/session.h"
#include "chat/conversation.h"
#include "lapidary.h"
#include "service/service.h"

namespace lapidary {

// take() is called on the model's thread, the rest by the handle's owner; cancel() by anybody.
class GenerationState : public std::enable_shared_from_this<GenerationState> {
 public:
  GenerationState(std::shared_ptr<SessionState> session, lapidary_callback callback, void* user)
      : session_(std::move(session)), callback_(callback), user_(user) {}

  // Submits the session's request. The session counts as generating from here to the last event.
  Result<void> start(SharedService& service, const ModelInfo& model, const lapidary_generation_options& options);

  void cancel();
  // No more events for the callback; waits for the last one, unless it is called in a callback.
  void close();

  // The next event, or nullptr: none came in time, or the last one has been given.
  const lapidary_event* next(double timeout_seconds);
  bool wait(double timeout_seconds);  // false: it has not ended in time
  bool has_callback() const { return callback_ != nullptr; }

  // After the end. message(): as JSON.
  bool succeeded();
  const lapidary_event* end();
  const std::string& text() const { return text_; }
  const std::string& message();
  const std::vector<int32_t>& ids() const { return ids_; }

 private:
  using Lock = std::unique_lock<std::mutex>;
  void take(GenerateEvent&& event) noexcept;
  void give(GenerateEvent&& event);
  void call_back(const lapidary_event& event) noexcept;
  void collect(GenerateEvent& event);
  void finish(GenerateEvent&& event) noexcept;
  void end_session(const UsageEvent* usage);
  template <typename Condition>
  bool wait_until(Lock& lock, double timeout_seconds, const Condition& condition);

  const std::shared_ptr<SessionState> session_;
  const lapidary_callback callback_;
  void* const user_;
  uint64_t seed_ = 0;
  size_t earlier_calls_ = 0;           // in the session, which number the ids of new ones
  std::vector<std::string> warnings_;  // to be given first

  // The model's thread's, until the end; then nobody changes them.
  Message reply_;
  std::string text_;
  std::vector<int32_t> ids_;
  bool failed_ = false;  // there was no memory for an event
  EventView end_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<GenerateEvent> events_;  // to be fetched
  EventView fetched_;
  Ticket ticket_;
  std::string message_;
  bool cancelled_ = false, closed_ = false, end_fetched_ = false;
  bool settled_ = false;  // the results are there
  bool ended_ = false;    // … and the last event has been given
};

}  // namespace lapidary

struct lapidary_generation {
  std::shared_ptr<lapidary::GenerationState> state;
};
