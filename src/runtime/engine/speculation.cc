#include "engine/speculation.h"

#include <algorithm>

#include "base/system.h"

namespace lapidary {
namespace {

// Grades of a match, by its length; a longer one is right more often.
constexpr size_t grade_lengths[] = {1, 2, 3, 4, 6, 9, 17, 33};
const std::vector<double> usual_by_length = {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95};

// Grades of a drafter's guess, by how far its logit is above the second's.
constexpr float grade_gaps[] = {0.0F, 0.5F, 1.0F, 2.0F, 3.0F, 4.5F, 7.0F};
const std::vector<double> usual_by_gap = {0.3, 0.4, 0.5, 0.65, 0.75, 0.85, 0.95};
constexpr double usual_drafter_acceptance = 0.6;
constexpr size_t drafter_guesses_max = 12;
constexpr double guess_time_share = 0.2;    // of the newest in the running mean of what a guess takes
constexpr double guess_time_fading = 0.02;  // a step in which none was made

constexpr int64_t read_tokens_telling = 64;  // in a shorter prompt, memory may be the limit

size_t gap_grade_of(float gap) {
  return static_cast<size_t>(
      std::max<std::ptrdiff_t>(
          1, std::upper_bound(std::begin(grade_gaps), std::end(grade_gaps), gap) - std::begin(grade_gaps)) -
      1);
}

size_t grade_of(size_t length) {
  return static_cast<size_t>(std::upper_bound(std::begin(grade_lengths), std::end(grade_lengths), length) -
                             std::begin(grade_lengths)) -
         1;
}

}  // namespace

Speculation::Speculation(Engine& engine)
    : engine_(engine), copies_(usual_by_length), drafter_({usual_drafter_acceptance}), drafter_gaps_(usual_by_gap) {}

bool Speculation::is_stop(int32_t token) const {
  return std::ranges::find(engine_.config().generation.stop_tokens, token) !=
         engine_.config().generation.stop_tokens.end();
}

void Speculation::begin(std::span<const int32_t> tokens, int64_t read, double read_seconds) {
  if (read >= read_tokens_telling) policy_.times().expect_row(read_seconds / static_cast<double>(read));
  counts_ = {};
  asked_ = {};
  seen_.clear();
  for (const int32_t token : tokens) seen_.push(token);
}

// What the match foretold is compared with what came, whether it was tried or not: that costs nothing.
void Speculation::push(int32_t token) {
  if (const auto match = seen_.match(); match.length > 0)
    copies_.add(grade_of(match.length), seen_.text()[match.next] == token);
  seen_.push(token);
}

// How the longest match goes on, with the chance of each token.
std::vector<int32_t> Speculation::copy(size_t most, std::vector<double>& right) const {
  std::vector<int32_t> guesses;
  const auto match = seen_.match();
  const auto text = seen_.text();
  for (size_t i = 0; match.length > 0 && i < most; ++i) {
    // Where the copy reaches the end of the text, it goes on with itself: a text that repeats a short piece.
    const size_t at = match.next + i;
    const int32_t token = at < text.size() ? text[at] : guesses[at - text.size()];
    // Nothing is written after a stop, so it need not be computed.
    if (is_stop(token)) break;
    guesses.push_back(token);
    right.push_back(copies_.at(grade_of(match.length + i)));
  }
  return guesses;
}

void Speculation::draft(const Session& session, std::span<const int32_t> taken) {
  const auto certain = static_cast<int32_t>(taken.size());
  const auto room =
      static_cast<size_t>(std::clamp<int64_t>(session.context() - session.length() - certain, 0, draft_rows_max - 1));
  if (asked_.first >= 0) {  // a guess that was not computed is judged by the token that came
    drafter_.add(0, asked_.first == taken.front());
    drafter_gaps_.add(asked_.grades.front(), asked_.first == taken.front());
  }
  asked_ = {};
  std::vector<double> right;
  guesses_ = copy(room, right);
  const DraftPolicy::Plan copying = policy_.plan(certain, right);
  // The drafter needs the state before the token that it follows, so it comes after one alone.
  if (engine_.drafter() != nullptr && certain == 1) {
    const std::vector<double> usual(std::min(room, drafter_guesses_max), drafter_.at(0));
    const DraftPolicy::Plan asking = policy_.plan(certain, usual, guess_seconds_);
    if (always_ > 0 ? guesses_.empty() : asking.depth > 0 && asking.tokens_per_s > copying.tokens_per_s) {
      guesses_ = ask_drafter(session, taken[0], usual.size());
      return;
    }
    if (copying.depth == 0) drafter_.fade(0);
    guess_seconds_ *= 1 - guess_time_fading;  // the first guess may have waited for the disk
  }
  guesses_.resize(std::min(guesses_.size(), always_ > 0 ? always_ : copying.depth));
}

// One guess after the other, as long as the next promises more than it costs.
std::vector<int32_t> Speculation::ask_drafter(const Session& session, int32_t taken, size_t most) {
  std::vector<int32_t> guesses;
  std::vector<double> right;
  const double begin = monotonic_seconds();
  const StepTimes& times = policy_.times();
  engine_.drafter()->begin(session.cache(), taken, session.state());
  double chance = 1;
  while (guesses.size() < most) {
    const auto rows = static_cast<int32_t>(guesses.size()) + 1;
    const double cost = times.at(rows + 1) - times.at(rows) + guess_seconds_;
    if (always_ > 0 ? guesses.size() == always_ : !guesses.empty() && chance * times.at(1) < cost) break;
    const Drafter::Guess guess = engine_.drafter()->next();
    if (asked_.first < 0) asked_.first = guess.token;
    asked_.grades.push_back(gap_grade_of(guess.gap));
    if (is_stop(guess.token)) break;
    guesses.push_back(guess.token);
    right.push_back(drafter_gaps_.at(asked_.grades.back()));
    chance *= right.back();
  }
  asked_.seconds = monotonic_seconds() - begin;
  const double each = asked_.seconds / static_cast<double>(asked_.grades.size());
  guess_seconds_ +=
      guess_seconds_ == 0 ? each : guess_time_share * (std::min(each, 2 * guess_seconds_) - guess_seconds_);
  if (always_ == 0) guesses.resize(policy_.plan(1, right).depth);
  return guesses;
}

void Speculation::checked(size_t certain, size_t guesses, size_t right, double seconds) {
  counts_.drafted += static_cast<int64_t>(guesses);
  counts_.accepted += static_cast<int64_t>(right);
  for (size_t i = 0; i < std::min(guesses, right + 1) && i < asked_.grades.size(); ++i) {
    drafter_.add(0, i < right);
    drafter_gaps_.add(asked_.grades[i], i < right);
  }
  policy_.add(static_cast<int32_t>(certain), static_cast<int32_t>(guesses), static_cast<int32_t>(right), seconds,
              asked_.seconds);
  if (guesses > 0) asked_ = {};
}

Result<void> write_tokens(Session& session, Speculation* speculation, const NextTokens& next) {
  const auto room = [&](int64_t used) { return session.context() - used; };
  if (speculation != nullptr) speculation->guesses_.clear();
  LAPIDARY_TRY(std::vector<int32_t> tokens, next(session.logits(), room(session.length())));
  while (!tokens.empty()) {
    // `tokens` were taken, but are not in the session yet. Guesses go behind them.
    const size_t certain = tokens.size();
    std::span<const int32_t> guesses;
    if (speculation != nullptr) {
      for (const int32_t token : tokens) speculation->push(token);
      speculation->draft(session, tokens);
      guesses = speculation->guesses_;
      tokens.insert(tokens.end(), guesses.begin(), guesses.end());
    }
    int64_t kept = session.length() + static_cast<int64_t>(certain);
    const double begin = monotonic_seconds();
    LAPIDARY_CHECK(session.append(tokens, static_cast<int32_t>(guesses.size()) + 1));
    const double seconds = monotonic_seconds() - begin;

    // Row by row, as if each token had been computed alone.
    size_t right = 0;
    do {
      LAPIDARY_TRY(tokens, next(session.logits(static_cast<int32_t>(right)), room(kept)));
      if (tokens.empty()) break;
      auto token = tokens.begin();
      for (; token != tokens.end() && right < guesses.size() && *token == guesses[right]; ++token, ++right, ++kept)
        speculation->push(*token);
      tokens.erase(tokens.begin(), token);
    } while (tokens.empty());
    session.take_back(session.length() - kept);
    if (speculation != nullptr) speculation->checked(certain, guesses.size(), right, seconds);
  }
  return {};
}

}  // namespace lapidary
