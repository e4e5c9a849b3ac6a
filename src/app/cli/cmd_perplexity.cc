// perplexity: how well a model foretells a text, alone or against another model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/system.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/open_model.h"
#include "cli/progress.h"
#include "engine/memory_plan.h"

namespace lapidary {
namespace {

constexpr uint64_t text_bytes_max = 1ULL << 30;

struct Distribution {
  const float* logits;
  int64_t size;
  float top;
  int64_t best;
  double log_sum;  // log of the sum of exp(logit - top)

  Distribution(const float* values, int64_t count) : logits(values), size(count), top(0), best(0), log_sum(0) {
    best = std::max_element(values, values + count) - values;
    top = values[best];
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(values[i]) - top);
    log_sum = std::log(sum);
  }
  double log_probability(int64_t token) const { return static_cast<double>(logits[token]) - top - log_sum; }
};

// sum of p * log(p / q)
double divergence(const Distribution& p, const Distribution& q) {
  double sum = 0;
  for (int64_t i = 0; i < p.size; ++i) {
    const double log_p = p.log_probability(i);
    sum += std::exp(log_p) * (log_p - q.log_probability(i));
  }
  return sum;
}

// The rows of a second model, computed in a thread of their own, in step with the first: either computes while the
// other waits, so they do not fight for the cores, and only one chunk's logits are held.
class RowsBeside {
 public:
  RowsBeside(Engine& engine, int64_t context, const TokenizedPrompt& prompt)
      : vocabulary_(engine.config().vocabulary),
        thread_([this, &engine, context, &prompt] { compute(engine, context, prompt); }) {}
  ~RowsBeside() {
    {
      const std::lock_guard lock(mutex_);
      abandoned_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  // Rows must be asked for in order. Valid until the next call.
  Result<const float*> row(int64_t index) {
    std::unique_lock lock(mutex_);
    wanted_ = index;
    changed_.notify_all();
    changed_.wait(lock, [&] { return finished_ || (rows_ != nullptr && index < first_ + count_); });
    if (error_) return std::unexpected(*error_);
    if (rows_ == nullptr) return fail(ErrorKind::refused, "model", fmt::format("no logits for token {}", index));
    return rows_ + (index - first_) * vocabulary_;
  }

 private:
  void compute(Engine& engine, int64_t context, const TokenizedPrompt& prompt) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return abandoned_ || wanted_ >= 0; });
      if (abandoned_) return;
    }
    Session session(engine, context);
    const auto result =
        session.evaluate(prompt, 0, [&](int64_t first, int64_t count, const float* logits) -> Result<void> {
          std::unique_lock lock(mutex_);
          rows_ = logits;
          first_ = first;
          count_ = count;
          changed_.notify_all();
          changed_.wait(lock, [&] { return abandoned_ || wanted_ >= first + count; });
          rows_ = nullptr;
          return abandoned_ ? Result<void>(fail(ErrorKind::cancelled, "model", "stopped")) : Result<void>{};
        });
    const std::lock_guard lock(mutex_);
    if (!result) error_ = result.error();
    finished_ = true;
    changed_.notify_all();
  }

  const int64_t vocabulary_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const float* rows_ = nullptr;
  int64_t first_ = 0, count_ = 0, wanted_ = -1;
  bool abandoned_ = false, finished_ = false;
  std::optional<Error> error_;
  std::thread thread_;  // last: it uses the others
};

bool compares(const PerplexityOptions& options) {
  return !options.against.empty() || options.against_kv != KvChoice::automatic;
}

struct Figures {
  int64_t tokens = 0, scored = 0;
  double nll = 0, nll_against = 0, divergence = 0;
  int64_t agreed = 0;
  double seconds = 0;
};

Result<TokenizedPrompt> read_text(const PerplexityOptions& options, const LoadedModel& model) {
  LAPIDARY_TRY(const std::string text, read_file(options.file, text_bytes_max));
  TokenizedPrompt prompt;
  if (const int32_t bos = model.tokenizer().find("<bos>"); bos >= 0) prompt.ids.push_back(bos);
  model.tokenizer().encode(text, SpecialParsing::off, prompt.ids);
  const int64_t most =
      std::min(options.tokens > 0 ? options.tokens : model.config().context_max, model.config().context_max);
  if (static_cast<int64_t>(prompt.ids.size()) > most) prompt.ids.resize(static_cast<size_t>(most));
  if (prompt.ids.size() < 2) return fail(ErrorKind::wrong_use, options.file, "the text is too short to measure");
  return prompt;
}

Result<void> check_same_vocabulary(const LoadedModel& a, const LoadedModel& b) {
  bool same = a.config().vocabulary == b.config().vocabulary && a.tokenizer().size() == b.tokenizer().size();
  for (int32_t id = 0; same && id < a.tokenizer().size(); ++id)
    same = a.tokenizer().piece(id) == b.tokenizer().piece(id);
  return same ? Result<void>{}
              : fail(ErrorKind::wrong_use, b.path(), "its vocabulary is another one: the two cannot be compared");
}

