// When is it worth to let the model check guesses, and how many? What a call costs and how often guesses are right is
// measured while writing. No model in here: numbers in, a number out.
//
// The rule: as many guesses as make the expected tokens a second highest, but never so many that, were all of them
// wrong, more time would be lost than there is credit for. The credit begins at 0.3 of a plain step, grows by a
// hundredth of each, and by what right guesses save; what wrong ones cost goes off it. So writing takes at most a
// hundredth longer than without, and that part of a step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lapidary {

// Tokens in one call: the one that is certain and the guesses.
inline constexpr int32_t draft_rows_max = 33;

// Seconds that a call with 1 … draft_rows_max rows takes here and now.
class StepTimes {
 public:
  void add(int32_t rows, double seconds);
  // The median of the last few; between measured counts interpolated, above them extrapolated on the dear side. 0 as
  // long as one row has not been measured often enough.
  double at(int32_t rows) const;
  // What a row costs where arithmetic is the limit, as reading a prompt shows: an upper bound for each further row,
  // until it is measured.
  void expect_row(double seconds) { row_seconds_ = seconds; }
  // How many calls ago one with `rows` was measured.
  int64_t age(int32_t rows) const { return calls_ - counts_[static_cast<size_t>(rows)].used; }

 private:
  static constexpr size_t kept = 5;
  static constexpr int64_t age_max = 512;  // calls after which a count that was not used is measured anew
  struct Count {
    std::array<double, kept> last{};
    size_t filled = 0, next = 0;
    int64_t used = 0;
    double median = 0;
  };
  bool known(int32_t rows) const;
  std::array<Count, draft_rows_max + 1> counts_;
  int64_t calls_ = 0;
  double row_seconds_ = 0;  // 0: nothing is known
};

// How often guesses are right, by how sure their source was: a running mean over about the last hundred of a grade,
// which begins at what is usual.
class Acceptance {
 public:
  explicit Acceptance(std::vector<double> usual);
  void add(size_t grade, bool right);
  double at(size_t grade) const { return means_[grade]; }
  // What was seen counts a little less: called while nothing is.
  void fade(size_t grade);

 private:
  std::vector<double> usual_, means_, weights_;
};

class DraftPolicy {
 public:
  // How many guesses to have checked in the call that computes `certain` tokens anyway, if `right[i]` is the chance of
  // the i-th, given that all before it were right. 0: none. guess_seconds: what making one costs. The tokens a second
  // that this promises tell which of two sources to ask.
  struct Plan {
    size_t depth = 0;
    double tokens_per_s = 0;
  };
  Plan plan(int32_t certain, const std::vector<double>& right, double guess_seconds = 0) const;
  // What came of it: a call with `certain` tokens and `guesses` more, of which `right` were right. seconds: of the
  // call; guess_seconds: of making the guesses, all of them.
  void add(int32_t certain, int32_t guesses, int32_t right, double seconds, double guess_seconds = 0);
  StepTimes& times() { return times_; }
  const StepTimes& times() const { return times_; }
  double credit_seconds() const { return credit_; }

 private:
  StepTimes times_;
  double credit_ = 0;
  bool begun_ = false;
  bool failed_ = false;  // the last guesses, all of them
};

}  // namespace lapidary
