// Requests come in by submit(), are read (rendered, tokenised, media decoded) on two threads and computed on a third.
#include "service/service.h"

#include <algorithm>
#include <thread>

#include "base/system.h"
#include "service/job_queue.h"
#include "service/model_shelf.h"
#include "service/prompt_reader.h"
#include "service/scheduler.h"

namespace lapidary {
namespace {

class ServiceThreads final : public Service {
 public:
  ServiceThreads(ServiceOptions options, std::unique_ptr<ModelShelf> shelf)
      : options_(std::move(options)),
        shelf_(std::move(shelf)),
        queue_(std::make_shared<JobQueue>(options_.slots, options_.queue_max)) {
    try {
      start_threads();
    } catch (...) {  // the system has no more of them
      end_threads();
      throw;
    }
  }

  ~ServiceThreads() override { end_threads(); }

  Result<Ticket> submit(GenerateRequest request, GenerateSink sink, double* retry_after_seconds) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(request.model));
    auto job = std::make_shared<Job>();
    job->request = std::move(request);
    job->sink = std::move(sink);
    job->model = model;
    job->submitted_seconds = monotonic_seconds();
    // The queue outlives the service as long as there are tickets. Made first: a job without one must not run.
    Ticket ticket([job, queue = queue_] {
      job->cancelled = true;
      queue->ring();
    });
    LAPIDARY_CHECK(queue_->push(job, retry_after_seconds));
    return ticket;
  }

  Result<std::vector<int32_t>> prompt_ids(const GenerateRequest& request) override {
    LAPIDARY_TRY(const auto opened, open(request.model));
    LAPIDARY_TRY(ReadPrompt read, read_prompt(request, *opened, 0));
    return std::move(read.decoded.ids);
  }

  Result<std::string> prompt_text(const GenerateRequest& request) override {
    LAPIDARY_TRY(const auto opened, open(request.model));
    return read_prompt_text(request, *opened);
  }

  Result<std::vector<int32_t>> tokenize(const std::string& model, std::string_view text, bool special) override {
    LAPIDARY_TRY(const auto opened, open(model));
    return opened->tokenizer().encode(text, special ? SpecialParsing::on : SpecialParsing::off);
  }

  Result<std::string> detokenize(const std::string& model, const std::vector<int32_t>& ids) override {
    LAPIDARY_TRY(const auto opened, open(model));
    return opened->tokenizer().decode(ids, SpecialParsing::on);
  }

  std::vector<ModelInfo> models() override {
    std::vector<ModelInfo> all;
    for (size_t i = 0; i < shelf_->size(); ++i) all.push_back(shelf_->info_now(i));
    return all;
  }

  Result<ModelInfo> model(const std::string& name) override {
    LAPIDARY_TRY(const size_t model, shelf_->find(name));
    return shelf_->info_now(model);
  }

  ServiceState state() override { return queue_->state(); }
  void drain(double seconds) override { queue_->drain(seconds); }

 private:
  void start_threads() {
    // An hour of sound that the background sent does not keep a question from being read.
    for (const bool only_interactive : {true, false})
      reading_threads_.emplace_back([this, only_interactive] {
        while (JobPointer job = queue_->next_to_read(only_interactive)) {
          if (!job->stopped()) read(*job);
          queue_->was_read(std::move(job));
        }
      });
    engine_thread_ = std::thread([this] { Scheduler(options_, *shelf_, *queue_).run(); });
  }

  void end_threads() {
    queue_->end();
    for (std::thread& thread : reading_threads_) thread.join();
    if (engine_thread_.joinable()) engine_thread_.join();
  }

  Result<std::shared_ptr<const LoadedModel>> open(const std::string& name) {
    LAPIDARY_TRY(const size_t model, shelf_->find(name));
    return shelf_->open(model);
  }

  void read(Job& job) {
    auto opened = shelf_->open(job.model);
    if (!opened) {
      job.read = std::unexpected(std::move(opened).error());
      return;
    }
    job.opened = std::move(*opened);
    job.read = read_prompt(job.request, *job.opened, shelf_->info(job.model).context);
    if (*job.read)
      if (auto constrained = constrain(job); !constrained) job.read = std::unexpected(std::move(constrained).error());
  }

  Result<void> constrain(Job& job) {
    GenerateRequest& request = job.request;
    const auto& tools = request.conversation.tools;
    const bool formed =
        request.form.kind != ReplyForm::Kind::any || !tools.empty() || request.form.tool_choice == ToolChoice::required;
    if (request.options.constraint == nullptr && !formed) return {};
    const std::shared_ptr<ConstraintShelf> constraints = shelf_->constraints(job.model, job.opened);
    if (request.options.constraint == nullptr) {
      LAPIDARY_TRY(ReplyGrammar made, constraints->grammar(request.form, tools));
      request.options.constraint = std::move(made.grammar);
      job.warnings = std::move(made.warnings);
      request.options.thought_first = request.conversation.think;
    }
    if (request.options.constraint_tokens == nullptr) request.options.constraint_tokens = constraints->tokens();
    return {};
  }

  const ServiceOptions options_;
  const std::unique_ptr<ModelShelf> shelf_;
  const std::shared_ptr<JobQueue> queue_;
  std::vector<std::thread> reading_threads_;
  std::thread engine_thread_;
};

}  // namespace

Result<std::unique_ptr<Service>> Service::start(ServiceOptions options) {
  LAPIDARY_TRY(auto shelf, ModelShelf::create(options));
  return std::make_unique<ServiceThreads>(std::move(options), std::move(shelf));
}

}  // namespace lapidary
