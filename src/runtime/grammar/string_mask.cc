#include "grammar/string_mask.h"

#include <algorithm>
#include <vector>

#include "grammar/json_string.h"

namespace lapidary::grammar {
namespace {

constexpr size_t entries_max = 600;               // 64 KiB each with 262,144 tokens
constexpr uint64_t token_characters_max = 1'024;  // no token is longer, so a larger limit is none

struct Cursor {
  uint32_t state = Dfa::dead;
  uint32_t length = 0;
  StringLexer lexer;
};

class Walk {
 public:
  Walk(const Dfa& dfa, uint64_t min_left, uint64_t max_left, const TokenTrie& trie, StringText text, StringMask& mask)
      : dfa_(dfa), min_(min_left), max_(max_left), trie_(trie), text_(text), mask_(mask) {}

  void run(uint32_t start) {
    const auto nodes = trie_.nodes();
    open_.push_back({nodes[0].end, {start, 0, {}}});
    for (uint32_t i = 1; i < nodes[0].end;) {
      while (open_.back().end <= i) open_.pop_back();
      const TrieNode& node = nodes[i];
      Cursor next = open_.back().cursor;
      const Outcome outcome = step(next, node.byte);
      if (outcome == Outcome::alive && !(node.content != 0 && absorbs(next, *trie_.content(node)))) {
        for (const int32_t token : trie_.own_tokens(i)) set_bit(mask_.inside, token);
        if (node.end > i + 1) open_.push_back({node.end, next});
        ++i;
        continue;
      }
      if (outcome != Outcome::dead)
        for (const int32_t token : trie_.subtree_tokens(i))
          set_bit(outcome == Outcome::closed ? mask_.exitable : mask_.inside, token);
      i = node.end;
    }
  }

 private:
  enum class Outcome : uint8_t { dead, alive, closed };
  struct Open {
    uint32_t end;
    Cursor cursor;
  };

  bool lengths_fit(uint32_t state, uint64_t length) const {
    return length + dfa_.nearest[state] <= max_ && length + uint64_t{dfa_.farthest[state]} >= min_;
  }

  Outcome step(Cursor& cursor, uint8_t byte) const {
    switch (text_ == StringText::raw ? cursor.lexer.push_raw(byte) : cursor.lexer.push(byte)) {
      case StringLexer::Step::dead:
        return Outcome::dead;
      case StringLexer::Step::closed:
        return dfa_.accepts(cursor.state) && cursor.length >= min_ ? Outcome::closed : Outcome::dead;
      case StringLexer::Step::within: {
        if (cursor.length >= max_) return Outcome::dead;
        const auto [near, far] = cursor.lexer.possible();
        const uint64_t length = uint64_t{cursor.length} + 1, most = max_ - length;
        const uint64_t least = min_ > length ? min_ - length : 0;
        const bool leads =
            dfa_.leads_on(cursor.state, near, most, least) || dfa_.leads_on(cursor.state, far, most, least);
        return leads ? Outcome::alive : Outcome::dead;
      }
      case StringLexer::Step::character:
        break;
    }
    cursor.state = dfa_.step(cursor.state, cursor.lexer.character());
    ++cursor.length;
    return cursor.state != Dfa::dead && lengths_fit(cursor.state, cursor.length) ? Outcome::alive : Outcome::dead;
  }

  bool absorbs(const Cursor& cursor, const SubtreeContent& content) const {
    return cursor.lexer.between() && (content.plain || text_ == StringText::raw) &&
           dfa_.absorbs(cursor.state, content) &&
           (max_ == no_limit || uint64_t{cursor.length} + content.characters_max + dfa_.nearest_max <= max_) &&
           (min_ <= cursor.length || dfa_.endless);
  }

  static constexpr uint64_t no_limit = ~uint64_t{0};
  const Dfa& dfa_;
  const uint64_t min_, max_;
  const TokenTrie& trie_;
  const StringText text_;
  StringMask& mask_;
  std::vector<Open> open_;
};

}  // namespace

StringMask make_string_mask(const Dfa& dfa, uint32_t state, uint64_t min_left, uint64_t max_left, const TokenTrie& trie,
                            StringText text) {
  StringMask mask{TokenBits(trie.words()), TokenBits(trie.words())};
  Walk(dfa, min_left, max_left, trie, text, mask).run(state);
  return mask;
}

std::shared_ptr<const StringMask> StringMaskCache::get(const Dfa& dfa, uint32_t state, uint64_t min_left,
                                                       uint64_t max_left, const TokenTrie& trie, StringText text) {
  if (max_left >= token_characters_max + dfa.nearest_max) max_left = ~uint64_t{0};
  if (dfa.endless && min_left > token_characters_max) min_left = token_characters_max;
  const Key key{dfa.fingerprint[0], dfa.fingerprint[1], state, text, min_left, max_left};
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = index_.find(key); found != index_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->mask;
    }
  }
  auto mask = std::make_shared<const StringMask>(make_string_mask(dfa, state, min_left, max_left, trie, text));
  const std::lock_guard lock(mutex_);
  if (index_.contains(key)) return mask;
  entries_.push_front({key, mask});
  index_[key] = entries_.begin();
  if (entries_.size() > entries_max) {
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return mask;
}

}  // namespace lapidary::grammar
