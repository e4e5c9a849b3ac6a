#include "grammar/constraint.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "grammar/gbnf.h"
#include "grammar/json_recognizer.h"
#include "grammar/program.h"
#include "grammar/regex.h"
#include "grammar/text_recognizer.h"
#include "grammar/token_trie.h"
#include "grammar/tool_calls.h"

namespace lapidary {

// One of these kinds.
struct Grammar::Parts {
  std::optional<grammar::Program> program;
  grammar::Syntax syntax;
  std::optional<grammar::Dfa> automaton;
  std::optional<grammar::RuleNetwork> network;
  std::optional<grammar::ToolCalls> tools;
  std::shared_ptr<const Grammar> answer;  // beside tools

  std::unique_ptr<grammar::Recognizer> recognizer() const {
    if (program) return std::make_unique<grammar::JsonRecognizer>(*program, syntax);
    if (tools) {
      return grammar::make_tool_recognizer(*tools, answer == nullptr ? nullptr : answer->parts_->recognizer());
    }
    if (automaton) return grammar::make_text_recognizer(*automaton);
    return grammar::make_network_recognizer(*network);
  }
};

Grammar::Grammar() = default;
Grammar::~Grammar() = default;

std::shared_ptr<const Grammar> Grammar::make(std::unique_ptr<const Parts> parts) {
  std::shared_ptr<Grammar> result(new Grammar);
  result->parts_ = std::move(parts);
  return result;
}

Result<std::shared_ptr<const Grammar>> Grammar::from_schema(std::string_view schema, const std::string& where,
                                                            const GrammarOptions& options) {
  auto parts = std::make_unique<Parts>();
  LAPIDARY_TRY(parts->program, grammar::compile_schema(schema, where));
  if (options.white_space == WhiteSpace::none) parts->syntax.indent_max = 0;
  return make(std::move(parts));
}

Result<std::shared_ptr<const Grammar>> Grammar::from_regex(std::string_view pattern, const std::string& where) {
  grammar::RegexArena arena;
  LAPIDARY_TRY(const grammar::RegexId regex, grammar::parse_pattern(arena, pattern, grammar::PatternUse::whole, where));
  auto automaton = grammar::build_dfa(arena, {regex});
  if (!automaton) return std::unexpected(std::move(automaton).error().in(where));
  if (automaton->start == grammar::Dfa::dead) return fail(ErrorKind::unsupported, where, "no text can match it");
  auto parts = std::make_unique<Parts>();
  parts->automaton = std::move(*automaton);
  return make(std::move(parts));
}

Result<std::shared_ptr<const Grammar>> Grammar::from_gbnf(std::string_view text, const std::string& where) {
  LAPIDARY_TRY(grammar::GbnfGrammar parsed, grammar::parse_gbnf(text, where));
  auto parts = std::make_unique<Parts>();
  if (parsed.automaton) {
    parts->automaton = std::move(parsed.automaton);
  } else {
    parts->network = std::move(parsed.network);
  }
  return make(std::move(parts));
}

Result<std::shared_ptr<const Grammar>> Grammar::from_tools(std::span<const ToolDeclaration> tools,
                                                           const ToolOptions& options,
                                                           std::vector<std::string>* warnings) {
  grammar::ToolCalls calls;
  calls.text = options.choice != ToolChoice::required;
  calls.calls = options.choice != ToolChoice::none;
  calls.parallel = options.parallel;
  bool found = options.only.empty();
  for (const ToolDeclaration& tool : tools) {
    if (!options.only.empty() && tool.name != options.only) continue;
    auto added = grammar::add_tool(calls, tool.name, tool.parameters);
    if (!added && !tool.strict && added.error().kind != ErrorKind::wrong_use) {
      if (warnings != nullptr) warnings->push_back(added.error().text());
      added = grammar::add_tool(calls, tool.name, std::nullopt);
    }
    LAPIDARY_CHECK(added);
    found = true;
  }
  if (!found) return fail(ErrorKind::wrong_use, "tools", "no tool \"" + options.only + "\" is declared");
  if (calls.tools.empty() && !calls.text)
    return fail(ErrorKind::wrong_use, "tools", "a call is required, but no tool is declared");
  auto parts = std::make_unique<Parts>();
  parts->tools = std::move(calls);
  if (options.choice != ToolChoice::required) parts->answer = options.answer;
  return make(std::move(parts));
}

size_t Grammar::bytes() const {
  size_t sum = sizeof(Parts);
  if (parts_->program) sum += grammar::program_bytes(*parts_->program);
  if (parts_->tools) sum += grammar::program_bytes(parts_->tools->program);
  if (parts_->automaton) sum += grammar::dfa_bytes(*parts_->automaton);
  if (parts_->network) sum += grammar::network_bytes(*parts_->network);
  return sum + (parts_->answer == nullptr ? 0 : parts_->answer->bytes());
}

struct Matcher::Step {
  grammar::Recognizer::Mark mark;
  uint32_t state = 0;
  bool stopped = false;
};

TokenTable::TokenTable(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer), trie_(std::make_unique<const grammar::TokenTrie>(tokenizer)) {
  for (const auto& [name, symbol] :
       {std::pair{"<|\"|>", grammar::quote_symbol}, std::pair{"<|tool_call>", grammar::call_begin_symbol},
        std::pair{"<tool_call|>", grammar::call_end_symbol}})
    if (const int32_t token = tokenizer.find(name); token >= 0 && tokenizer.is_special(token))
      symbols_.push_back({token, symbol});
}
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
  const grammar::Recognizer::Mark before = recognizer_->mark();
  for (const TokenTable::Symbol& symbol : tokens_->symbols_)
    if (recognizer_->step(state_, symbol.symbol) != grammar::dead_state) grammar::set_bit(bits, symbol.token);
  recognizer_->release(before);
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
  const grammar::Recognizer::Mark before = recognizer_->mark();
  for (const TokenTable::Symbol& symbol : tokens_->symbols_) {
    if (symbol.token != token) continue;
    const uint32_t state = recognizer_->step(state_, symbol.symbol);
    if (state == grammar::dead_state) break;
    history_.push_back({before, state_, stopped_});
    state_ = state;
    return true;
  }
  if (std::ranges::find(stop_tokens_, token) != stop_tokens_.end()) {
    if (!recognizer_->complete(state_)) return false;
    history_.push_back({before, state_, stopped_});
    stopped_ = true;
    return true;
  }
  const std::string_view piece = tokens_->tokenizer_->piece(token);
  if (piece.empty() || !grammar::is_text(tokens_->tokenizer_->kind(token))) return false;
  return accept_text(piece);
}

