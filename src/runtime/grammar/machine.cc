#include "grammar/machine.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "grammar/completion.h"

namespace lapidary::grammar {
namespace {

using Kind = Frame::Kind;
using Phase = Frame::Phase;
using NumberPhase = Frame::NumberPhase;

constexpr size_t threads_max = 2'000;  // of one frame; ways beyond that are given up
constexpr std::array<std::string_view, 3> words = {"null", "true", "false"};

bool is_blank(Symbol symbol) { return symbol == ' ' || symbol == '\n' || symbol == '\t'; }
bool is_digit(Symbol symbol) { return symbol >= '0' && symbol <= '9'; }

constexpr CodePointRange any_rest{0, text_end};  // any character, or the end

// Whether `name` begins with `written` and then a character of `next`.
bool begins_with(std::string_view name, std::string_view written, CodePointRange next) {
  if (!name.starts_with(written)) return false;
  if (next == any_rest) return true;
  const std::string_view rest = name.substr(written.size());
  const size_t length = utf8_length(rest);
  if (length == 0) return false;
  const char32_t character = utf8_decode(rest, length);
  return character >= next.first && character <= next.last;
}

uint8_t claim_count(uint32_t counts, uint32_t index) { return static_cast<uint8_t>(counts >> (8 * index)); }

}  // namespace

Machine::Machine(const Program& program, const Syntax& syntax) : program_(&program), syntax_(syntax) {
  frames_.emplace_back();
  threads_.push_back({0, 0, 0, program.root, 0});
  Frame root;
  root.thread_count = 1;
  frames_.push_back(root);
}

FrameIndex Machine::start_at(uint32_t node) {
  scratch_.assign(1, {0, 0, 0, node, 0});
  return push(Frame(), scratch_);
}

void Machine::release(const Mark& mark) {
  frames_.resize(mark.frames);
  threads_.resize(mark.threads);
  seen_.resize(mark.seen);
  text_.resize(mark.text);
  if (!claims_.empty()) std::erase_if(claims_, [&](const auto& entry) { return entry.first >= mark.threads; });
}

size_t Machine::bytes_used() const {
  return frames_.size() * sizeof(Frame) + threads_.size() * sizeof(Thread) + seen_.size() * sizeof(Seen) + text_.size();
}

FrameIndex Machine::push_same(Frame frame) {
  frames_.push_back(frame);
  return static_cast<FrameIndex>(frames_.size() - 1);
}

// Takes `threads`, each once; no threads, no frame.
FrameIndex Machine::push(Frame frame, std::vector<Thread>& threads) {
  if (threads.size() > 1) {
    std::ranges::sort(threads);
    threads.erase(std::unique(threads.begin(), threads.end()), threads.end());
  }
  return push_distinct(frame, threads);
}

FrameIndex Machine::push_distinct(Frame frame, const std::vector<Thread>& threads) {
  if (threads.empty()) return dead_frame;
  const size_t count = std::min(threads.size(), threads_max);
  frame.threads = static_cast<uint32_t>(threads_.size());
  frame.thread_count = static_cast<uint32_t>(count);
  threads_.insert(threads_.end(), threads.begin(), threads.begin() + static_cast<ptrdiff_t>(count));
  return push_same(frame);
}

FrameIndex Machine::with_threads(FrameIndex top, std::span<const Thread> threads) {
  scratch_.assign(threads.begin(), threads.end());
  return push(frames_[top], scratch_);
}

FrameIndex Machine::with_length(FrameIndex top, uint32_t length) {
  Frame frame = frames_[top];
  frame.length = length;
  return push_same(frame);
}

// Text lies in one piece: what is not at the end of the store is copied there first.
uint32_t Machine::append_text(uint32_t text, uint32_t bytes, std::string_view more) {
  if (text + bytes != text_.size()) {
    const auto copied = static_cast<uint32_t>(text_.size());
    text_.append(text_, text, bytes);
    text = copied;
  }
  text_ += more;
  return text;
}

FrameIndex Machine::step(FrameIndex top, Symbol symbol) {
  switch (frames_[top].kind) {
    case Kind::string:
      return step_string(top, symbol);
    case Kind::key:
      return syntax_.bare ? step_bare_key(top, symbol) : step_string(top, symbol);
    case Kind::number:
      return step_number(top, symbol);
    case Kind::word:
      return step_word(top, symbol);
    default:
      return step_structure(top, symbol);
  }
}

FrameIndex Machine::step_structure(FrameIndex top, Symbol symbol) {
  const Frame& frame = frames_[top];
  if (is_blank(symbol)) {
    // One space, or a line break and the next line's indent. Nothing before or behind the whole value.
    Frame next = frame;
    if (frame.kind == Kind::root || syntax_.indent_max == 0) return dead_frame;
    if (frame.blanks == 0 && symbol != '\t') {
      next.blanks = symbol == '\n' ? 2 : 1;
    } else if (frame.blanks >= 2 && symbol != '\n' && frame.blanks < 2 + syntax_.indent_max) {
      ++next.blanks;
    } else {
      return dead_frame;
    }
    return push_same(next);
  }
  if (frame.kind == Kind::object) return step_object(top, symbol);
  return frame.kind == Kind::array ? step_array(top, symbol) : step_root(top, symbol);
}

FrameIndex Machine::step_root(FrameIndex top, Symbol symbol) {
  return frames_[top].phase == Phase::value ? begin_value(top, symbol) : dead_frame;
}

bool Machine::complete(FrameIndex top) {
  const Frame& frame = frames_[top];
  if (frame.kind == Kind::root) return frame.phase == Phase::done;
  if (frame.kind != Kind::number || frames_[frame.parent].kind != Kind::root) return false;
  const Mark here = mark();
  const bool done = end_number(top) != dead_frame;
  release(here);
  return done;
}

// --- values ----------------------------------------------------------------------------------------------------------

FrameIndex Machine::begin_value(FrameIndex top, Symbol symbol) {
  if (symbol == '-' || is_digit(symbol)) return begin_number(top, symbol);
  if (symbol == (syntax_.bare ? quote_symbol : Symbol{'"'})) return begin_string(top);
  switch (symbol) {
    case '{':
      return begin_object(top);
    case '[':
      return begin_array(top);
    case 'n':
      return begin_word(top, 0);
    case 't':
      return begin_word(top, 1);
    case 'f':
      return begin_word(top, 2);
    default:
      return dead_frame;
  }
}

FrameIndex Machine::begin_string(FrameIndex top) {
  scratch_.clear();
  const auto parents = threads(frames_[top]);
  for (uint32_t i = 0; i < parents.size(); ++i)
    for (const uint32_t rule : program_->nodes[parents[i].b].strings) {
      const StringProgram& string = program_->strings[rule];
      if (string.dfa != none) {
        scratch_.push_back({rule, i, program_->dfas[string.dfa].start, 0, 0});
      } else {
        scratch_.push_back({rule, i, 0, static_cast<uint32_t>(string.values.size()), 0});
      }
    }
  Frame frame;
  frame.kind = Kind::string;
  frame.parent = top;
  frame.text = static_cast<uint32_t>(text_.size());
  return push(frame, scratch_);
}

FrameIndex Machine::begin_number(FrameIndex top, Symbol symbol) {
  scratch_.clear();
  const char first = static_cast<char>(symbol);
  const auto parents = threads(frames_[top]);
  for (uint32_t i = 0; i < parents.size(); ++i)
    for (const uint32_t rule : program_->nodes[parents[i].b].numbers)
      if (program_->numbers[rule].may_begin({&first, 1})) scratch_.push_back({rule, i, 0, 0, 0});
  if (scratch_.empty()) return dead_frame;
  Frame frame;
  frame.kind = Kind::number;
  frame.parent = top;
  frame.number = symbol == '-' ? NumberPhase::sign : symbol == '0' ? NumberPhase::zero : NumberPhase::whole;
  frame.text = static_cast<uint32_t>(text_.size());
  text_ += first;
  frame.bytes = 1;
  return push(frame, scratch_);
}

FrameIndex Machine::begin_word(FrameIndex top, uint32_t word) {
  scratch_.clear();
  const auto parents = threads(frames_[top]);
  for (uint32_t i = 0; i < parents.size(); ++i) {
    const ValueNode& node = program_->nodes[parents[i].b];
    if (word == 0 ? node.null : word == 1 ? node.yes : node.no) scratch_.push_back({word, i, 0, 0, 0});
  }
  Frame frame;
  frame.kind = Kind::word;
  frame.parent = top;
  frame.bytes = 1;
  return push(frame, scratch_);
}

FrameIndex Machine::begin_array(FrameIndex top) {
  scratch_.clear();
  const auto parents = threads(frames_[top]);
  for (uint32_t i = 0; i < parents.size(); ++i)
    for (const uint32_t rule : program_->nodes[parents[i].b].arrays) scratch_.push_back({rule, i, 0, 0, 0});
  Frame frame;
  frame.kind = Kind::array;
  frame.phase = Phase::first_item;
  frame.parent = top;
  return push(frame, scratch_);
}

FrameIndex Machine::begin_object(FrameIndex top) {
  scratch_.clear();
  const auto parents = threads(frames_[top]);
  for (uint32_t i = 0; i < parents.size(); ++i)
    for (const uint32_t rule : program_->nodes[parents[i].b].objects)
      scratch_.push_back({rule, i, program_->objects[rule].required, 0, 0});
  Frame frame;
  frame.kind = Kind::object;
  frame.phase = Phase::first_key;
  frame.parent = top;
  return push(frame, scratch_);
}

// `survivors`: threads of the child that have found what they were looking for.
FrameIndex Machine::end_value(FrameIndex child, const std::vector<Thread>& survivors) {
  if (survivors.empty()) return dead_frame;
  Frame next = frames_[frames_[child].parent];
  std::vector<Thread> kept;
  const auto parents = threads(next);
  std::vector<bool> taken(parents.size());
  for (const Thread& thread : survivors) taken[thread.parent] = true;
  for (size_t i = 0; i < parents.size(); ++i)
    if (taken[i]) {
      kept.push_back(parents[i]);
      kept.back().b = 0;
    }
  next.blanks = 0;
  next.phase = next.kind == Kind::root ? Phase::done : Phase::after;
  if (next.kind == Kind::array) ++next.length;
  return push(next, kept);
}

// --- strings ---------------------------------------------------------------------------------------------------------

bool Machine::feed(const Frame& frame, char32_t character, Thread& thread) const {
  std::string utf8;
  const auto narrow = [&](const auto& list, const auto& text_of) {
    utf8_append(utf8, character);
    // The values that go on with these bytes; they all share what came before.
    while (thread.a < thread.b && text_of(list[thread.a]).substr(frame.bytes, utf8.size()) < utf8) ++thread.a;
    while (thread.a < thread.b && text_of(list[thread.b - 1]).substr(frame.bytes, utf8.size()) > utf8) --thread.b;
  };
  if (frame.kind == Kind::key) {
    const ObjectProgram& object = program_->objects[thread.rule];
    narrow(object.names, [](const NameProgram& name) { return std::string_view(name.text); });
    const Frame& parent = frames_[frame.parent];
    if (object.key_dfa != none && thread.c != 0) {
      thread.c = program_->dfas[object.key_dfa].step(thread.c, character);
      const bool decides = object.some == 0 && program_->dfas[object.key_dfa].endless;
      if (thread.c != 0 && !decides && !others_alive(parent, thread, std::string(text(frame)) + utf8, any_rest))
        thread.c = 0;
    }
    return key_alive(parent, thread);
  }
  const StringProgram& string = program_->strings[thread.rule];
  if (!string.values.empty()) {
    narrow(string.values, [](const std::string& value) { return std::string_view(value); });
    return thread.a < thread.b;
  }
  const uint64_t length = uint64_t{frame.length} + 1;
  if (length > string.max) return false;
  if (string.dfa == none) return true;
  const Dfa& dfa = program_->dfas[string.dfa];
  thread.a = dfa.step(thread.a, character);
  return thread.a != Dfa::dead && length + dfa.nearest[thread.a] <= string.max &&
         length + dfa.farthest[thread.a] >= string.min;
}

bool Machine::can_become(const Frame& frame, const StringLexer::Possible& possible, const Thread& thread) const {
  const auto inside = [&](std::string_view rest) {
    const size_t length = utf8_length(rest);
    if (length == 0) return false;
    const char32_t next = utf8_decode(rest, length);
    return (next >= possible.near.first && next <= possible.near.last) ||
           (next >= possible.far.first && next <= possible.far.last);
  };
  if (frame.kind == Kind::key) {
    const ObjectProgram& object = program_->objects[thread.rule];
    if (thread.c != 0) {
      if (object.key_dfa == none) return true;
      const Frame& parent = frames_[frame.parent];
      if (others_alive(parent, thread, text(frame), possible.near) ||
          others_alive(parent, thread, text(frame), possible.far))
        return true;
    }
    const Frame& parent = frames_[frame.parent];
    for (uint32_t i = thread.a; i < thread.b; ++i)
      if (inside(std::string_view(object.names[i].text).substr(frame.bytes)) &&
          may_come(parent, threads(parent)[thread.parent], object.names[i]))
        return true;
    return false;
  }
  const StringProgram& string = program_->strings[thread.rule];
  if (!string.values.empty()) {
    for (uint32_t i = thread.a; i < thread.b; ++i)
      if (inside(std::string_view(string.values[i]).substr(frame.bytes))) return true;
    return false;
  }
  if (frame.length >= string.max) return false;
  if (string.dfa == none) return true;
  const Dfa& dfa = program_->dfas[string.dfa];
  const uint64_t length = uint64_t{frame.length} + 1, most = string.max - length;
  const uint64_t least = string.min > length ? string.min - length : 0;
  return dfa.leads_on(thread.a, possible.near, most, least) || dfa.leads_on(thread.a, possible.far, most, least);
}

bool Machine::string_can_close(const Frame& frame, const Thread& thread) const {
  const StringProgram& string = program_->strings[thread.rule];
  if (!string.values.empty()) return string.values[thread.a].size() == frame.bytes;
  if (frame.length < string.min) return false;
  return string.dfa == none || program_->dfas[string.dfa].accepts(thread.a);
}

FrameIndex Machine::step_string(FrameIndex top, Symbol symbol) {
  Frame frame = frames_[top];
  StringLexer::Step step = StringLexer::Step::dead;
  if (symbol < 256)
    step = syntax_.bare ? frame.lexer.push_raw(static_cast<uint8_t>(symbol))
                        : frame.lexer.push(static_cast<uint8_t>(symbol));
  else if (symbol == quote_symbol && syntax_.bare && frame.lexer.between())
    step = StringLexer::Step::closed;
  if (step == StringLexer::Step::dead) return dead_frame;
  if (step == StringLexer::Step::closed) return frame.kind == Kind::key ? end_key(top, false) : end_string(top);
  scratch_.clear();
  if (step == StringLexer::Step::within) {
    const StringLexer::Possible possible = frame.lexer.possible();
    for (const Thread& thread : threads(frame))
      if (can_become(frame, possible, thread)) scratch_.push_back(thread);
    if (scratch_.size() == frame.thread_count) return push_same(frame);
    return push_distinct(frame, scratch_);
  }
  const char32_t character = frame.lexer.character();
  bool changed = false;
  for (const Thread& before : threads(frame)) {
    Thread thread = before;
    if (!feed(frame, character, thread)) continue;
    changed |= thread != before;
    scratch_.push_back(thread);
  }
  if (scratch_.empty()) return dead_frame;
  std::string utf8;
  utf8_append(utf8, character);
  if (frame.kind == Kind::key) frame.text = append_text(frame.text, frame.bytes, utf8);
  frame.bytes += static_cast<uint32_t>(utf8.size());
  ++frame.length;
  if (!changed && scratch_.size() == frame.thread_count) return push_same(frame);
  return push_distinct(frame, scratch_);
}

FrameIndex Machine::end_string(FrameIndex top) {
  const Frame& frame = frames_[top];
  std::vector<Thread> survivors;
  for (const Thread& thread : threads(frame))
    if (string_can_close(frame, thread)) survivors.push_back(thread);
  return end_value(top, survivors);
}

// --- numbers and words -----------------------------------------------------------------------------------------------

namespace {

// The phase after `symbol`; nothing if no number goes on so.
bool advance(NumberPhase& phase, Symbol symbol) {
  using enum NumberPhase;
  const bool whole_done = phase == zero || phase == whole;
  if (is_digit(symbol)) {
    switch (phase) {
      case sign:
        phase = symbol == '0' ? zero : whole;
        return true;
      case zero:
        return false;
      case point:
        phase = fraction;
        return true;
      case exponent:
      case exponent_sign:
        phase = exponent_digits;
        return true;
      default:
        return true;
    }
  }
  if (symbol == '.' && whole_done) {
    phase = point;
    return true;
  }
  if ((symbol == 'e' || symbol == 'E') && (whole_done || phase == fraction)) {
    phase = exponent;
    return true;
  }
  if ((symbol == '+' || symbol == '-') && phase == exponent) {
    phase = exponent_sign;
    return true;
  }
  return false;
}

// Numbers are kept within what every reader can take: of less than 300 in the exponent, and below 10^308.
bool exponent_fits(std::string_view text) {
  constexpr size_t power_max = 308;
  const size_t e = text.find_first_of("eE");
  if (e == std::string_view::npos) return true;
  std::string_view digits = text.substr(e + 1);
  const bool small = digits.starts_with('-');
  if (!digits.empty() && (digits[0] == '+' || digits[0] == '-')) digits.remove_prefix(1);
  if (digits.size() > 3 || (digits.size() == 3 && digits[0] >= '3')) return false;
  size_t power = 0;
  for (const char c : digits) power = power * 10 + static_cast<size_t>(c - '0');
  const size_t whole = std::min(text.find('.'), e) - (text.starts_with('-') ? 1 : 0);
  return small || whole + power <= power_max;
}

}  // namespace

namespace {

bool ends_number(NumberPhase phase) {
  return phase == NumberPhase::zero || phase == NumberPhase::whole || phase == NumberPhase::fraction ||
         phase == NumberPhase::exponent_digits;
}

}  // namespace

FrameIndex Machine::step_number(FrameIndex top, Symbol symbol) {
  Frame frame = frames_[top];
  if (!is_digit(symbol) && symbol != '.' && symbol != 'e' && symbol != 'E' && symbol != '+' && symbol != '-') {
    const FrameIndex parent = end_number(top);
    return parent == dead_frame ? dead_frame : step(parent, symbol);
  }
  if (frame.bytes >= number_bytes_max || !advance(frame.number, symbol)) return dead_frame;
  const char byte = static_cast<char>(symbol);
  const Mark before = mark();
  frame.text = append_text(frame.text, frame.bytes, {&byte, 1});
  ++frame.bytes;
  scratch_.clear();
  const auto goes_on = [&](const NumberRule& rule) {
    if (frame.bytes < number_bytes_max) return rule.may_begin(text(frame));
    const auto whole = ends_number(frame.number) ? Decimal::parse(text(frame)) : std::nullopt;
    return whole && rule.accepts(*whole);  // nothing can follow
  };
  if (exponent_fits(text(frame)))
    for (const Thread& thread : threads(frame))
      if (goes_on(program_->numbers[thread.rule])) scratch_.push_back(thread);
  if (scratch_.empty()) {
    release(before);
    return dead_frame;
  }
  if (scratch_.size() == frame.thread_count) return push_same(frame);
  return push(frame, scratch_);
}

FrameIndex Machine::end_number(FrameIndex top) {
  const Frame& frame = frames_[top];
  if (!ends_number(frame.number)) return dead_frame;
  const auto value = Decimal::parse(text(frame));
  if (!value) return dead_frame;
  std::vector<Thread> survivors;
  for (const Thread& thread : threads(frame))
    if (program_->numbers[thread.rule].accepts(*value)) survivors.push_back(thread);
  return end_value(top, survivors);
}

FrameIndex Machine::step_word(FrameIndex top, Symbol symbol) {
  Frame frame = frames_[top];
  const std::string_view word = words[threads(frame)[0].rule];
  if (symbol != static_cast<Symbol>(word[frame.bytes])) return dead_frame;
  ++frame.bytes;
  if (frame.bytes < word.size()) return push_same(frame);
  const auto all = threads(frame);
  return end_value(top, std::vector<Thread>(all.begin(), all.end()));
}

// --- arrays ----------------------------------------------------------------------------------------------------------

FrameIndex Machine::step_array(FrameIndex top, Symbol symbol) {
  const Frame& frame = frames_[top];
  const bool ends = symbol == ']' && frame.phase != Phase::item;
  if (ends) return end_array(top);
  if (frame.phase != Phase::after) return begin_item(top, symbol);
  if (symbol != ',') return dead_frame;
  std::vector<Thread> kept;
  for (const Thread& thread : threads(frame))
    if (std::vector<Thread> ways; add_item_ways(frame, thread, ways), !ways.empty()) kept.push_back(thread);
  Frame next = frame;
  next.phase = Phase::item;
  next.blanks = 0;
  return push(next, kept);
}

// Every thread in every way in which the item may count.
void Machine::add_item_ways(const Frame& frame, const Thread& thread, std::vector<Thread>& ways) const {
  const ArrayProgram& array = program_->arrays[thread.rule];
  if (frame.length >= array.max) return;
  for (const Choice& choice : frame.length < array.prefix.size() ? array.prefix[frame.length] : array.rest) {
    Thread way = thread;
    way.b = choice.node;
    bool possible = true;
    for (uint32_t i = 0; i < array.contains.size(); ++i)
      if ((choice.claims >> i & 1) != 0 && claim_count(way.a, i) < 255) way.a += uint32_t{1} << (8 * i);
    if (!array.contains.empty()) possible = may_complete(array, uint64_t{frame.length} + 1, way.a);
    if (possible) ways.push_back(way);
  }
}

FrameIndex Machine::begin_item(FrameIndex top, Symbol symbol) {
  const Frame& frame = frames_[top];
  std::vector<Thread> ways;
  for (const Thread& thread : threads(frame)) add_item_ways(frame, thread, ways);
  if (ways.empty()) return dead_frame;
  const Mark before = mark();
  const FrameIndex item = push(frame, ways);
  const FrameIndex value = item == dead_frame ? dead_frame : begin_value(item, symbol);
  if (value == dead_frame) release(before);
  return value;
}

FrameIndex Machine::end_array(FrameIndex top) {
  const Frame& frame = frames_[top];
  std::vector<Thread> survivors;
  for (const Thread& thread : threads(frame)) {
    const ArrayProgram& array = program_->arrays[thread.rule];
    bool good = frame.length >= array.min && frame.length <= array.max;
    for (uint32_t i = 0; i < array.contains.size(); ++i) good &= claim_count(thread.a, i) >= array.contains[i].min;
    if (good) survivors.push_back(thread);
  }
  return end_value(top, survivors);
}

// --- objects ---------------------------------------------------------------------------------------------------------

bool Machine::seen(const Frame& object, uint64_t hash) const {
  for (uint32_t i = object.seen; i != none; i = seen_[i].previous)
    if (seen_[i].hash == hash) return true;
  return false;
}

// Whether a name that is not required may come, and everything that then has to. 0: one that no list has.
bool Machine::room_for_optional(const Frame& object, const Thread& thread, uint64_t name) const {
  const ObjectProgram& program = program_->objects[thread.rule];
  if (program.dependents.empty() || program.max == no_limit) return uint64_t{object.length} + thread.a < program.max;
  std::vector<uint64_t> owed{name};  // besides those that are required
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [first, second] : program.dependents) {
      const bool asks = seen(object, first) || std::ranges::find(owed, first) != owed.end();
      if (!asks || seen(object, second) || std::ranges::find(owed, second) != owed.end()) continue;
      if (const NameProgram* asked = program.find_name(second); asked != nullptr && asked->required) continue;
      owed.push_back(second);
      changed = true;
    }
  }
  return uint64_t{object.length} + thread.a + owed.size() <= program.max;
}

