// Runs a program over a text, symbol by symbol.
//
// What JSON's own syntax decides is the same for every way in which a text may satisfy a schema, so there is one stack
// of frames: open objects and arrays, and the string, number or word being read. Each frame carries the rules that are
// still possible there ("threads"), each with the thread of the frame below that it belongs to. A frame is never
// changed: a step makes a new one, so that to go back is to remember an index.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/json_string.h"
#include "grammar/program.h"

namespace lapidary::grammar {

using Symbol = uint32_t;                     // a byte, or one of these
inline constexpr Symbol quote_symbol = 256;  // the quote token of Gemma's calls

struct Syntax {
  bool bare = false;         // Gemma's calls: names without quotes, strings between quote tokens, nothing escaped
  uint32_t indent_max = 64;  // characters of white space after a line break; 0: no white space at all
};

using FrameIndex = uint32_t;
inline constexpr FrameIndex dead_frame = 0;

struct Thread {
  uint32_t rule = 0;
  uint32_t parent = 0;           // index among the threads of the parent frame
  uint32_t a = 0, b = 0, c = 0;  // see Frame::Kind
  auto operator<=>(const Thread&) const = default;
};

struct Frame {
  enum class Kind : uint8_t {
    root,    // b: node
    object,  // a: required names that are missing, b: node of the value that is expected, c: claims
    array,   // a: claims counted, a byte each; b: node
    string,  // a: state of the DFA, or first and (b) last + 1 of the values that fit
    key,     // a, b: names that fit; c: state of the names' DFA, 0: no other name
    number,
    word,  // rule: 0 null, 1 true, 2 false
  };
  // Where a root, object or array is; a number has its own.
  enum class Phase : uint8_t { value, first_key, key, colon, first_item, item, after, done };
  enum class NumberPhase : uint8_t { sign, zero, whole, point, fraction, exponent, exponent_sign, exponent_digits };

  FrameIndex parent = dead_frame;
  uint32_t threads = 0, thread_count = 0;
  Kind kind = Kind::root;
  Phase phase = Phase::value;
  NumberPhase number = NumberPhase::sign;
  uint8_t blanks = 0;
  StringLexer lexer;
  uint32_t length = 0;   // characters, members or items
  uint32_t text = 0;     // string, key, number: offset of its text
  uint32_t bytes = 0;    // … its length; of a word: letters read
  uint32_t seen = none;  // object: the last name that was seen
};

class Machine {
 public:
  Machine(const Program& program, const Syntax& syntax);

  FrameIndex start() const { return 1; }
  FrameIndex start_at(uint32_t node);  // a text that is this value of the program
  // The frame after `symbol`, or dead_frame.
  FrameIndex step(FrameIndex top, Symbol symbol);
  bool complete(FrameIndex top);

  // Everything made since can be forgotten at once.
  struct Mark {
    size_t frames = 0, threads = 0, seen = 0, text = 0;
  };
  Mark mark() const { return {frames_.size(), threads_.size(), seen_.size(), text_.size()}; }
  void release(const Mark& mark);
  size_t bytes_used() const;

  const Program& program() const { return *program_; }
  const Syntax& syntax() const { return syntax_; }
  const Frame& frame(FrameIndex index) const { return frames_[index]; }
  std::span<const Thread> threads(const Frame& frame) const {
    return {threads_.data() + frame.threads, frame.thread_count};
  }
  std::string_view text(const Frame& frame) const { return {text_.data() + frame.text, frame.bytes}; }
  // A string or key whose next byte begins a character.
  bool between_characters(const Frame& frame) const {
    return (frame.kind == Frame::Kind::string || frame.kind == Frame::Kind::key) && frame.lexer.between();
  }

  // For masks: the frame with only some of its threads; after a key that is none of the known or seen ones.
  FrameIndex with_threads(FrameIndex top, std::span<const Thread> threads);
  FrameIndex with_length(FrameIndex top, uint32_t length);
  FrameIndex after_unknown_key(FrameIndex key);
  FrameIndex after_string(FrameIndex string, const Thread& thread) { return end_value(string, {thread}); }
  // Names that are known to the key's threads, or that its object has already, and begin with what is written of it.
  std::vector<std::string> special_names(const Frame& key) const;
  bool names_open(const Thread& key_thread) const { return key_thread.c != 0; }
  // Whether the automaton of other names alone says how this key may go on, with the names in the list: none of the
  // names that are there already is in the way, and no value has to be claimed by it.
  bool automaton_decides(const Frame& key, const Thread& thread) const;

