#include "grammar/json_recognizer.h"

#include <algorithm>
#include <map>
#include <utility>

namespace lapidary::grammar {
namespace {

using Kind = Frame::Kind;

}  // namespace

uint64_t JsonRecognizer::characters_left(const Frame& frame, const Thread& thread) const {
  const uint64_t max = machine_.program().strings[thread.rule].max;
  return max > frame.length ? max - frame.length : 0;
}

// Whether all names of a kind lead to the same: those that no list has.
bool JsonRecognizer::open_key(const Frame& key, const Thread& thread) const {
  if (thread.c == 0 || !machine_.automaton_decides(key, thread)) return false;
  const Program& program = machine_.program();
  const uint32_t dfa = program.objects[thread.rule].key_dfa;
  return dfa == none || program.dfas[dfa].sole_output[thread.c] != 0;
}

bool JsonRecognizer::absorbs(const Frame& frame, const Thread& thread, const SubtreeContent& content) const {
  const Program& program = machine_.program();
  uint32_t dfa = none, state = 0;
  if (frame.kind == Kind::key) {
    if (thread.c == 0 || !machine_.automaton_decides(frame, thread)) return false;
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
      if (length + automaton.nearest_max > string.max || (frame.length < string.min && !automaton.endless))
        return false;
    }
  }
  if (dfa == none) return true;
  return program.dfas[dfa].absorbs(state, content);
}

void JsonRecognizer::walk_all(State state, const TokenTrie& trie, uint32_t node, std::span<uint64_t> bits) {
  const bool bare = machine_.syntax().bare;
  walk(
      *this, state, trie.nodes(), node, trie.tokens().size(),
      [&](State at, const TrieNode& where) {
        const Frame& frame = machine_.frame(at);
        if (!machine_.between_characters(frame) || (bare && frame.kind == Kind::key)) return false;
        const SubtreeContent& content = *trie.content(where);
        if (!bare && !content.plain) return false;
        return std::ranges::any_of(machine_.threads(frame),
                                   [&](const Thread& thread) { return absorbs(frame, thread, content); });
      },
      [&](size_t token) { set_bit(bits, trie.tokens()[token]); });
}

// Tokens that close the string as `wanted(use)` says; `after_quote`: the state behind the quote.
template <typename Wanted>
void JsonRecognizer::add_exits(State after_quote, const TokenTrie& trie, const Wanted& wanted,
                               std::span<uint64_t> bits) {
  const auto add = [&](int32_t index) {
    for (const StringExit::Use& use : trie.exits()[static_cast<size_t>(index)].uses)
      if (wanted(use)) set_bit(bits, use.token);
  };
  const auto nodes = trie.exit_nodes();
  if (after_quote == dead_state || nodes.size() < 2) return;
  for (uint32_t i = 0; i < nodes[1].own; ++i) add(trie.exit_tokens()[nodes[1].token_begin + i]);
  walk(
      *this, after_quote, nodes, 1, trie.exit_tokens().size(), [](State, const TrieNode&) { return false; },
      [&](size_t token) { add(trie.exit_tokens()[token]); });
}

// A string, or the name of a property, that an automaton describes: what stays inside is known from earlier.
std::shared_ptr<const StringMask> JsonRecognizer::cached(const Frame& frame, const Thread& thread,
                                                         const TokenTrie& trie) {
  const StringText text = machine_.syntax().bare ? StringText::raw : StringText::quoted;
  const Program& program = machine_.program();
  if (frame.kind == Kind::key) {
    const uint32_t dfa = program.objects[thread.rule].key_dfa;
    return trie.string_masks().get(program.dfas[dfa], thread.c, 0, no_limit, trie, text);
  }
  const StringProgram& string = program.strings[thread.rule];
  const uint64_t min_left = string.min > frame.length ? string.min - frame.length : 0;
  const uint64_t max_left = string.max == no_limit ? no_limit : characters_left(frame, thread);
  return trie.string_masks().get(program.dfas[string.dfa], thread.a, min_left, max_left, trie, text);
}

void JsonRecognizer::add_automaton_string(State state, const Thread& thread, const TokenTrie& trie,
                                          std::span<uint64_t> bits) {
  const auto mask = cached(machine_.frame(state), thread, trie);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] |= mask->inside[i];
  if (machine_.syntax().bare) return;
  const Mark before = mark();
  add_exits(
      machine_.after_string(state, thread), trie,
      [&](const StringExit::Use& use) { return test_bit(mask->exitable, use.token); }, bits);
  release(before);
}

