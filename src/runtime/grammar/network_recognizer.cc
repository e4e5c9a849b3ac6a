// A network of rules, walked by all ways at once: a state is the set of the characters that may come next, each with
// the stack of nodes to return to. Stacks and states are kept once, and where a character led is remembered, so that a
// text that has been here before costs a look-up.
#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "grammar/gbnf.h"
#include "grammar/json_string.h"

namespace lapidary::grammar {
namespace {

using Kind = RuleNetwork::Node::Kind;

constexpr uint32_t no_stack = 0;
constexpr size_t places_max = 5'000;  // of one state; more are given up
constexpr size_t states_kept = 20'000;

struct Place {
  uint32_t node = 0, stack = no_stack;
  auto operator<=>(const Place&) const = default;
};

class NetworkRecognizer : public Recognizer {
 public:
  explicit NetworkRecognizer(const RuleNetwork& network) : network_(&network) {
    stacks_.push_back({});
    states_.push_back({});
    State begin = dead_state;
    std::vector<Place> places;
    bool complete = false;
    if (close({network.root, no_stack}, places, complete)) begin = state_of(std::move(places), complete, {});
    start_ = begin;
  }

  std::unique_ptr<Recognizer> clone() const override { return std::make_unique<NetworkRecognizer>(*this); }
  State start() const override { return start_; }
  State step(State state, uint32_t symbol) override;
  bool complete(State state) override { return states_[state].complete && states_[state].lexer.between(); }
  void add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) override;
  Mark mark() const override { return {{states_.size(), stacks_.size()}}; }
  // Kept as long as they are few: the next mask meets them again.
  void release(const Mark& mark) override {
    if (states_.size() > states_kept || stacks_.size() > states_kept) forget(mark);
  }
  size_t bytes_used() const override {
    size_t bytes = stacks_.size() * 48 + memo_.size() * 32;
    for (const SetState& state : states_) bytes += sizeof(SetState) + 2 * state.places.size() * sizeof(Place);
    return bytes;
  }

 private:
  struct SetState {
    std::vector<Place> places;  // all of them characters, ascending
    bool complete = false;
    StringLexer lexer;
    bool loops_known = false;
    std::array<uint64_t, 2> loops{};  // ASCII characters that lead back here
    bool wide_loop = false;           // U+0080 and beyond do
  };
  struct Stack {
    uint32_t node = 0, below = no_stack;
    auto operator<=>(const Stack&) const = default;
  };

  bool close(Place from, std::vector<Place>& places, bool& complete);
  State state_of(std::vector<Place> places, bool complete, const StringLexer& lexer);
  State after(State state, char32_t character);
  void forget(const Mark& mark);
  void find_loops(State state);
  bool contains(const CodePointSet& set, CodePointRange range) const {
    return std::ranges::any_of(
        set, [&](const CodePointRange& one) { return one.first <= range.last && range.first <= one.last; });
  }

