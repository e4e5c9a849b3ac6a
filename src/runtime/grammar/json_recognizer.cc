#include "grammar/json_recognizer.h"

#include <algorithm>

namespace lapidary::grammar {
namespace {

using Kind = Frame::Kind;

// ASCII that needs no escape in a string.
constexpr std::array<uint64_t, 2> safe_ascii = {0xFFFFFFFF00000000u & ~(uint64_t{1} << '"'),
                                                ~(uint64_t{1} << ('\\' - 64))};

class JsonRecognizer : public Recognizer {
 public:
  JsonRecognizer(const Program& program, const Syntax& syntax) : machine_(program, syntax) {}

  std::unique_ptr<Recognizer> clone() const override { return std::make_unique<JsonRecognizer>(*this); }
  State start() const override { return machine_.start(); }
  State step(State state, uint32_t symbol) override { return machine_.step(state, symbol); }
  bool complete(State state) override { return machine_.complete(state); }
  Mark mark() const override {
    const Machine::Mark mark = machine_.mark();
    return {{mark.frames, mark.threads, mark.seen, mark.text, 0}};
  }
  void release(const Mark& mark) override {
    machine_.release({mark.sizes[0], mark.sizes[1], mark.sizes[2], mark.sizes[3]});
  }
  size_t bytes_used() const override { return machine_.bytes_used(); }
  void add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) override;

 private:
  bool absorbs(const Frame& frame, const Thread& thread, const SubtreeContent& content) const;
  bool plain(const Frame& frame, const Thread& thread) const;
  void walk_all(State state, const TokenTrie& trie, uint32_t node, std::span<uint64_t> bits);
  void add_plain_string(State state, const std::vector<Thread>& threads, const TokenTrie& trie,
                        std::span<uint64_t> bits);
  void add_open_key(State state, const std::vector<Thread>& threads, const TokenTrie& trie, std::span<uint64_t> bits);
  void add_exits(State after_quote, const TokenTrie& trie, uint64_t from, uint64_t to, std::span<uint64_t> bits);
  uint64_t characters_left(const Frame& frame, const Thread& thread) const;