// `thread` of a key: whether some name that begins with what is written may still come.
bool Machine::key_alive(const Frame& object, const Thread& thread) const {
  if (thread.c != 0) return true;  // others_alive
  const Thread& parent = threads(object)[thread.parent];
  const ObjectProgram& program = program_->objects[thread.rule];
  return std::any_of(program.names.begin() + thread.a, program.names.begin() + thread.b,
                     [&](const NameProgram& name) { return may_come(object, parent, name); });
}

bool Machine::any_key(const Frame& object, const Thread& thread) const {
  const ObjectProgram& program = program_->objects[thread.rule];
  if (program.others && room_for_optional(object, thread, 0)) {
    const Thread key{thread.rule, static_cast<uint32_t>(&thread - threads(object).data()), 0,
                     static_cast<uint32_t>(program.names.size()),
                     program.key_dfa == none ? 1 : program_->dfas[program.key_dfa].start};
    if (others_alive(object, key, "", any_rest)) return true;
  }
  return std::ranges::any_of(program.names, [&](const NameProgram& name) { return may_come(object, thread, name); });
}

bool Machine::may_come(const Frame& object, const Thread& thread, const NameProgram& name) const {
  return !name.choices.empty() && !seen(object, name.hash) &&
         (name.required || (room_for_optional(object, thread, name.hash) && may_claim(object, thread, name)));
}