// A string between quote tokens that may be anything: all text, and the bytes that begin a character.
void JsonRecognizer::add_raw_string(State state, const TokenTrie& trie, std::span<uint64_t> bits) {
  const auto text = trie.free_text();
  for (size_t i = 0; i < bits.size(); ++i) bits[i] |= text[i];
  const auto nodes = trie.nodes();
  const Mark before = mark();
  for (uint32_t i = 1; i < nodes[0].end; i = nodes[i].end)
    if (nodes[i].byte >= 0x80 && step(state, nodes[i].byte) != dead_state)
      for (const int32_t token : trie.own_tokens(i)) set_bit(bits, token);
  release(before);
}

void JsonRecognizer::add_plain_string(State state, const std::vector<Thread>& threads, const TokenTrie& trie,
                                      std::span<uint64_t> bits) {
  const Program& program = machine_.program();
  const Frame frame = machine_.frame(state);
  uint64_t most = 0;
  for (const Thread& thread : threads) most = std::max(most, characters_left(frame, thread));
  if (machine_.syntax().bare) {
    if (most == no_limit - frame.length) {
      add_raw_string(state, trie, bits);
    } else {
      walk_all(machine_.with_threads(state, threads), trie, 0, bits);
    }
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
    const uint64_t from = starts[i], to = i + 1 < starts.size() ? starts[i + 1] - 1 : no_limit;
    add_exits(
        step(moved, '"'), trie,
        [&](const StringExit::Use& use) { return use.characters >= from && use.characters <= to; }, bits);
    release(before);
  }
}

// `threads`: of names that are open alike, so that they differ only in the names that they know.
void JsonRecognizer::add_open_key(State state, std::span<const Thread> threads, const TokenTrie& trie,
                                  std::span<uint64_t> bits) {
  const Mark before = mark();
  const Thread& thread = threads[0];
  const State open = machine_.with_threads(state, threads);
  std::shared_ptr<const StringMask> mask;
  if (machine_.program().objects[thread.rule].key_dfa == none) {
    trie.add_staying(bits, no_limit);
  } else {
    mask = cached(machine_.frame(state), thread, trie);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] |= mask->inside[i];
  }
  // A longer key is, as a rule, one that nobody knows.
  add_exits(
      machine_.after_unknown_key(open), trie,
      [&](const StringExit::Use& use) {
        return use.characters > 0 && (mask == nullptr || test_bit(mask->exitable, use.token));
      },
      bits);
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
}

void JsonRecognizer::add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) {
  const Frame frame = machine_.frame(state);
  const bool short_cut = machine_.between_characters(frame) && !(machine_.syntax().bare && frame.kind == Kind::key);
  if (!short_cut) {
    walk_all(state, trie, 0, bits);
    return;
  }
  std::vector<Thread> plain, others;
  std::map<std::pair<uint32_t, uint32_t>, std::vector<Thread>> keys;  // by automaton and its state
  const Mark before = mark();
  const auto all = machine_.threads(frame);
  for (const Thread& thread : std::vector<Thread>(all.begin(), all.end())) {
    if (frame.kind == Kind::key) {
      const uint32_t dfa = machine_.program().objects[thread.rule].key_dfa;
      const bool open = open_key(frame, thread);
      if (open) keys[{dfa, thread.c}].push_back(thread);
      // An automaton says nothing of the beginnings of the names in the list.
      if (!open || (thread.a < thread.b && dfa != none))
        others.push_back({thread.rule, thread.parent, thread.a, thread.b, open ? 0 : thread.c});
      continue;
    }
    const StringProgram& string = machine_.program().strings[thread.rule];
    if (string.plain()) {
      plain.push_back(thread);
    } else if (string.dfa != none) {
      add_automaton_string(state, thread, trie, bits);
    } else {
      others.push_back(thread);
    }
  }
  for (const auto& [automaton, threads] : keys) add_open_key(state, threads, trie, bits);
  if (!plain.empty()) add_plain_string(state, plain, trie, bits);
  if (!others.empty()) walk_all(machine_.with_threads(state, others), trie, 0, bits);
  release(before);
}

}  // namespace lapidary::grammar
