#include "engine/draft_policy.h"

#include <algorithm>

namespace lapidary {
namespace {

constexpr size_t single_rows_wanted = 3;  // calls with one row before its time counts as known
// Of a call with one row, what each further one costs: until it is measured, and beyond what is measured.
constexpr double row_cost_guessed = 0.3, row_cost_least = 0.1;
constexpr double gain_min = 1.05;  // a plan must promise this much: times are noisy
constexpr double credit_share = 0.01, credit_first = 0.3, credit_most = 4;  // in calls with one row
constexpr double observations_kept = 100, usual_weight = 2;
constexpr double fading = 0.005;
constexpr int64_t single_age_max = 8;  // calls after which a plain one is due, if guesses fail

}  // namespace

void StepTimes::add(int32_t rows, double seconds) {
  if (rows < 1 || rows > draft_rows_max) return;
  ++calls_;
  Count& count = counts_[static_cast<size_t>(rows)];
  if (rows > 1 && !known(rows)) count = {};
  count.last[count.next] = seconds;
  count.next = (count.next + 1) % kept;
  count.filled = std::min(kept, count.filled + 1);
  count.used = calls_;
  std::array<double, kept> sorted = count.last;
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(count.filled);
  std::sort(sorted.begin(), end);
  count.median = sorted[(count.filled - 1) / 2];
}

bool StepTimes::known(int32_t rows) const {
  const Count& count = counts_[static_cast<size_t>(rows)];
  if (rows == 1) return count.filled >= single_rows_wanted;
  return count.filled > 0 && calls_ - count.used <= age_max;
}

double StepTimes::at(int32_t rows) const {
  if (!known(1)) return 0;
  rows = std::min(rows, draft_rows_max);
  // The nearest counts that are known. A call takes no less than one with fewer rows and no more than one with more:
  // what says otherwise is noise.
  int32_t below = 1, above = 0;
  double low = counts_[1].median, high = 0;
  for (int32_t i = 2; i <= draft_rows_max; ++i) {
    if (!known(i)) continue;
    const double median = std::max(counts_[1].median, counts_[static_cast<size_t>(i)].median);
    if (i <= rows) {
      below = i;
      low = median;
    } else {
      if (above == 0) above = i;
      high = high == 0 ? median : std::min(high, median);
    }
  }
  if (above > 0) {
    low = std::min(low, high);
    return low + (high - low) * (rows - below) / (above - below);
  }
  const double one = counts_[1].median;
  const double slope = below > 1 ? std::max(row_cost_least * one, (low - one) / (below - 1))
                                 : (row_seconds_ > 0 ? row_seconds_ : row_cost_guessed * one);
  return low + slope * (rows - below);
}

Acceptance::Acceptance(std::vector<double> usual)
    : usual_(std::move(usual)), means_(usual_), weights_(means_.size(), usual_weight) {}

void Acceptance::add(size_t grade, bool right) {
  weights_[grade] = std::min(observations_kept, weights_[grade] + 1);
  means_[grade] += ((right ? 1.0 : 0.0) - means_[grade]) / weights_[grade];
}

void Acceptance::fade(size_t grade) { means_[grade] += fading * (usual_[grade] - means_[grade]); }

DraftPolicy::Plan DraftPolicy::plan(int32_t certain, const std::vector<double>& right, double guess_seconds) const {
  const double one = times_.at(1);
  if (one <= 0 || certain < 1 || (failed_ && times_.age(1) > single_age_max)) return {};
  const double anyway = times_.at(certain);
  size_t best = 0;
  double best_rate = gain_min / one, chance = 1, tokens = 1;
  for (size_t n = 1; n <= right.size() && certain + static_cast<int32_t>(n) <= draft_rows_max; ++n) {
    chance *= right[n - 1];
    tokens += chance;
    const double more = times_.at(certain + static_cast<int32_t>(n)) - anyway + guess_seconds * static_cast<double>(n);
    if (more > credit_) break;
    if (tokens / (one + more) > best_rate) {
      best = n;
      best_rate = tokens / (one + more);
    }
  }
  return {best, best_rate};
}

void DraftPolicy::add(int32_t certain, int32_t guesses, int32_t right, double seconds, double guess_seconds) {
  if (certain == 1) times_.add(certain + guesses, seconds);
  if (guesses > 0) failed_ = right == 0;
  const double one = times_.at(1);
  if (one <= 0) return;
  if (!begun_) credit_ = credit_first * one;
  begun_ = true;
  credit_ += credit_share * one - guess_seconds;
  if (guesses > 0) credit_ += times_.at(certain) + right * one - seconds;
  credit_ = std::min(credit_, credit_most * one);
}

}  // namespace lapidary