// Whether all that is to be claimed can be, with this name that is not required. A required one, and one for which
// there is room besides, takes the choice that it has in the way that keeps the object alive.
bool Machine::may_claim(const Frame& object, const Thread& thread, const NameProgram& name) const {
  const ObjectProgram& program = program_->objects[thread.rule];
  if (program.some == 0) return true;
  const Claims& claims = claims_of(object, thread);
  return claims.spare || claims.names[static_cast<size_t>(&name - program.names.data())];
}

// The fewest further names that claim what is still to be claimed once `used` has come and these are the claims.
// `thread` of the object, as it was before.
uint64_t Machine::claims_short(const Frame& object, const Thread& thread, const Name& used, uint32_t claims) const {
  const ObjectProgram& program = program_->objects[thread.rule];
  return names_to_claim(
      program, claims, [&](const NameProgram& one) { return one.hash == used.hash || seen(object, one.hash); },
      [&](size_t i) {
        if (program.claiming_count.empty() || program.claiming_count[i] == no_limit) return no_limit;
        const uint32_t outputs = program.claiming[i];
        return program.claiming_count[i] - others_seen(object, program, "", any_rest, outputs) -
               (used.hash == 0 && used.outputs == outputs ? 1 : 0);
      },
      [](const Choice&) { return true; });
}

