#include "engine/speculation.h"

#include <algorithm>

#include "base/system.h"

namespace lapidary {
namespace {

// Grades of a match, by its length; a longer one is right more often.
constexpr size_t grade_lengths[] = {1, 2, 3, 4, 6, 9, 17, 33};
const std::vector<double> usual_acceptance = {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95};

constexpr int64_t read_tokens_telling = 64;  // in a shorter prompt, memory may be the limit

size_t grade_of(size_t length) {
  return static_cast<size_t>(std::upper_bound(std::begin(grade_lengths), std::end(grade_lengths), length) -
                             std::begin(grade_lengths)) -
         1;
}

}  // namespace

Speculation::Speculation(const Engine& engine)
    : stop_tokens_(engine.config().generation.stop_tokens), copies_(usual_acceptance) {}

void Speculation::begin(std::span<const int32_t> tokens, int64_t read, double read_seconds) {
  if (read >= read_tokens_telling) policy_.times().expect_row(read_seconds / static_cast<double>(read));
  counts_ = {};
  seen_.clear();
  for (const int32_t token : tokens) seen_.push(token);
}

// What the match foretold is compared with what came, whether it was tried or not: that costs nothing.
void Speculation::push(int32_t token) {
  if (const auto match = seen_.match(); match.length > 0)
    copies_.add(grade_of(match.length), seen_.text()[match.next] == token);
  seen_.push(token);
}

std::vector<int32_t> Speculation::draft(size_t certain, int64_t most) {
  std::vector<int32_t> guesses;
  const auto match = seen_.match();
  if (match.length == 0) return guesses;
  const auto room = static_cast<size_t>(std::clamp<int64_t>(most, 0, draft_rows_max - 1));
  std::vector<double> right;
  const auto text = seen_.text();
  for (size_t i = 0; i < room; ++i) {
    // Where the copy reaches the end of the text, it goes on with itself: a text that repeats a short piece.
    const size_t at = match.next + i;
    const int32_t token = at < text.size() ? text[at] : guesses[at - text.size()];
    // Nothing is written after a stop, so it need not be computed.
    if (std::ranges::find(stop_tokens_, token) != stop_tokens_.end()) break;
    guesses.push_back(token);
    right.push_back(copies_.at(grade_of(match.length + i)));
  }
  guesses.resize(std::min(guesses.size(), always_ > 0 ? always_ : policy_.depth(static_cast<int32_t>(certain), right)));
  return guesses;
}

void Speculation::checked(size_t certain, size_t guesses, size_t right, double seconds) {
  counts_.drafted += static_cast<int64_t>(guesses);
  counts_.accepted += static_cast<int64_t>(right);
  policy_.add(static_cast<int32_t>(certain), static_cast<int32_t>(guesses), static_cast<int32_t>(right), seconds);
}

Result<void> write_tokens(Session& session, Speculation* speculation, const NextTokens& next) {
  const auto room = [&](int64_t used) { return session.context() - used; };
  LAPIDARY_TRY(std::vector<int32_t> tokens, next(session.logits(), room(session.length())));
  std::vector<int32_t> guesses;
  while (!tokens.empty()) {
    // `tokens` were taken, but are not in the session yet. Guesses go behind them.
    const size_t certain = tokens.size();
    if (speculation != nullptr) {
      for (const int32_t token : tokens) speculation->push(token);
      guesses = speculation->draft(certain, room(session.length()) - static_cast<int64_t>(certain));
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
      auto token = tokens.begin();
      for (; token != tokens.end() && right < guesses.size() && *token == guesses[right]; ++token, ++right, ++kept)
        speculation->push(*token);
      if (tokens.empty()) break;
      tokens.erase(tokens.begin(), token);
    } while (tokens.empty());
    session.take_back(session.length() - kept);
    if (speculation != nullptr) speculation->checked(certain, guesses.size(), right, seconds);
  }
  return {};
}

}  // namespace lapidary
