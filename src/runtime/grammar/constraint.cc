#include "grammar/constraint.h"

#include <algorithm>

#include "grammar/json_recognizer.h"
#include "grammar/program.h"
#include "grammar/token_trie.h"

namespace lapidary {

struct Grammar::Parts {
  grammar::Program program;
  grammar::Syntax syntax;

  std::unique_ptr<grammar::Recognizer> recognizer() const { return grammar::make_json_recognizer(program, syntax); }
};

Grammar::Grammar() = default;
Grammar::~Grammar() = default;

Result<std::shared_ptr<const Grammar>> Grammar::from_schema(std::string_view schema, const std::string& where,
                                                            const GrammarOptions& options) {
  auto parts = std::make_unique<Parts>();
  LAPIDARY_TRY(parts->program, grammar::compile_schema(schema, where));
  if (options.white_space == WhiteSpace::none) parts->syntax.blanks_max = 0;
  std::shared_ptr<Grammar> result(new Grammar);
  result->parts_ = std::move(parts);
  return std::shared_ptr<const Grammar>(std::move(result));
}

struct Matcher::Step {
  grammar::Recognizer::Mark mark;
  uint32_t state = 0;
  bool stopped = false;
};

TokenTable::TokenTable(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer), trie_(std::make_unique<const grammar::TokenTrie>(tokenizer)) {}
TokenTable::~TokenTable() = default;

std::shared_ptr<const TokenTable> TokenTable::create(const Tokenizer& tokenizer) {
  return std::shared_ptr<const TokenTable>(new TokenTable(tokenizer));
}

int32_t TokenTable::vocabulary() const { return trie_->vocabulary(); }
size_t TokenTable::words() const { return trie_->words(); }

Matcher::Matcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTable> tokens,
                 std::vector<int32_t> stop_tokens)
    : grammar_(std::move(grammar)),
      tokens_(std::move(tokens)),
      stop_tokens_(std::move(stop_tokens)),
      recognizer_(grammar_->parts_->recognizer()),
      state_(recognizer_->start()) {}

Matcher::Matcher(const Matcher& other)
    : grammar_(other.grammar_),
      tokens_(other.tokens_),
      stop_tokens_(other.stop_tokens_),
      recognizer_(other.recognizer_->clone()),
      history_(other.history_),
      state_(other.state_),
      stopped_(other.stopped_) {}

Matcher::Matcher(Matcher&&) noexcept = default;
Matcher::~Matcher() = default;

void Matcher::mask(std::span<uint64_t> bits) {
  std::ranges::fill(bits, 0);
  if (stopped_) return;
  recognizer_->add_tokens(state_, *tokens_->trie_, bits);
  if (recognizer_->complete(state_))
    for (const int32_t token : stop_tokens_)
      if (token >= 0 && token < tokens_->vocabulary()) grammar::set_bit(bits, token);
}

bool Matcher::accept_text(std::string_view text) {
  if (stopped_) return false;
  const grammar::Recognizer::Mark before = recognizer_->mark();
  uint32_t state = state_;
  for (const char c : text) {
    state = recognizer_->step(state, static_cast<uint8_t>(c));
    if (state == grammar::dead_state) {
      recognizer_->release(before);
      return false;
    }
  }
  history_.push_back({before, state_, stopped_});
  state_ = state;
  return true;
}

bool Matcher::accept(int32_t token) {
  if (stopped_) return false;
  if (std::ranges::find(stop_tokens_, token) != stop_tokens_.end()) {
    if (!recognizer_->complete(state_)) return false;
    history_.push_back({recognizer_->mark(), state_, stopped_});
    stopped_ = true;
    return true;
  }
  const std::string_view piece = tokens_->tokenizer_->piece(token);
  if (piece.empty() || tokens_->tokenizer_->is_special(token)) return false;
  return accept_text(piece);
}

bool Matcher::allows(int32_t token) {
  if (!accept(token)) return false;
  rollback(1);
  return true;
}

void Matcher::rollback(size_t count) {
  count = std::min(count, history_.size());
  if (count == 0) return;
  const Step& step = history_[history_.size() - count];
  state_ = step.state;
  stopped_ = step.stopped;
  recognizer_->release(step.mark);
  history_.resize(history_.size() - count);
}

size_t Matcher::accepted() const { return history_.size(); }
bool Matcher::may_stop() { return stopped_ || recognizer_->complete(state_); }

size_t Matcher::bytes_used() const { return recognizer_->bytes_used() + history_.size() * sizeof(Step); }

}  // namespace lapidary
