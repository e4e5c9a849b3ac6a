#include "cli/text_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/system.h"
#include "base/terminal.h"
#include "cli/progress.h"

namespace lapidary {
namespace {

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

}  // namespace

Result<void> check_same_vocabulary(const LoadedModel& a, const LoadedModel& b) {
  bool same = a.config().vocabulary == b.config().vocabulary && a.tokenizer().size() == b.tokenizer().size();
  for (int32_t id = 0; same && id < a.tokenizer().size(); ++id)
    same = a.tokenizer().piece(id) == b.tokenizer().piece(id);
  return same ? Result<void>{}
              : fail(ErrorKind::wrong_use, b.path(), "its vocabulary is another one: the two cannot be compared");
}

Result<TextScore> score_text(Engine& engine, const TokenizedPrompt& prompt, int64_t context, Engine* other,
                             Console& console) {
  std::optional<RowsBeside> against;
  if (other != nullptr) against.emplace(*other, context, prompt);
  TextScore figures;
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
    if (!against) return {};
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

}  // namespace lapidary
