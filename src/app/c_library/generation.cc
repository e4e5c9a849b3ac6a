#include "c_library/generation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "c_library/calls.h"
#include "c_library/request.h"

namespace lapidary {
namespace {

OrderedJson message_json(const Message& message) {
  OrderedJson json = {{"role", message.role}, {"content", std::get<std::string>(message.content)}};
  if (!message.reasoning.empty()) json["reasoning"] = message.reasoning;
  for (const ToolCall& call : message.tool_calls)
    json["tool_calls"].push_back(
        {{"id", call.id},
         {"type", "function"},
         {"function",
          {{"name", call.name}, {"arguments", call.arguments.is_null() ? OrderedJson::object() : call.arguments}}}});
  return json;
}

}  // namespace

Result<void> GenerationState::start(SharedService& service, const ModelInfo& model,
                                    const lapidary_generation_options& options) {
  GenerateRequest request;
  {
    const std::scoped_lock lock(session_->mutex);
    if (session_->generating) return wrong_use("session", "a generation of it is running");
    LAPIDARY_TRY(request, generate_request(session_->content, options, model, warnings_));
    seed_ = request.options.sampler.seed;
    for (const Message& message : session_->content.conversation.messages) earlier_calls_ += message.tool_calls.size();
    session_->generating = true;
  }
  Result<Ticket> ticket;
  try {
    ticket = service.with([&](Service& running) {
      return running.submit(std::move(request),
                            [self = shared_from_this()](GenerateEvent&& event) { self->take(std::move(event)); });
    });
  } catch (...) {
    end_session(nullptr);
    throw;
  }
  if (!ticket) {
    end_session(nullptr);
    return std::unexpected(std::move(ticket).error());
  }
  const Lock lock(mutex_);
  if (!cancelled_ && !ended_) ticket_ = std::move(*ticket);
  return {};  // else the ticket goes, and with it the request
}

void GenerationState::cancel() {
  Ticket ticket;
  {
    const Lock lock(mutex_);
    cancelled_ = true;
    ticket = std::move(ticket_);
  }
}

void GenerationState::close() {
  {
    const Lock lock(mutex_);
    closed_ = true;
  }
  cancel();
  if (!in_callback()) wait(-1);
}

template <typename Condition>
bool GenerationState::wait_until(Lock& lock, double timeout_seconds, const Condition& condition) {
  constexpr double seconds_max = 1e8;
  if (timeout_seconds >= 0)
    return changed_.wait_for(lock, std::chrono::duration<double>(std::min(timeout_seconds, seconds_max)), condition);
  changed_.wait(lock, condition);
  return true;
}

const lapidary_event* GenerationState::next(double timeout_seconds) {
  Lock lock(mutex_);
  if (end_fetched_) return nullptr;
  if (!wait_until(lock, timeout_seconds, [this] { return ended_ || !events_.empty(); })) return nullptr;
  if (events_.empty()) {
    end_fetched_ = true;
    return end_.get();
  }
  fetched_.show(std::move(events_.front()), seed_);
  events_.pop_front();
  return fetched_.get();
}

bool GenerationState::wait(double timeout_seconds) {
  Lock lock(mutex_);
  return wait_until(lock, timeout_seconds, [this] { return ended_; });
}

bool GenerationState::succeeded() {
  const Lock lock(mutex_);
  return settled_ && end_.get()->type == LAPIDARY_EVENT_END;
}

const lapidary_event* GenerationState::end() {
  const Lock lock(mutex_);
  return settled_ ? end_.get() : nullptr;
}

const std::string& GenerationState::message() {
  const Lock lock(mutex_);
  if (message_.empty()) message_ = dump(message_json(reply_));
  return message_;
}

// On the model's thread, which no exception may reach.
void GenerationState::take(GenerateEvent&& event) noexcept {
  const lapidary_event_type type = type_of(event);
  if (type == LAPIDARY_EVENT_END || type == LAPIDARY_EVENT_ERROR) return finish(std::move(event));
  try {
    if (failed_) return;
    for (std::string& warning : std::exchange(warnings_, {})) give(WarningEvent{std::move(warning)});
    collect(event);
    give(std::move(event));
  } catch (...) {
    failed_ = true;
    cancel();
  }
}

void GenerationState::collect(GenerateEvent& event) {
  if (const auto* text = std::get_if<TextDelta>(&event)) {
    text_ += text->text;
  } else if (const auto* thinking = std::get_if<ThinkingDelta>(&event)) {
    reply_.reasoning += thinking->text;
  } else if (auto* call = std::get_if<ToolCallEvent>(&event)) {
    if (call->call.id.empty()) call->call.id = fmt::format("call_{}", earlier_calls_ + reply_.tool_calls.size() + 1);
    reply_.tool_calls.push_back(call->call);
  }
}

void GenerationState::give(GenerateEvent&& event) {
  if (callback_ != nullptr) {
    EventView view;
    view.show(std::move(event), seed_);
    return call_back(*view.get());
  }
  const Lock lock(mutex_);
  events_.push_back(std::move(event));
  changed_.notify_all();
}

void GenerationState::call_back(const lapidary_event& event) noexcept {
  {
    const Lock lock(mutex_);
    if (closed_) return;
  }
  bool stop = false;
  try {
    const CallbackScope scope;
    stop = callback_(user_, &event) != 0;
  } catch (...) {  // a caller's own: it has no place here
    stop = true;
  }
  if (stop) cancel();
}

void GenerationState::finish(GenerateEvent&& event) noexcept {
  try {
    const auto* usage = std::get_if<UsageEvent>(&event);
    if (failed_ || usage == nullptr) {
      end_session(nullptr);
    } else {
      reply_.role = "assistant";
      reply_.content = text_;
      ids_ = usage->reply_ids;
      end_session(usage);
    }
    if (failed_)
      end_.show_out_of_memory();
    else
      end_.show(std::move(event), seed_);
  } catch (...) {
    end_session(nullptr);
    end_.show_out_of_memory();
  }
  {
    const Lock lock(mutex_);
    settled_ = true;
  }
  if (callback_ != nullptr) call_back(*end_.get());
  Ticket ticket;  // goes behind the lock
  const Lock lock(mutex_);
  ticket = std::move(ticket_);
  ended_ = true;
  changed_.notify_all();
}

// With the reply, if there is one.
void GenerationState::end_session(const UsageEvent* usage) {
  const std::scoped_lock lock(session_->mutex);
  SessionContent& content = session_->content;
  if (usage != nullptr && !ids_.empty()) {
    if (content.kind == SessionContent::Kind::conversation) {
      content.conversation.messages.push_back(reply_);
      content.turn_open = false;
    } else {
      PromptItem item;
      item.kind = PromptItem::Kind::ids;
      item.ids = ids_;
      content.prompt.push_back(std::move(item));
    }
  }
  session_->generating = false;
}

}  // namespace lapidary