// What the claims of an object's thread leave to its next name. Kept, since it takes long and is asked for every byte
// of a name.
const Machine::Claims& Machine::claims_of(const Frame& object, const Thread& thread) const {
  static const Claims free;
  const ObjectProgram& program = program_->objects[thread.rule];
  if (program.max == no_limit || (thread.c & program.some) == program.some) return free;
  const auto index = static_cast<uint32_t>(&thread - threads_.data());
  const auto [place, added] = claims_.try_emplace(index);
  Claims& claims = place->second;
  if (!added && claims.seen == object.seen && claims.length == object.length) return claims;
  claims = {};
  claims.seen = object.seen;
  claims.length = object.length;
  const uint64_t room = program.max - std::min(program.max, uint64_t{object.length} + thread.a);
  claims.spare = claims_short(object, thread, {}, thread.c) < room;
  if (claims.spare) return claims;
  const auto may_come = [&](const Choices& choices, const Name& name) {
    return std::ranges::any_of(choices, [&](const Choice& choice) {
      return claims_short(object, thread, name, thread.c | choice.claims) < room;
    });
  };
  for (const NameProgram& name : program.names)
    claims.names.push_back(!name.required && !seen(object, name.hash) && may_come(name.choices, {name.hash, 0}));
  if (program.others)
    for (const uint32_t outputs : program.claiming)
      claims.others.push_back(may_come(program.other_choices[outputs], {0, outputs}));
  return claims;
}

