#include "grammar/completion.h"

#include <optional>

namespace lapidary::grammar {
namespace {

// States of an ItemPlan are numbers in a mixed base: a digit for each `contains`, and one for the length.
class ItemPlanner {
 public:
  ItemPlanner(ArrayProgram& array, const std::vector<bool>& living)
      : array_(array), plan_(array.plan), living_(living) {}

  bool run(uint64_t cells_max) {
    plan_ = {};
    const uint64_t fixed = array_.prefix.size();
    uint64_t counted = 0;  // items that can count for something limited
    for (const Contains& contains : array_.contains) {
      const uint64_t top = contains.max == no_limit ? contains.min : contains.max;
      plan_.sizes.push_back(static_cast<uint32_t>(top + 1));
      states_ *= top + 1;
      if (contains.max != no_limit) counted += contains.max;
    }
    // Where an item counts for nothing limited, such items make an array as long as it has to be. Else every item uses
    // up something, and the length is counted as well.
    plan_.padded =
        std::ranges::any_of(array_.rest, [&](const Choice& choice) { return lives(choice) && free(choice); });
    const uint64_t owed = array_.min > fixed ? array_.min - fixed : 0;
    bool possible = true;
    if (!plan_.padded && owed > 0) {
      possible = owed <= counted;
      if (possible) plan_.lengths = static_cast<uint32_t>(owed + 1);
      states_ *= plan_.lengths;
    }
    if (states_ * (fixed + 1) > cells_max) return false;
    plan_.states = static_cast<uint32_t>(states_);
    plan_.further.assign(states_ * (fixed + 1), no_limit);
    if (!possible) return true;
    for (uint64_t state = states_; state-- > 0;) fill(fixed, state, array_.rest);
    for (uint64_t index = fixed; index-- > 0;)
      for (uint64_t state = 0; state < states_; ++state) fill(index, state, array_.prefix[index]);
    return true;
  }

 private:
  bool lives(const Choice& choice) const { return living_.empty() || living_[choice.node]; }
  bool free(const Choice& choice) const {
    for (size_t i = 0; i < array_.contains.size(); ++i)
      if ((choice.claims >> i & 1) != 0 && array_.contains[i].max != no_limit) return false;
    return true;
  }

  // The state after an item; nothing: that is one too many. Items only add, so it has no smaller number.
  std::optional<uint64_t> after(uint64_t state, uint32_t claims, bool longer) const {
    uint64_t factor = 1, result = state;
    for (size_t i = 0; i < plan_.sizes.size(); ++i, factor *= plan_.sizes[i - 1]) {
      if ((claims >> i & 1) == 0) continue;
      if (state / factor % plan_.sizes[i] + 1 < plan_.sizes[i])
        result += factor;
      else if (array_.contains[i].max != no_limit)
        return std::nullopt;
    }
    if (longer && state / factor + 1 < plan_.lengths) result += factor;
    return result;
  }

  bool counts_suffice(uint64_t state) const {
    uint64_t factor = 1;
    for (size_t i = 0; i < plan_.sizes.size(); ++i, factor *= plan_.sizes[i - 1])
      if (state / factor % plan_.sizes[i] < array_.contains[i].min) return false;
    return true;
  }

  void fill(uint64_t index, uint64_t state, const Choices& choices) {
    const uint64_t fixed = array_.prefix.size();
    const bool rest = index == fixed;
    uint64_t& best = plan_.further[index * states_ + state];
    const bool long_enough = rest ? state / (states_ / plan_.lengths) + 1 == plan_.lengths : index >= array_.min;
    if (long_enough && counts_suffice(state)) {
      best = 0;
      return;
    }
    for (const Choice& choice : choices) {
      const auto next = lives(choice) ? after(state, choice.claims, rest) : std::nullopt;
      if (!next || (rest && *next == state)) continue;
      uint64_t more = plan_.further[(rest ? fixed : index + 1) * states_ + *next];
      if (more == no_limit) continue;
      if (!rest && index + 1 == fixed && plan_.padded && array_.min > fixed) more = std::max(more, array_.min - fixed);
      best = std::min(best, more + 1);
    }
  }

  ArrayProgram& array_;
  ItemPlan& plan_;
  const std::vector<bool>& living_;
  uint64_t states_ = 1;
};

}  // namespace

bool plan_items(ArrayProgram& array, uint64_t cells_max, const std::vector<bool>& living) {
  return ItemPlanner(array, living).run(cells_max);
}

bool may_complete(const ArrayProgram& array, uint64_t length, uint32_t counts) {
  const ItemPlan& plan = array.plan;
  const uint64_t fixed = array.prefix.size();
  uint64_t state = 0, factor = 1;
  for (size_t i = 0; i < plan.sizes.size(); ++i) {
    uint64_t count = counts >> (8 * i) & 0xFF;
    if (count >= plan.sizes[i]) {
      if (array.contains[i].max != no_limit) return false;
      count = plan.sizes[i] - 1;
    }
    state += factor * count;
    factor *= plan.sizes[i];
  }
  if (length > fixed) state += factor * std::min<uint64_t>(length - fixed, plan.lengths - 1);
  const uint64_t more = plan.further[std::min(length, fixed) * plan.states + state];
  if (more == no_limit || length > array.max) return false;
  return more <= array.max - length && (length < fixed || !plan.padded || array.min <= array.max);
}

bool lengths_have_no_gap(const Dfa& dfa, uint64_t longest, uint64_t steps_max, uint64_t& steps) {
  enum class Was : uint8_t { never, accepting, past };
  std::vector<Was> was(dfa.states, Was::never);
  std::vector<bool> now(dfa.states);  // states from which some text of `length` characters is accepted
  for (uint32_t state = 1; state < dfa.states; ++state) now[state] = dfa.accepts(state);
  for (uint64_t length = 0; length <= longest; ++length) {
    for (uint32_t state = 1; state < dfa.states; ++state) {
      if (now[state] && was[state] == Was::past) return false;
      if (now[state]) was[state] = Was::accepting;
      if (!now[state] && was[state] == Was::accepting) was[state] = Was::past;
    }
    steps += uint64_t{dfa.states} * dfa.classes;
    if (steps > steps_max) return false;
    std::vector<bool> next(dfa.states);
    for (uint32_t state = 1; state < dfa.states; ++state)
      for (uint32_t c = 0; c < dfa.classes && !next[state]; ++c) next[state] = now[dfa.next[state * dfa.classes + c]];
    if (next == now) return true;
    now = std::move(next);
  }
  return true;
}

}  // namespace lapidary::grammar