using namespace lapidary;  // NOLINT(build/namespaces): the functions of the interface are global

extern "C" {

lapidary_status lapidary_generation_start(lapidary_session* session, const lapidary_generation_options* options,
                                          lapidary_generation** generation) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(session, "session"));
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    LAPIDARY_TRY(const lapidary_generation_options whole, read_struct(options, "lapidary_generation_options"));
    auto handle = std::make_unique<lapidary_generation>();
    handle->state = std::make_shared<GenerationState>(session->state, whole.callback, whole.user);
    LAPIDARY_CHECK(handle->state->start(*session->service, session->model, whole));
    *generation = handle.release();
    return {};
  });
}

lapidary_status lapidary_generation_close(lapidary_generation* generation) {
  return answer([&]() -> Result<void> {
    if (generation == nullptr) return {};
    generation->state->close();
    delete generation;
    return {};
  });
}

lapidary_status lapidary_generation_cancel(lapidary_generation* generation) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    generation->state->cancel();
    return {};
  });
}

lapidary_status lapidary_generation_next(lapidary_generation* generation, double timeout_seconds,
                                         const lapidary_event** event) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    LAPIDARY_CHECK(expect_given(event, "event"));
    if (std::isnan(timeout_seconds)) return wrong_use("timeout_seconds", "it is not a number");
    if (generation->state->has_callback()) return wrong_use("generation", "its events go to its callback");
    if (in_callback()) return wrong_use("lapidary_generation_next", "a callback must not wait");
    *event = generation->state->next(timeout_seconds);
    return {};
  });
}

lapidary_status lapidary_generation_wait(lapidary_generation* generation, double timeout_seconds) {
  lapidary_status ended = LAPIDARY_OK;
  const lapidary_status status = answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    if (std::isnan(timeout_seconds)) return wrong_use("timeout_seconds", "it is not a number");
    if (in_callback()) return wrong_use("lapidary_generation_wait", "a callback must not wait");
    if (!generation->state->wait(timeout_seconds)) {
      ended = remember_failure(LAPIDARY_TIMEOUT, "the generation has not ended in that time");
      return {};
    }
    const lapidary_event* end = generation->state->end();
    if (end->type == LAPIDARY_EVENT_ERROR) ended = remember_failure(end->status, end->text);
    return {};
  });
  return status == LAPIDARY_OK ? ended : status;
}

const char* lapidary_generation_text(lapidary_generation* generation, size_t* bytes) {
  const char* text = nullptr;
  answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    if (!generation->state->succeeded()) return wrong_use("generation", "it has not come to its end");
    text = generation->state->text().c_str();
    if (bytes != nullptr) *bytes = generation->state->text().size();
    return {};
  });
  return text;
}

const char* lapidary_generation_message(lapidary_generation* generation, size_t* bytes) {
  const char* text = nullptr;
  answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    if (!generation->state->succeeded()) return wrong_use("generation", "it has not come to its end");
    const std::string& message = generation->state->message();
    text = message.c_str();
    if (bytes != nullptr) *bytes = message.size();
    return {};
  });
  return text;
}

const int32_t* lapidary_generation_tokens(lapidary_generation* generation, size_t* count) {
  const int32_t* tokens = nullptr;
  answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    LAPIDARY_CHECK(expect_given(count, "count"));
    if (!generation->state->succeeded()) return wrong_use("generation", "it has not come to its end");
    tokens = generation->state->ids().data();
    *count = generation->state->ids().size();
    return {};
  });
  return tokens;
}

const lapidary_event* lapidary_generation_end(lapidary_generation* generation) {
  const lapidary_event* end = nullptr;
  answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(generation, "generation"));
    end = generation->state->end();
    return {};
  });
  return end;
}
}
