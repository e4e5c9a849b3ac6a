// Requests come in by submit(), are read (rendered, tokenised, media decoded) on one thread, and computed on another.
#include "service/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/system.h"
#include "service/job.h"
#include "service/log_probability.h"
#include "service/model_shelf.h"

namespace lapidary {
namespace {

using JobPointer = std::shared_ptr<Job>;

// What a ticket may still touch when the service is gone.
struct Bell {
  std::mutex mutex;
  std::condition_variable rung;
  void ring() {
    const std::scoped_lock lock(mutex);
    rung.notify_all();
  }
};

// The model's own suppressed tokens, besides what the request names.
TurnOptions options_for(const GenerateRequest& request, const ModelConfig& config) {
  TurnOptions options = request.options;
  auto& suppress = options.sampler.suppress;
  suppress.insert(suppress.end(), config.generation.suppress_tokens.begin(), config.generation.suppress_tokens.end());
  return options;
}

GenerateEvent generate_event(TurnEvent&& event) {
  return std::visit([](auto&& value) { return GenerateEvent(std::forward<decltype(value)>(value)); }, std::move(event));
}

class ServiceThreads final : public Service {
 public:
  ServiceThreads(ServiceOptions options, std::unique_ptr<ModelShelf> shelf)
      : options_(std::move(options)), shelf_(std::move(shelf)), bell_(std::make_shared<Bell>()) {
    state_.slots = options_.slots;
    state_.slot_states.resize(1);
    reading_thread_ = std::thread([this] { read_requests(); });
    engine_thread_ = std::thread([this] { compute(); });
  }

  ~ServiceThreads() override {
    {
      const std::scoped_lock lock(bell_->mutex);
      closed_ = ending_ = true;
      for (const JobPointer& job : all_) job->cancelled = true;
      bell_->rung.notify_all();
    }
    reading_thread_.join();
    engine_thread_.join();
  }

  Result<Ticket> submit(GenerateRequest request, GenerateSink sink, double* retry_after_seconds) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(request.model));
    auto job = std::make_shared<Job>();
    job->request = std::move(request);
    job->sink = std::move(sink);
    job->model = model;
    job->submitted_seconds = monotonic_seconds();
    {
      const std::scoped_lock lock(bell_->mutex);
      if (closed_) return fail(ErrorKind::cancelled, "service", "it is ending and takes no more requests");
      const auto waiting = waiting_jobs();
      if (waiting >= options_.queue_max) {
        ++state_.refused;
        if (retry_after_seconds != nullptr) *retry_after_seconds = retry_after(waiting);
        return fail(ErrorKind::limit, "service", fmt::format("busy: {} requests are waiting already", waiting));
      }
      ++state_.requests;
      job->number = state_.requests;
      all_.push_back(job);
      unread_.push_back(job);
      bell_->rung.notify_all();
    }
    return Ticket([job, bell = bell_] {
      job->cancelled = true;
      bell->ring();
    });
  }