// Names besides those in the list that are there already, begin with `written` and then a character of `next`, and that
// the object's automaton takes with these outputs (0: with any).
uint64_t Machine::others_seen(const Frame& object, const ObjectProgram& program, std::string_view written,
                              CodePointRange next, uint32_t outputs) const {
  const Dfa& dfa = program_->dfas[program.key_dfa];
  uint64_t count = 0;
  for (uint32_t i = object.seen; i != none; i = seen_[i].previous) {
    const std::string_view name(text_.data() + seen_[i].text, seen_[i].bytes);
    if (!begins_with(name, written, next) || program.find_name(seen_[i].hash) != nullptr) continue;
    const uint32_t found = dfa.outputs_of(name);
    count += outputs == 0 ? found != 0 : found == outputs;
  }
  return count;
}

// … and those in the list, which may not come as others either.
uint64_t Machine::names_taken(const Frame& object, const ObjectProgram& program, std::string_view written,
                              CodePointRange next, uint32_t outputs) const {
  const auto listed = std::ranges::count_if(program.names, [&](const NameProgram& name) {
    return (outputs == 0 ? name.outputs != 0 : name.outputs == outputs) && begins_with(name.text, written, next);
  });
  return static_cast<uint64_t>(listed) + others_seen(object, program, written, next, outputs);
}

