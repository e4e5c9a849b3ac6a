// What a matcher needs of a kind of grammar: states that are numbers, steps between them, and masks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "grammar/token_trie.h"

namespace lapidary::grammar {

using State = uint32_t;
inline constexpr State dead_state = 0;

class Recognizer {
 public:
  virtual ~Recognizer() = default;
  virtual std::unique_ptr<Recognizer> clone() const = 0;
  virtual State start() const = 0;
  // The state after a byte, or after one of the symbols beyond 255 that stand for special tokens; dead_state: none.
  virtual State step(State state, uint32_t symbol) = 0;
  virtual bool complete(State state) = 0;
  // Adds the tokens of text that may come next.
  virtual void add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) = 0;

  // States made after the mark can be forgotten.
  struct Mark {
    size_t sizes[9] = {};
  };
  virtual Mark mark() const = 0;
  virtual void release(const Mark& mark) = 0;
  virtual size_t bytes_used() const = 0;
};

// Adds the tokens below `node` of a trie that lead from `state` to a living state. `absorbs(state, content)`: every
// token of such content stays alive in it. `take(index)` gets the tokens, as indices of the trie's list.
template <typename R, typename Absorbs, typename Take>
void walk(R& recognizer, State state, std::span<const TrieNode> nodes, uint32_t node, size_t token_count,
          const Absorbs& absorbs, const Take& take) {
  struct Open {
    uint32_t end;
    State state;
    Recognizer::Mark mark;
  };
  std::vector<Open> open;
  const Recognizer::Mark begin = recognizer.mark();
  const auto first_token = [&](uint32_t at) { return at < nodes.size() ? nodes[at].token_begin : token_count; };
  State current = state;
  for (uint32_t i = node + 1; i < nodes[node].end;) {
    if (!open.empty() && open.back().end <= i) {
      while (!open.empty() && open.back().end <= i) open.pop_back();
      recognizer.release(open.empty() ? begin : open.back().mark);
      current = open.empty() ? state : open.back().state;
    }
    const State next = recognizer.step(current, nodes[i].byte);
    if (next == dead_state) {
      i = nodes[i].end;
      continue;
    }
    if (nodes[i].content != 0 && absorbs(next, nodes[i])) {
      for (size_t token = nodes[i].token_begin; token < first_token(nodes[i].end); ++token) take(token);
      i = nodes[i].end;
      continue;
    }
    for (size_t token = 0; token < nodes[i].own; ++token) take(nodes[i].token_begin + token);
    if (nodes[i].end > i + 1) {
      open.push_back({nodes[i].end, next, recognizer.mark()});
      current = next;
    }
    ++i;
  }
  recognizer.release(begin);
}

}  // namespace lapidary::grammar
