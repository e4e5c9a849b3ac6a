#include "serve/generation.h"

#include <fmt/format.h>

#include "base/system.h"

namespace lapidary {

void Generations::ping_silent(double silent_seconds) {
  const double now = monotonic_seconds();
  const std::set<Generation*> running = running_;
  for (Generation* generation : running) {
    if (!generation->translator_->streams() || now - generation->last_sent_seconds_ < silent_seconds) continue;
    const std::string ping = generation->translator_->ping();
    if (ping.empty()) continue;
    std::string out;
    generation->begin(out);
    generation->send(out + ping);
  }
}

std::shared_ptr<Generation> Generation::start(Service& service, Generations& registry,
                                              std::shared_ptr<Exchange> exchange, GenerationPlan plan) {
  const size_t at_once = plan.at_once;
  const std::shared_ptr<Generation> generation(new Generation(service, registry, std::move(exchange), std::move(plan)));
  for (size_t i = 0; i < at_once; ++i) generation->submit_next();
  if (!generation->finished_) generation->exchange_->on_gone([generation] { generation->cancel(); });
  return generation;
}

Generation::Generation(Service& service, Generations& registry, std::shared_ptr<Exchange> exchange, GenerationPlan plan)
    : service_(&service),
      registry_(&registry),
      exchange_(std::move(exchange)),
      translator_(std::move(plan.translator)),
      requests_(std::move(plan.requests)),
      ended_(requests_.size()),
      left_(requests_.size()),
      tells_progress_(exchange_->request().header("x-lapidary-progress") == "1"),
      last_sent_seconds_(monotonic_seconds()) {
  registry_->running_.insert(this);
}

Generation::~Generation() { registry_->running_.erase(this); }

void Generation::submit_next() {
  if (finished_ || submitted_ == requests_.size()) return;
  const size_t choice = submitted_++;
  double retry_after_seconds = 0;
  auto ticket = service_->submit(
      std::move(requests_[choice]),
      [self = shared_from_this(), choice](GenerateEvent&& event) {
        self->exchange_->post(
            [self, choice, event = std::move(event)]() mutable { self->on_event(choice, std::move(event)); });
      },
      &retry_after_seconds);
  if (ticket)
    tickets_.push_back(std::move(*ticket));
  else
    on_error(submission_error(ticket.error(), retry_after_seconds));
}

// The events that are still to come find it finished.
void Generation::cancel() {
  finished_ = true;
  tickets_.clear();
  registry_->running_.erase(this);
}

void Generation::begin(std::string& out) {
  if (begun_) return;
  begun_ = true;
  HttpReply head;
  head.content_type = translator_->content_type();
  head.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
  add_warnings(head);
  exchange_->begin_stream(std::move(head));
  translator_->begin(out);
}

// What a reply is not held to is said in a header, which no client trips over.
void Generation::add_warnings(HttpReply& reply) const {
  if (warnings_.empty()) return;
  constexpr size_t header_bytes_max = 1000;
  std::string value = warnings_.substr(0, header_bytes_max);
  for (char& c : value)
    if (c < ' ' || c > '~') c = '?';
  reply.headers.emplace_back("X-Lapidary-Warning", std::move(value));
}

void Generation::send(std::string out) {
  if (out.empty()) return;
  last_sent_seconds_ = monotonic_seconds();
  exchange_->send(std::move(out));
}

void Generation::on_progress(const ProgressEvent& progress) {
  if (!tells_progress_ || !translator_->streams() || translator_->content_type() != "text/event-stream") return;
  std::string out;
  begin(out);
  out += fmt::format("event: lapidary.progress\ndata: {{\"type\":\"lapidary.progress\",\"done\":{},\"total\":{}}}\n\n",
                     progress.done, progress.total);
  send(std::move(out));
}

void Generation::on_error(const ApiError& error) {
  if (!begun_) {
    exchange_->reply(translator_->error(error));
  } else {
    std::string out;
    translator_->stream_error(error, out);
    send(std::move(out));
    exchange_->end_stream();
  }
  cancel();
}

void Generation::on_event(size_t choice, GenerateEvent&& event) {
  if (finished_ || ended_[choice]) return;
  if (const auto* progress = std::get_if<ProgressEvent>(&event)) return on_progress(*progress);
  if (const auto* warning = std::get_if<WarningEvent>(&event)) {
    if (choice == 0) warnings_ += (warnings_.empty() ? "" : "; ") + warning->text;
    return;
  }
  if (const auto* error = std::get_if<Error>(&event)) return on_error(ApiError(*error));
  const bool last = std::holds_alternative<UsageEvent>(event);
  std::string out;
  if (translator_->streams()) begin(out);
  translator_->event(choice, event, out);
  if (last) {
    ended_[choice] = true;
    if (--left_ == 0) translator_->end(out);
    submit_next();
  }
  if (translator_->streams()) send(std::move(out));
  if (left_ == 0) finish();
}

void Generation::finish() {
  if (translator_->streams()) {
    exchange_->end_stream();
  } else {
    HttpReply reply = translator_->whole();
    add_warnings(reply);
    exchange_->reply(std::move(reply));
  }
  cancel();
}

}  // namespace lapidary