// Bytes first, as long as only one can follow; then their tokens. The last token is given only if the text is complete
// behind it or a special token has to follow: another tokenisation may join it with what comes.
std::vector<int32_t> Matcher::forced_tokens(size_t tokens_max) {
  constexpr size_t bytes_per_token = 16;
  std::vector<int32_t> tokens;
  if (stopped_) return tokens;
  const grammar::Recognizer::Mark before = recognizer_->mark();
  std::string text;
  uint32_t state = state_;
  bool whole = false;
  while (text.size() < tokens_max * bytes_per_token) {
    if (recognizer_->complete(state)) break;
    uint32_t next = grammar::dead_state, ways = 0;
    char byte = 0;
    for (uint32_t symbol = 0; symbol < 256 && ways < 2; ++symbol) {
      const uint32_t to = recognizer_->step(state, symbol);
      if (to == grammar::dead_state) continue;
      ++ways;
      next = to;
      byte = static_cast<char>(symbol);
    }
    for (const TokenTable::Symbol& symbol : tokens_->symbols_)
      if (recognizer_->step(state, symbol.symbol) != grammar::dead_state) {
        whole = ways == 0;
        ways = 2;
      }
    if (ways != 1) break;
    text += byte;
    state = next;
  }
  recognizer_->release(before);
  tokens_->tokenizer_->encode(text, SpecialParsing::off, tokens);
  if (!whole && !tokens.empty()) tokens.pop_back();
  if (tokens.size() > tokens_max) tokens.resize(tokens_max);
  return tokens;
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
