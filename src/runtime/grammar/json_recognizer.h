// Masks for programs: the machine's steps over a vocabulary, with the short cuts that make them cheap.
#pragma once

#include <memory>
#include <vector>

#include "grammar/machine.h"
#include "grammar/recognizer.h"
#include "grammar/string_mask.h"

namespace lapidary::grammar {

class JsonRecognizer : public Recognizer {
 public:
  // `program` has to outlive it.
  JsonRecognizer(const Program& program, const Syntax& syntax) : machine_(program, syntax) {}

  std::unique_ptr<Recognizer> clone() const override { return std::make_unique<JsonRecognizer>(*this); }
  State start() const override { return machine_.start(); }
  State start_at(uint32_t node) { return machine_.start_at(node); }  // another value of the program
  State step(State state, uint32_t symbol) override { return machine_.step(state, symbol); }
  bool complete(State state) override { return machine_.complete(state); }
  void add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) override;
  Mark mark() const override {
    const Machine::Mark mark = machine_.mark();
    return {{mark.frames, mark.threads, mark.seen, mark.text}};
  }
  void release(const Mark& mark) override {
    machine_.release({mark.sizes[0], mark.sizes[1], mark.sizes[2], mark.sizes[3]});
  }
  size_t bytes_used() const override { return machine_.bytes_used(); }

 private:
  bool absorbs(const Frame& frame, const Thread& thread, const SubtreeContent& content) const;
  bool open_key(const Frame& key, const Thread& thread) const;
  std::shared_ptr<const StringMask> cached(const Frame& frame, const Thread& thread, const TokenTrie& trie);
  void walk_all(State state, const TokenTrie& trie, uint32_t node, std::span<uint64_t> bits);
  void add_plain_string(State state, const std::vector<Thread>& threads, const TokenTrie& trie,
                        std::span<uint64_t> bits);
  void add_raw_string(State state, const TokenTrie& trie, std::span<uint64_t> bits);
  void add_automaton_string(State state, const Thread& thread, const TokenTrie& trie, std::span<uint64_t> bits);
  void add_open_key(State state, std::span<const Thread> threads, const TokenTrie& trie, std::span<uint64_t> bits);
  template <typename Wanted>
  void add_exits(State after_quote, const TokenTrie& trie, const Wanted& wanted, std::span<uint64_t> bits);
  uint64_t characters_left(const Frame& frame, const Thread& thread) const;

  Machine machine_;
};

}  // namespace lapidary::grammar