// `thread` of a key of which `written` has been read: whether a name that is not in the list may still come of it, the
// next character being one of `next`.
bool Machine::others_alive(const Frame& object, const Thread& thread, std::string_view written,
                           CodePointRange next) const {
  if (next.first > next.last) return false;
  const ObjectProgram& program = program_->objects[thread.rule];
  const Claims* claims = program.some == 0 ? nullptr : &claims_of(object, threads(object)[thread.parent]);
  const bool claim = claims != nullptr && !claims->spare;
  if (program.key_dfa == none) return !claim || std::ranges::find(claims->others, true) != claims->others.end();
  const Dfa& dfa = program_->dfas[program.key_dfa];
  const bool whole = next == any_rest;
  const auto any = [&](std::span<const uint32_t> counts, uint32_t outputs) {
    const uint64_t texts = whole ? counts[thread.c] : dfa.words_through(counts, thread.c, next);
    return texts >= unbounded || texts > names_taken(object, program, written, next, outputs);
  };
  if (!claim) return any(dfa.words, 0);
  for (size_t i = 0; i < program.claiming.size(); ++i)
    if (claims->others[i] && any({program.claiming_words.data() + i * dfa.states, dfa.states}, program.claiming[i]))
      return true;
  return false;
}

bool Machine::automaton_decides(const Frame& key, const Thread& thread) const {
  const ObjectProgram& program = program_->objects[thread.rule];
  const Frame& object = frames_[key.parent];
  if (program.some != 0 && !claims_of(object, threads(object)[thread.parent]).spare) return false;
  if (program.key_dfa == none || program_->dfas[program.key_dfa].endless) return true;
  return names_taken(object, program, text(key), any_rest, 0) == 0;
}

