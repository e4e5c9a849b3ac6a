#include "grammar/text_recognizer.h"

#include <algorithm>

#include "grammar/json_string.h"

namespace lapidary::grammar {
namespace {

class TextRecognizer : public Recognizer {
 public:
  explicit TextRecognizer(const Dfa& dfa) : dfa_(&dfa), cursors_{{}, {dfa.start, {}}} {}

  std::unique_ptr<Recognizer> clone() const override { return std::make_unique<TextRecognizer>(*this); }
  State start() const override { return 1; }
  State step(State state, uint32_t symbol) override;
  bool complete(State state) override {
    return cursors_[state].lexer.between() && dfa_->accepts(cursors_[state].state);
  }
  void add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) override;
  Mark mark() const override { return {{cursors_.size()}}; }
  void release(const Mark& mark) override { cursors_.resize(mark.sizes[0]); }
  size_t bytes_used() const override { return cursors_.size() * sizeof(Cursor); }

 private:
  struct Cursor {
    uint32_t state = Dfa::dead;
    StringLexer lexer;
  };
  const Dfa* dfa_;
  std::vector<Cursor> cursors_;
};

State TextRecognizer::step(State state, uint32_t symbol) {
  if (symbol >= 256) return dead_state;
  Cursor next = cursors_[state];
  switch (next.lexer.push_raw(static_cast<uint8_t>(symbol))) {
    case StringLexer::Step::character:
      next.state = dfa_->step(next.state, next.lexer.character());
      break;
    case StringLexer::Step::within: {
      const CodePointRange range = next.lexer.possible().near;
      if (!dfa_->leads_on(next.state, range)) return dead_state;
      break;
    }
    default:
      return dead_state;
  }
  if (next.state == Dfa::dead) return dead_state;
  cursors_.push_back(next);
  return static_cast<State>(cursors_.size() - 1);
}

void TextRecognizer::add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) {
  walk(
      *this, state, trie.nodes(), 0, trie.tokens().size(),
      [&](State at, const TrieNode& node) {
        const Cursor& cursor = cursors_[at];
        return cursor.lexer.between() && dfa_->absorbs(cursor.state, *trie.content(node));
      },
      [&](size_t token) { set_bit(bits, trie.tokens()[token]); });
}

}  // namespace

std::unique_ptr<Recognizer> make_text_recognizer(const Dfa& dfa) { return std::make_unique<TextRecognizer>(dfa); }

}  // namespace lapidary::grammar