  Machine machine_;
};

uint64_t JsonRecognizer::characters_left(const Frame& frame, const Thread& thread) const {
  const uint64_t max = machine_.program().strings[thread.rule].max;
  return max > frame.length ? max - frame.length : 0;
}

// Whether nothing but the length counts for this thread.
bool JsonRecognizer::plain(const Frame& frame, const Thread& thread) const {
  if (frame.kind == Kind::key) return thread.c != 0 && machine_.program().objects[thread.rule].key_dfa == none;
  return machine_.program().strings[thread.rule].plain();
}

bool JsonRecognizer::absorbs(const Frame& frame, const Thread& thread, const SubtreeContent& content) const {
  const Program& program = machine_.program();
  uint32_t dfa = none, state = 0;
  if (frame.kind == Kind::key) {
    if (thread.c == 0) return false;
    dfa = program.objects[thread.rule].key_dfa;
    state = thread.c;
  } else {
    const StringProgram& string = program.strings[thread.rule];
    if (!string.values.empty() || content.characters_max > characters_left(frame, thread)) return false;
    dfa = string.dfa;
    state = thread.a;
    if (dfa != none && (string.max != no_limit || string.min > 0)) {
      const Dfa& automaton = program.dfas[dfa];
      const uint64_t length = uint64_t{frame.length} + content.characters_max;
      if (length + automaton.nearest[state] > string.max ||
          frame.length + uint64_t{automaton.farthest[state]} < string.min)
        return false;
    }
  }
  if (dfa == none) return true;
  const Dfa& automaton = program.dfas[dfa];
  return (content.ascii[0] & ~automaton.loops[state * 2]) == 0 &&
         (content.ascii[1] & ~automaton.loops[state * 2 + 1]) == 0 &&
         (!content.wide || automaton.wide_loop[state] != 0);
}

void JsonRecognizer::walk_all(State state, const TokenTrie& trie, uint32_t node, std::span<uint64_t> bits) {
  const bool bare = machine_.syntax().bare;
  walk(
      *this, state, trie.nodes(), node, trie.tokens().size(),
      [&](State at, const TrieNode& where) {
        const Frame& frame = machine_.frame(at);
        if (!machine_.between_characters(frame) || (bare && frame.kind == Kind::key)) return false;
        const SubtreeContent& content = *trie.content(where);
        if (!bare && ((content.ascii[0] & ~safe_ascii[0]) != 0 || (content.ascii[1] & ~safe_ascii[1]) != 0))
          return false;
        return std::ranges::any_of(machine_.threads(frame),
                                   [&](const Thread& thread) { return absorbs(frame, thread, content); });
      },
      [&](size_t token) { set_bit(bits, trie.tokens()[token]); });
}

// Tokens that close the string after `from` to `to` characters; `after_quote`: the state behind the quote.
void JsonRecognizer::add_exits(State after_quote, const TokenTrie& trie, uint64_t from, uint64_t to,
                               std::span<uint64_t> bits) {
  const auto add = [&](int32_t index) {
    const StringExit& exit = trie.exits()[static_cast<size_t>(index)];
    for (const StringExit::Use& use : exit.uses) {
      if (use.characters > to) break;
      if (use.characters >= from) set_bit(bits, use.token);
    }
  };
  const auto nodes = trie.exit_nodes();
  if (after_quote == dead_state || nodes.size() < 2) return;
  for (uint32_t i = 0; i < nodes[1].own; ++i) add(trie.exit_tokens()[nodes[1].token_begin + i]);
  walk(
      *this, after_quote, nodes, 1, trie.exit_tokens().size(), [](State, const TrieNode&) { return false; },
      [&](size_t token) { add(trie.exit_tokens()[token]); });
}

void JsonRecognizer::add_plain_string(State state, const std::vector<Thread>& threads, const TokenTrie& trie,
                                      std::span<uint64_t> bits) {
  const Program& program = machine_.program();
  const Frame frame = machine_.frame(state);
  uint64_t most = 0;
  for (const Thread& thread : threads) most = std::max(most, characters_left(frame, thread));
  if (machine_.syntax().bare) {
    walk_all(machine_.with_threads(state, threads), trie, 0, bits);
    return;
  }
  trie.add_staying(bits, most);
  // Which threads may close depends on how many characters come before the quote: in runs, the same ones.
  constexpr uint64_t tokens_characters_max = 128;
  std::vector<uint64_t> starts{0};
  for (const Thread& thread : threads) {
    const StringProgram& string = program.strings[thread.rule];
    if (string.min > frame.length) starts.push_back(string.min - frame.length);
    if (string.max != no_limit) starts.push_back(characters_left(frame, thread) + 1);
  }
  std::ranges::sort(starts);
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  for (size_t i = 0; i < starts.size() && starts[i] <= std::min(most, tokens_characters_max); ++i) {
    const Mark before = mark();
    const State with = machine_.with_threads(state, threads);
    const State moved = machine_.with_length(with, frame.length + static_cast<uint32_t>(starts[i]));
    add_exits(step(moved, '"'), trie, starts[i], i + 1 < starts.size() ? starts[i + 1] - 1 : no_limit, bits);
    release(before);
  }
}

void JsonRecognizer::add_open_key(State state, const std::vector<Thread>& threads, const TokenTrie& trie,
                                  std::span<uint64_t> bits) {
  const Mark before = mark();
  const State open = machine_.with_threads(state, threads);
  trie.add_staying(bits, no_limit);
  // A longer key is, as a rule, one that nobody knows.
  add_exits(machine_.after_unknown_key(open), trie, 1, no_limit, bits);
  const auto nodes = trie.nodes();
  const size_t written = machine_.frame(state).bytes;
  for (const std::string& name : machine_.special_names(machine_.frame(open))) {
    State at = state;
    uint32_t node = 0;
    bool spelled = true;
    for (size_t i = written; i < name.size() && spelled; ++i) {
      node = trie.child(node, static_cast<uint8_t>(name[i]));
      spelled = node != 0;
      if (spelled && at != dead_state) at = step(at, static_cast<uint8_t>(name[i]));
    }
    const uint32_t quote = spelled ? trie.child(node, '"') : 0;
    if (quote == 0) continue;
    for (const int32_t token : trie.subtree_tokens(quote)) clear_bit(bits, token);
    at = at == dead_state ? dead_state : step(at, '"');
    if (at == dead_state) continue;
    for (const int32_t token : trie.own_tokens(quote)) set_bit(bits, token);
    walk_all(at, trie, quote, bits);
  }
  // The key as it stands.
  if (const uint32_t quote = trie.child(0, '"'); quote != 0) {
    const State closed = step(state, '"');
    for (const int32_t token : trie.subtree_tokens(quote)) clear_bit(bits, token);
    if (closed != dead_state) {
      for (const int32_t token : trie.own_tokens(quote)) set_bit(bits, token);
      walk_all(closed, trie, quote, bits);
    }
  }
  release(before);
  static_cast<void>(nodes);
}

void JsonRecognizer::add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) {
  const Frame frame = machine_.frame(state);
  const bool short_cut = machine_.between_characters(frame) && !(machine_.syntax().bare && frame.kind == Kind::key);
  if (!short_cut) {
    walk_all(state, trie, 0, bits);
    return;
  }
  std::vector<Thread> easy, others;
  for (const Thread& thread : machine_.threads(frame)) (plain(frame, thread) ? easy : others).push_back(thread);
  const Mark before = mark();
  if (!easy.empty() && frame.kind == Kind::string) add_plain_string(state, easy, trie, bits);
  if (!easy.empty() && frame.kind == Kind::key) add_open_key(state, easy, trie, bits);
  if (!others.empty()) walk_all(machine_.with_threads(state, others), trie, 0, bits);
  release(before);
}

}  // namespace

std::unique_ptr<Recognizer> make_json_recognizer(const Program& program, const Syntax& syntax) {
  return std::make_unique<JsonRecognizer>(program, syntax);
}

}  // namespace lapidary::grammar