  Result<std::vector<int32_t>> prompt_ids(const GenerateRequest& request) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(request.model));
    LAPIDARY_TRY(const auto opened, shelf_->open(model));
    LAPIDARY_TRY(ReadPrompt read, read_prompt(request, *opened, 0));
    return std::move(read.decoded.ids);
  }

  Result<std::string> prompt_text(const GenerateRequest& request) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(request.model));
    LAPIDARY_TRY(const auto opened, shelf_->open(model));
    return read_prompt_text(request, *opened);
  }

  Result<std::vector<int32_t>> tokenize(const std::string& name, std::string_view text, bool special) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(name));
    LAPIDARY_TRY(const auto opened, shelf_->open(model));
    return opened->tokenizer().encode(text, special ? SpecialParsing::on : SpecialParsing::off);
  }

  Result<std::string> detokenize(const std::string& name, const std::vector<int32_t>& ids) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(name));
    LAPIDARY_TRY(const auto opened, shelf_->open(model));
    return opened->tokenizer().decode(ids, SpecialParsing::on);
  }

  std::vector<ModelInfo> models() override {
    std::vector<ModelInfo> all;
    for (size_t i = 0; i < shelf_->size(); ++i) all.push_back(info(i));
    return all;
  }

  Result<ModelInfo> model(const std::string& name) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(name));
    return info(model);
  }

  ServiceState state() override {
    const std::scoped_lock lock(bell_->mutex);
    ServiceState state = state_;
    state.running = static_cast<int32_t>(running_);
    state.waiting = static_cast<int32_t>(waiting_jobs());
    return state;
  }

  void drain(double seconds) override {
    std::unique_lock lock(bell_->mutex);
    closed_ = true;
    const auto quiet = [this] { return all_.empty(); };
    if (!bell_->rung.wait_for(lock, std::chrono::duration<double>(std::max(0.0, seconds)), quiet)) {
      for (const JobPointer& job : all_) job->cancelled = true;
      bell_->rung.notify_all();
      bell_->rung.wait(lock, quiet);
    }
  }

 private:
  struct Loaded {
    size_t model = 0;
    std::unique_ptr<Engine> engine;
    std::optional<Session> session;
  };

  int64_t waiting_jobs() const { return static_cast<int64_t>(all_.size()) - running_ - ending_jobs_; }

  ModelInfo info(size_t index) {
    ModelInfo info = shelf_->info(index);
    const std::scoped_lock lock(bell_->mutex);
    info.loaded = loaded_model_ == index;
    info.expires_seconds = -1;
    return info;
  }

  // Seconds until a place in the queue is likely to be free.
  double retry_after(int64_t waiting) const {
    const double each = finished_ > 0 ? busy_seconds_ / static_cast<double>(finished_) : 1.0;
    return std::clamp(each * static_cast<double>(waiting) / 4 / options_.slots, 1.0, 60.0);
  }

  static std::deque<JobPointer>::iterator first_of(std::deque<JobPointer>& jobs) {
    return std::ranges::min_element(jobs, [](const auto& a, const auto& b) { return goes_before(*a, *b); });
  }

  void read_requests() {
    std::unique_lock lock(bell_->mutex);
    while (true) {
      bell_->rung.wait(lock, [this] {
        return ending_ || (!unread_.empty() && static_cast<int32_t>(ready_.size()) <= options_.slots);
      });
      if (unread_.empty()) return;
      const auto next = first_of(unread_);
      JobPointer job = *next;
      unread_.erase(next);
      lock.unlock();
      if (!job->stopped()) read(*job);
      lock.lock();
      ready_.push_back(std::move(job));
      bell_->rung.notify_all();
    }
  }

  void read(Job& job) {
    auto opened = shelf_->open(job.model);
    if (!opened) {
      job.read = std::unexpected(std::move(opened).error());
      return;
    }
    job.opened = std::move(*opened);
    job.read = read_prompt(job.request, *job.opened, shelf_->info(job.model).context);
  }

  void compute() {
    std::unique_lock lock(bell_->mutex);
    while (true) {
      bell_->rung.wait(lock, [this] { return !ready_.empty() || (ending_ && all_.empty()); });
      if (ready_.empty()) return;
      const auto next = first_of(ready_);
      JobPointer job = *next;
      ready_.erase(next);
      running_ = 1;
      bell_->rung.notify_all();
      lock.unlock();
      const double begin = monotonic_seconds();
      GenerateEvent last = UsageEvent{};
      auto usage = run(*job);
      if (usage)
        last = std::move(*usage);
      else
        last = std::move(usage).error();
      lock.lock();
      if (job->stopped())
        ++state_.cancelled;
      else if (std::holds_alternative<Error>(last))
        ++state_.failed;
      ++finished_;
      busy_seconds_ += monotonic_seconds() - begin;
      running_ = 0;
      ending_jobs_ = 1;
      lock.unlock();
      job->sink(std::move(last));
      lock.lock();
      ending_jobs_ = 0;
      std::erase(all_, job);
      bell_->rung.notify_all();
    }
  }

  Result<UsageEvent> run(Job& job) {
    if (job.stopped()) return fail(ErrorKind::cancelled, "request", "stopped");
    UsageEvent nothing;
    nothing.reason = StopReason::length;
    if (job.late(monotonic_seconds())) return nothing;
    if (!*job.read) return std::unexpected(std::move(*job.read).error());
    ReadPrompt& read = **job.read;
    LAPIDARY_CHECK(load(job));
    Engine& engine = *loaded_.engine;
    Session& session = *loaded_.session;

    TokenizedPrompt prompt{std::move(read.decoded.ids), {}};
    for (const DecodedPrompt::Medium& medium : read.decoded.media) {
      LAPIDARY_TRY(SoftBlock block, embed_medium(*medium.decoded, engine));
      block.first = medium.first;
      prompt.blocks.push_back(std::move(block));
      job.sink(MediaEvent(medium.decoded->event));
    }
    if (read.dropped_messages > 0) job.sink(TruncatedEvent{read.dropped_messages});

    const double begin = monotonic_seconds();
    const Tokenizer& tokenizer = job.opened->tokenizer();
    session.checkpoint_at(read.format == ChatFormat::none ? -1 : stable_length(prompt.ids, tokenizer));
    bool late = false;
    const auto done = session.set_prompt(prompt, [&](int64_t tokens, int64_t total) {
      job.sink(ProgressEvent{tokens, total});
      late = job.late(monotonic_seconds());
      return !job.stopped() && !late;
    });
    if (!done && late && !job.stopped()) return nothing;
    LAPIDARY_CHECK(done);
    const PromptEvent event{static_cast<int64_t>(prompt.ids.size()), session.reused(), monotonic_seconds() - begin};
    job.sink(PromptEvent(event));
    {
      const std::scoped_lock lock(bell_->mutex);
      state_.prompt_tokens += static_cast<uint64_t>(event.tokens);
      state_.reused_tokens += static_cast<uint64_t>(event.reused);
      state_.prompt_seconds += event.seconds;
    }

    ReplyGeneration reply(tokenizer, engine.config(), options_for(job.request, engine.config()), read.format,
                          read.inside_thought,
                          [&](TurnEvent&& part) { held_.push_back(generate_event(std::move(part))); });
    while (reply.wants_token()) {
      if (job.stopped()) reply.stop(StopReason::interrupted);
      if (job.late(monotonic_seconds())) reply.stop(StopReason::length);
      if (reply.stopped()) break;
      LAPIDARY_TRY(const int32_t token, reply.next(session.logits()));
      if (job.request.top_logprobs >= 0)
        job.sink(token_event(session.logits(), token, job.request.top_logprobs, tokenizer));
      give_out(job);
      if (reply.stopped()) break;
      if (session.length() >= session.context()) reply.stop(StopReason::context);
      if (!reply.wants_token()) break;
      LAPIDARY_CHECK(session.append(token));
    }
    reply.finish();
    give_out(job);
    UsageEvent& usage = reply.usage();
    usage.prompt_tokens = event.tokens;
    usage.reused_tokens = event.reused;
    usage.prompt_seconds = event.seconds;
    {
      const std::scoped_lock lock(bell_->mutex);
      state_.reply_tokens += static_cast<uint64_t>(usage.reply_tokens);
      state_.reply_seconds += usage.reply_seconds;
    }
    return std::move(usage);
  }

  // What the last token gave, after the token itself.
  void give_out(Job& job) {
    for (GenerateEvent& event : held_) job.sink(std::move(event));
    held_.clear();
  }

  Result<void> load(const Job& job) {
    if (loaded_.engine != nullptr && loaded_.model == job.model) return {};
    loaded_ = {};
    EngineOptions engine_options;
    engine_options.threads = options_.threads;
    engine_options.kernels = options_.kernels;
    engine_options.kv = shelf_->kv_type();
    loaded_.model = job.model;
    LAPIDARY_TRY(loaded_.engine, Engine::create(job.opened, engine_options));
    loaded_.session.emplace(*loaded_.engine, shelf_->info(job.model).context);
    const std::scoped_lock lock(bell_->mutex);
    loaded_model_ = job.model;
    return {};
  }

  const ServiceOptions options_;
  const std::unique_ptr<ModelShelf> shelf_;
  const std::shared_ptr<Bell> bell_;  // its mutex guards what follows
  ServiceState state_;
  std::vector<JobPointer> all_;  // until their last event has been given out
  std::deque<JobPointer> unread_, ready_;
  int64_t running_ = 0, ending_jobs_ = 0;  // of all_
  std::optional<size_t> loaded_model_;
  bool closed_ = false, ending_ = false;
  uint64_t finished_ = 0;
  double busy_seconds_ = 0;

  Loaded loaded_;                    // the engine's thread
  std::vector<GenerateEvent> held_;  // the engine's thread
  std::thread reading_thread_, engine_thread_;
};

}  // namespace

Result<std::unique_ptr<Service>> Service::start(ServiceOptions options) {
  LAPIDARY_TRY(auto shelf, ModelShelf::create(options));
  return std::make_unique<ServiceThreads>(std::move(options), std::move(shelf));
}

}  // namespace lapidary