  const RuleNetwork* network_;
  State start_ = dead_state;
  std::vector<SetState> states_;
  std::vector<Stack> stacks_;
  std::map<Stack, uint32_t> stack_index_;
  std::map<std::pair<std::vector<Place>, bool>, State> state_index_;
  std::unordered_map<uint64_t, State> memo_;
};

// The characters that may come first from `from` on. False: too many.
bool NetworkRecognizer::close(Place from, std::vector<Place>& places, bool& complete) {
  std::vector<Place> open{from}, seen;
  while (!open.empty()) {
    const Place place = open.back();
    open.pop_back();
    const RuleNetwork::Node& node = network_->nodes[place.node];
    if (node.kind == Kind::character) {
      places.push_back(place);
      if (places.size() > places_max) return false;
      continue;
    }
    if (std::ranges::find(seen, place) != seen.end()) continue;
    seen.push_back(place);
    if (seen.size() > places_max) return false;
    switch (node.kind) {
      case Kind::fork:
        open.push_back({node.next, place.stack});
        open.push_back({node.argument, place.stack});
        break;
      case Kind::call: {
        uint32_t stack = place.stack;
        if (network_->nodes[node.next].kind != Kind::end) {  // nothing to come back for
          const auto [known, added] =
              stack_index_.try_emplace(Stack{node.next, place.stack}, static_cast<uint32_t>(stacks_.size()));
          if (added) stacks_.push_back(known->first);
          stack = known->second;
        }
        open.push_back({node.argument, stack});
        break;
      }
      default:
        if (place.stack == no_stack) {
          complete = true;
        } else {
          open.push_back({stacks_[place.stack].node, stacks_[place.stack].below});
        }
    }
  }
  return true;
}

State NetworkRecognizer::state_of(std::vector<Place> places, bool complete, const StringLexer& lexer) {
  std::ranges::sort(places);
  places.erase(std::unique(places.begin(), places.end()), places.end());
  if (!lexer.between()) {
    states_.push_back({std::move(places), complete, lexer, false, {}, false});
    return static_cast<State>(states_.size() - 1);
  }
  const auto [known, added] =
      state_index_.try_emplace({std::move(places), complete}, static_cast<State>(states_.size()));
  if (added) states_.push_back({known->first.first, complete, lexer, false, {}, false});
  return known->second;
}

void NetworkRecognizer::forget(const Mark& mark) {
  while (states_.size() > mark.sizes[0]) {
    if (states_.back().lexer.between()) state_index_.erase({states_.back().places, states_.back().complete});
    states_.pop_back();
  }
  for (; stacks_.size() > mark.sizes[1]; stacks_.pop_back()) stack_index_.erase(stacks_.back());
  memo_.clear();
  for (SetState& state : states_) state.loops_known = false;
}

State NetworkRecognizer::after(State state, char32_t character) {
  const uint64_t key = uint64_t{state} << 32 | character;
  if (const auto known = memo_.find(key); known != memo_.end()) return known->second;
  std::vector<Place> places;
  bool complete = false;
  const std::vector<Place> from = states_[state].places;
  for (const Place& place : from) {
    const RuleNetwork::Node& node = network_->nodes[place.node];
    if (!contains(network_->sets[node.argument], {character, character})) continue;
    if (!close({node.next, place.stack}, places, complete)) return dead_state;
  }
  const State next = places.empty() && !complete ? dead_state : state_of(std::move(places), complete, {});
  memo_[key] = next;
  return next;
}

State NetworkRecognizer::step(State state, uint32_t symbol) {
  if (symbol >= 256) return dead_state;
  StringLexer lexer = states_[state].lexer;
  switch (lexer.push_raw(static_cast<uint8_t>(symbol))) {
    case StringLexer::Step::character: {
      const State from = states_[state].lexer.between()
                             ? state
                             : state_of(states_[state].places, states_[state].complete, StringLexer());
      return after(from, lexer.character());
    }
    case StringLexer::Step::within: {
      const CodePointRange range = lexer.possible().near;
      std::vector<Place> places;
      for (const Place& place : states_[state].places)
        if (contains(network_->sets[network_->nodes[place.node].argument], range)) places.push_back(place);
      return places.empty() ? dead_state : state_of(std::move(places), false, lexer);
    }
    default:
      return dead_state;
  }
}

void NetworkRecognizer::find_loops(State state) {
  if (states_[state].loops_known) return;
  std::array<uint64_t, 2> loops{};
  for (char32_t c = 0; c < 128; ++c)
    if (after(state, c) == state) loops[c / 64] |= uint64_t{1} << (c % 64);
  // Beyond ASCII, where no place tells characters apart.
  bool wide = after(state, code_point_max) == state;
  for (const Place& place : std::vector<Place>(states_[state].places))
    for (const CodePointRange& range : network_->sets[network_->nodes[place.node].argument])
      wide &= range.last < 0x80 || (range.first <= 0x80 && range.last >= code_point_max);
  states_[state].loops = loops;
  states_[state].wide_loop = wide;
  states_[state].loops_known = true;
}

void NetworkRecognizer::add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) {
  walk(
      *this, state, trie.nodes(), 0, trie.tokens().size(),
      [&](State at, const TrieNode& node) {
        if (!states_[at].lexer.between()) return false;
        find_loops(at);
        const SubtreeContent& content = *trie.content(node);
        return (content.ascii[0] & ~states_[at].loops[0]) == 0 && (content.ascii[1] & ~states_[at].loops[1]) == 0 &&
               ((!content.wide && !content.odd) || states_[at].wide_loop);
      },
      [&](size_t token) { set_bit(bits, trie.tokens()[token]); });
}

}  // namespace

std::unique_ptr<Recognizer> make_network_recognizer(const RuleNetwork& network) {
  return std::make_unique<NetworkRecognizer>(network);
}

}  // namespace lapidary::grammar
