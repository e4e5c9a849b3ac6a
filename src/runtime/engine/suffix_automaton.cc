#include "engine/suffix_automaton.h"

#include <algorithm>

namespace lapidary {
namespace {

constexpr size_t table_size_first = 64;
// How many of the states that the text's end reaches learn of it. All of them would be as many as the text is long
// where it repeats itself.
constexpr int links_updated = 16;

}  // namespace

SuffixAutomaton::SuffixAutomaton(size_t tokens_max) : tokens_max_(std::max<size_t>(2, tokens_max)) { clear(); }

void SuffixAutomaton::clear() {
  text_.clear();
  states_.clear();
  edges_.clear();
  table_.assign(table_size_first, -1);
  last_ = add_state(0, -1, -1);
  match_ = {};
}

size_t SuffixAutomaton::bytes() const {
  return text_.capacity() * sizeof(int32_t) + states_.capacity() * sizeof(State) + edges_.capacity() * sizeof(Edge) +
         table_.capacity() * sizeof(int32_t);
}

int32_t SuffixAutomaton::add_state(int32_t length, int32_t link, int32_t end) {
  states_.push_back({length, link, -1, end});
  return static_cast<int32_t>(states_.size()) - 1;
}

// Fibonacci hashing of both halves, linear probing.
size_t SuffixAutomaton::slot_of(int32_t state, int32_t token) const {
  uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(state)) << 32 | static_cast<uint32_t>(token);
  key *= 0x9E3779B97F4A7C15ULL;
  key ^= key >> 32;
  size_t slot = key & (table_.size() - 1);
  ++lookups_;
  while (table_[slot] >= 0) {
    ++lookups_;
    const Edge& edge = edges_[static_cast<size_t>(table_[slot])];
    if (edge.state == state && edge.token == token) break;
    slot = (slot + 1) & (table_.size() - 1);
  }
  return slot;
}

SuffixAutomaton::Edge* SuffixAutomaton::find(int32_t state, int32_t token) {
  const int32_t index = table_[slot_of(state, token)];
  return index < 0 ? nullptr : &edges_[static_cast<size_t>(index)];
}

void SuffixAutomaton::add_edge(int32_t state, int32_t token, int32_t target) {
  if (2 * (edges_.size() + 1) > table_.size()) grow_table();
  int32_t& first = states_[static_cast<size_t>(state)].first_edge;
  table_[slot_of(state, token)] = static_cast<int32_t>(edges_.size());
  edges_.push_back({state, token, target, first});
  first = static_cast<int32_t>(edges_.size()) - 1;
}

void SuffixAutomaton::grow_table() {
  table_.assign(2 * table_.size(), -1);
  for (size_t i = 0; i < edges_.size(); ++i)
    table_[slot_of(edges_[i].state, edges_[i].token)] = static_cast<int32_t>(i);
}

void SuffixAutomaton::forget_half() {
  const std::vector<int32_t> kept(text_.end() - static_cast<std::ptrdiff_t>(text_.size() / 2), text_.end());
  clear();
  for (const int32_t token : kept) push(token);
}

void SuffixAutomaton::push(int32_t token) {
  if (text_.size() == tokens_max_) forget_half();
  const auto position = static_cast<int32_t>(text_.size());
  text_.push_back(token);
  const int32_t current = add_state(states_[static_cast<size_t>(last_)].length + 1, 0, position);
  int32_t state = last_;
  const Edge* edge = nullptr;
  while (state >= 0 && (edge = find(state, token)) == nullptr) {
    add_edge(state, token, current);
    state = states_[static_cast<size_t>(state)].link;
  }
  if (state >= 0) {
    const int32_t target = edge->target, length = states_[static_cast<size_t>(state)].length + 1;
    int32_t link = target;
    if (states_[static_cast<size_t>(target)].length != length) {
      // The shorter strings of `target` now end in one place more than its longer ones: they get a state of their own.
      const State from = states_[static_cast<size_t>(target)];
      link = add_state(length, from.link, from.end);
      for (int32_t i = from.first_edge; i >= 0; i = edges_[static_cast<size_t>(i)].next)
        add_edge(link, edges_[static_cast<size_t>(i)].token, edges_[static_cast<size_t>(i)].target);
      states_[static_cast<size_t>(target)].link = link;
      for (Edge* old = nullptr; state >= 0 && (old = find(state, token)) != nullptr && old->target == target;
           state = states_[static_cast<size_t>(state)].link)
        old->target = link;
    }
    states_[static_cast<size_t>(current)].link = link;
  }
  last_ = current;

  int32_t seen = states_[static_cast<size_t>(current)].link;
  const State& longest = states_[static_cast<size_t>(seen)];
  match_ = {static_cast<size_t>(longest.length), seen == 0 ? 0 : static_cast<size_t>(longest.end) + 1};
  for (int i = 0; i < links_updated && seen > 0; ++i) {
    states_[static_cast<size_t>(seen)].end = position;
    seen = states_[static_cast<size_t>(seen)].link;
  }
}

}  // namespace lapidary