 private:
  struct Seen {
    uint64_t hash = 0;
    uint32_t previous = none;
    uint32_t text = 0, bytes = 0;
  };

  FrameIndex push(Frame frame, std::vector<Thread>& threads);
  FrameIndex push_distinct(Frame frame, const std::vector<Thread>& threads);
  FrameIndex push_same(Frame frame);
  FrameIndex step_structure(FrameIndex top, Symbol symbol);
  FrameIndex step_root(FrameIndex top, Symbol symbol);
  FrameIndex step_object(FrameIndex top, Symbol symbol);
  FrameIndex step_array(FrameIndex top, Symbol symbol);
  FrameIndex step_string(FrameIndex top, Symbol symbol);
  FrameIndex step_bare_key(FrameIndex top, Symbol symbol);
  FrameIndex step_number(FrameIndex top, Symbol symbol);
  FrameIndex step_word(FrameIndex top, Symbol symbol);

  FrameIndex begin_value(FrameIndex top, Symbol symbol);
  FrameIndex begin_item(FrameIndex top, Symbol symbol);
  FrameIndex begin_string(FrameIndex top);
  FrameIndex begin_number(FrameIndex top, Symbol symbol);
  FrameIndex begin_word(FrameIndex top, uint32_t word);
  FrameIndex begin_array(FrameIndex top);
  FrameIndex begin_object(FrameIndex top);
  FrameIndex begin_key(FrameIndex top);
  FrameIndex end_value(FrameIndex child, const std::vector<Thread>& survivors);
  FrameIndex end_string(FrameIndex top);
  FrameIndex end_key(FrameIndex top, bool unknown);
  FrameIndex end_number(FrameIndex top);
  FrameIndex end_array(FrameIndex top);
  FrameIndex end_object(FrameIndex top);

  bool feed(const Frame& frame, char32_t character, Thread& thread) const;
  bool can_become(const Frame& frame, const StringLexer::Possible& possible, const Thread& thread) const;
  bool string_can_close(const Frame& frame, const Thread& thread) const;
  void add_item_ways(const Frame& frame, const Thread& thread, std::vector<Thread>& ways) const;
  bool key_alive(const Frame& object, const Thread& thread) const;
  bool others_alive(const Frame& object, const Thread& thread, std::string_view written, CodePointRange next) const;
  uint64_t others_seen(const Frame& object, const ObjectProgram& program, std::string_view written, CodePointRange next,
                       uint32_t outputs) const;
  uint64_t names_taken(const Frame& object, const ObjectProgram& program, std::string_view written, CodePointRange next,
                       uint32_t outputs) const;
  struct Name {  // one in the list, or another one with these outputs
    uint64_t hash = 0;
    uint32_t outputs = none;
  };
  uint64_t claims_short(const Frame& object, const Thread& thread, const Name& used, uint32_t claims) const;
  bool may_claim(const Frame& object, const Thread& thread, const NameProgram& name) const;
  struct Claims {  // of an object's thread
    uint32_t seen = none, length = 0;
    bool spare = true;         // a name may come that claims nothing; if not:
    std::vector<bool> names;   // … which of the list may come, those that are required aside
    std::vector<bool> others;  // … with which of the `claiming` outputs another one may
  };
  const Claims& claims_of(const Frame& object, const Thread& thread) const;
  bool any_key(const Frame& object, const Thread& thread) const;
  bool room_for_optional(const Frame& object, const Thread& thread, uint64_t name) const;
  bool may_come(const Frame& object, const Thread& thread, const NameProgram& name) const;
  bool object_can_close(const Frame& object, const Thread& thread) const;
  bool seen(const Frame& object, uint64_t hash) const;
  uint32_t append_text(uint32_t text, uint32_t bytes, std::string_view more);

  const Program* program_;
  Syntax syntax_;
  std::vector<Frame> frames_;
  std::vector<Thread> threads_;
  std::vector<Seen> seen_;
  std::string text_;
  std::vector<Thread> scratch_;
  mutable std::unordered_map<uint32_t, Claims> claims_;  // by thread, as far as asked
};

}  // namespace lapidary::grammar