FrameIndex Machine::step_object(FrameIndex top, Symbol symbol) {
  const Frame& frame = frames_[top];
  switch (frame.phase) {
    case Phase::first_key:
      if (symbol == '}') return end_object(top);
      [[fallthrough]];
    case Phase::key:
      if (syntax_.bare) {
        if (symbol >= 256) return dead_frame;
        const Mark before = mark();
        const FrameIndex key = begin_key(top);
        const FrameIndex next = key == dead_frame ? dead_frame : step_bare_key(key, symbol);
        if (next == dead_frame) release(before);
        return next;
      }
      return symbol == '"' ? begin_key(top) : dead_frame;
    case Phase::colon: {
      if (symbol != ':') return dead_frame;
      Frame next = frame;
      next.phase = Phase::value;
      next.blanks = 0;
      return push_same(next);
    }
    case Phase::value:
      return begin_value(top, symbol);
    default:
      break;
  }
  if (symbol == '}') return end_object(top);
  if (symbol != ',') return dead_frame;
  scratch_.clear();
  for (const Thread& thread : threads(frame))
    if (any_key(frame, thread)) scratch_.push_back(thread);
  Frame next = frame;
  next.phase = Phase::key;
  next.blanks = 0;
  return push(next, scratch_);
}

FrameIndex Machine::begin_key(FrameIndex top) {
  scratch_.clear();
  const Frame& object = frames_[top];
  const auto parents = threads(object);
  for (uint32_t i = 0; i < parents.size(); ++i) {
    const uint32_t rule = parents[i].rule;
    const ObjectProgram& program = program_->objects[rule];
    Thread thread{rule, i, 0, static_cast<uint32_t>(program.names.size()), 0};
    if (program.others && room_for_optional(object, parents[i], 0))
      thread.c = program.key_dfa == none ? 1 : program_->dfas[program.key_dfa].start;
    if (thread.c != 0 && !others_alive(object, thread, "", any_rest)) thread.c = 0;
    if (key_alive(object, thread)) scratch_.push_back(thread);
  }
  Frame frame;
  frame.kind = Kind::key;
  frame.parent = top;
  frame.text = static_cast<uint32_t>(text_.size());
  return push(frame, scratch_);
}