Result<Figures> measure(Engine& engine, const TokenizedPrompt& prompt, int64_t context, RowsBeside* against,
                        Console& console) {
  Figures figures;
  figures.tokens = static_cast<int64_t>(prompt.ids.size());
  const int64_t vocabulary = engine.config().vocabulary;
  const double begin = monotonic_seconds();
  ProgressLine progress(console, true);
  Session session(engine, context);
  const auto score_row = [&](int64_t index, const float* logits) -> Result<void> {
    if (index + 1 >= figures.tokens) return {};
    const int32_t next = prompt.ids[static_cast<size_t>(index) + 1];
    const Distribution ours(logits, vocabulary);
    figures.nll -= ours.log_probability(next);
    ++figures.scored;
    if (against == nullptr) return {};
    LAPIDARY_TRY(const float* row, against->row(index));
    const Distribution theirs(row, vocabulary);
    figures.nll_against -= theirs.log_probability(next);
    figures.divergence += divergence(ours, theirs);
    figures.agreed += ours.best == theirs.best;
    return {};
  };
  const auto score_rows = [&](int64_t first, int64_t rows, const float* logits) -> Result<void> {
    for (int64_t i = 0; i < rows; ++i) LAPIDARY_CHECK(score_row(first + i, logits + i * vocabulary));
    return {};
  };
  LAPIDARY_CHECK(session.evaluate(prompt, 0, score_rows, nullptr, [&](int64_t done, int64_t total) {
    progress.show("reading", done, total);
    return !interrupt_flag();
  }));
  figures.seconds = monotonic_seconds() - begin;
  return figures;
}

std::string report(const Figures& figures, const PerplexityOptions& options) {
  const auto scored = static_cast<double>(figures.scored);
  const double nll = figures.nll / scored, nll_against = figures.nll_against / scored;
  const double divergence = figures.divergence / scored, agreement = static_cast<double>(figures.agreed) / scored;
  if (options.json) {
    OrderedJson json = {
        {"tokens", figures.tokens}, {"scored", figures.scored}, {"nll_per_token", nll}, {"perplexity", std::exp(nll)}};
    if (compares(options)) {
      json["against_nll_per_token"] = nll_against;
      json["against_perplexity"] = std::exp(nll_against);
      json["kl_divergence"] = divergence;
      json["top1_agreement"] = agreement;
    }
    json["seconds"] = figures.seconds;
    return dump(json) + "\n";
  }
  std::string text =
      fmt::format("tokens         {} ({} scored, {:.1f} s)\nperplexity     {:.4f} ({:.6f} nats a token)\n",
                  figures.tokens, figures.scored, figures.seconds, std::exp(nll), nll);
  if (compares(options))
    text += fmt::format(
        "against        {:.4f} ({:.6f} nats a token)\nKL divergence  {:.6f} nats a token\ntop-1 the same {:.2f} %\n",
        std::exp(nll_against), nll_against, divergence, 100 * agreement);
  return text;
}

Result<void> perplexity(const PerplexityOptions& options, Console& console) {
  LAPIDARY_TRY(OpenedEngine opened, open_engine(options.model, options.engine, console));
  Engine& engine = *opened.engine;
  LAPIDARY_TRY(const TokenizedPrompt prompt, read_text(options, engine.model()));
  const auto tokens = static_cast<int64_t>(prompt.ids.size());
  LAPIDARY_TRY(const int64_t context, plan_context(engine, tokens, tokens, options.engine.force));
  std::optional<OpenedEngine> second;
  if (compares(options)) {
    const ModelChoice other = options.against.empty() ? options.model : ModelChoice{options.against, ""};
    EngineChoice other_engine = options.engine;
    if (options.against_kv != KvChoice::automatic) other_engine.kv = options.against_kv;
    LAPIDARY_TRY(second, open_engine(other, other_engine, console));
    LAPIDARY_CHECK(check_same_vocabulary(engine.model(), second->engine->model()));
    MemoryState rest = memory_state();
    const uint64_t first_bytes =
        plan_memory(engine.config(), engine.model().file_bytes(), engine.kv_type(), context).total_bytes();
    rest.available_bytes -= std::min(rest.available_bytes, first_bytes);
    if (!options.engine.force)
      LAPIDARY_CHECK(check_memory(second->engine->config(), second->engine->model().file_bytes(),
                                  second->engine->kv_type(), context, rest));
  }
  std::optional<RowsBeside> beside;
  if (second) beside.emplace(*second->engine, context, prompt);
  LAPIDARY_TRY(const Figures figures, measure(engine, prompt, context, beside ? &*beside : nullptr, console));
  console.print(report(figures, options));
  return {};
}

}  // namespace

ExitStatus perplexity_command(const PerplexityOptions& options, Console& console) {
  const auto done = perplexity(options, console);
  if (!done && done.error().kind == ErrorKind::cancelled) return ExitStatus::interrupted;
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