// A name without quotes: it ends before the colon, holds none of the marks that a reader of calls goes by, and begins
// and ends with no blank.
FrameIndex Machine::step_bare_key(FrameIndex top, Symbol symbol) {
  const Frame& frame = frames_[top];
  if (symbol == ':' && frame.lexer.between() && frame.bytes > 0) {
    if (text(frame).back() == ' ') return dead_frame;
    const FrameIndex object = end_key(top, false);
    return object == dead_frame ? dead_frame : step(object, symbol);
  }
  const bool mark = symbol == '{' || symbol == '}' || symbol == ',' || symbol == ':' || symbol < 0x20 || symbol == 0x7F;
  if (mark || symbol >= 256 || (symbol == ' ' && frame.bytes == 0)) return dead_frame;
  return step_string(top, symbol);
}

FrameIndex Machine::end_key(FrameIndex top, bool unknown) {
  const Frame& key = frames_[top];
  const Frame& object = frames_[key.parent];
  const uint64_t hash = unknown ? 0 : name_hash(text(key));
  if (!unknown && seen(object, hash)) return dead_frame;
  const auto parents = threads(object);
  std::vector<Thread> next;
  for (const Thread& thread : threads(key)) {
    const ObjectProgram& program = program_->objects[thread.rule];
    const Thread& parent = parents[thread.parent];
    const NameProgram* known = nullptr;
    if (!unknown && thread.a < thread.b && program.names[thread.a].text.size() == key.bytes)
      known = &program.names[thread.a];
    const Choices* choices = known != nullptr ? &known->choices : nullptr;
    uint32_t outputs = 0;
    if (known == nullptr && thread.c != 0) {
      if (program.key_dfa != none) {
        const Dfa& dfa = program_->dfas[program.key_dfa];
        outputs = unknown ? dfa.sole_output[thread.c] : dfa.outputs[thread.c];
      }
      if (program.key_dfa == none || outputs != 0) choices = &program.other_choices[outputs];
    }
    const bool required = known != nullptr && known->required;
    if (choices == nullptr) continue;
    if (!required && !room_for_optional(object, parent, known == nullptr ? 0 : known->hash)) continue;
    const uint32_t missing = parent.a - (required ? 1 : 0);
    const uint64_t taken = uint64_t{object.length} + 1 + missing;
    for (const Choice& choice : *choices) {
      const uint32_t claims = parent.c | choice.claims;
      if ((claims & program.some) != program.some) {
        const Name used = known != nullptr ? Name{known->hash, 0} : Name{0, outputs};
        const uint64_t more = claims_short(object, parent, used, claims);
        if (more == no_limit || taken + more > program.max) continue;
      }
      next.push_back({parent.rule, parent.parent, missing, choice.node, claims});
    }
  }
  if (next.empty()) return dead_frame;
  Frame frame = object;
  frame.phase = Phase::colon;
  frame.blanks = 0;
  ++frame.length;
  seen_.push_back({hash, frame.seen, key.text, key.bytes});
  frame.seen = static_cast<uint32_t>(seen_.size() - 1);
  return push(frame, next);
}

FrameIndex Machine::after_unknown_key(FrameIndex key) { return end_key(key, true); }

bool Machine::object_can_close(const Frame& object, const Thread& thread) const {
  const ObjectProgram& program = program_->objects[thread.rule];
  if (thread.a > 0 || object.length < program.min || object.length > program.max) return false;
  if ((thread.c & program.some) != program.some) return false;
  return std::ranges::all_of(program.dependents,
                             [&](const auto& pair) { return !seen(object, pair.first) || seen(object, pair.second); });
}

FrameIndex Machine::end_object(FrameIndex top) {
  const Frame& frame = frames_[top];
  std::vector<Thread> survivors;
  for (const Thread& thread : threads(frame))
    if (object_can_close(frame, thread)) survivors.push_back(thread);
  return end_value(top, survivors);
}

std::vector<std::string> Machine::special_names(const Frame& key) const {
  std::vector<std::string> names;
  const std::string_view written = text(key);
  for (const Thread& thread : threads(key)) {
    const ObjectProgram& object = program_->objects[thread.rule];
    for (uint32_t i = thread.a; i < thread.b; ++i) names.push_back(object.names[i].text);
  }
  for (uint32_t i = frames_[key.parent].seen; i != none; i = seen_[i].previous) {
    const std::string_view name(text_.data() + seen_[i].text, seen_[i].bytes);
    if (name.starts_with(written)) names.emplace_back(name);
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace lapidary::grammar
