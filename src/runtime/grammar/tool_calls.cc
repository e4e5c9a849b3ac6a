#include "grammar/tool_calls.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "grammar/json_recognizer.h"

namespace lapidary::grammar {
namespace {

bool writable(std::string_view name, std::string_view marks) {
  if (name.empty() || name.front() == ' ' || name.back() == ' ' || utf8_repair(name) != name) return false;
  return std::ranges::none_of(name, [&](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || marks.find(c) != std::string_view::npos;
  });
}

class ToolRecognizer : public Recognizer {
 public:
  ToolRecognizer(const ToolCalls& calls, std::unique_ptr<Recognizer> answer)
      : calls_(&calls), arguments_(calls.program, {true, 0}), answer_(std::move(answer)) {
    positions_.push_back({});
    positions_.push_back({Phase::begin, 0, 0, 0, dead_state, {}});
  }
  ToolRecognizer(const ToolRecognizer& other)
      : calls_(other.calls_),
        arguments_(other.arguments_),
        answer_(other.answer_ == nullptr ? nullptr : other.answer_->clone()),
        positions_(other.positions_) {}

  std::unique_ptr<Recognizer> clone() const override { return std::make_unique<ToolRecognizer>(*this); }
  State start() const override { return 1; }
  State step(State state, uint32_t symbol) override;
  bool complete(State state) override {
    const Position& at = positions_[state];
    if (at.phase == Phase::answer) return answer_->complete(at.inner);
    if (at.phase == Phase::begin && answer_ != nullptr) return calls_->text && answer_->complete(answer_->start());
    return at.phase == Phase::after ||
           (calls_->text && at.lexer.between() && (at.phase == Phase::begin || at.phase == Phase::text));
  }
  void add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) override;
  Mark mark() const override {
    Mark mark = arguments_.mark();
    mark.sizes[4] = positions_.size();
    if (answer_ != nullptr) std::copy_n(answer_->mark().sizes, answer_sizes, mark.sizes + 5);
    return mark;
  }
  void release(const Mark& mark) override {
    arguments_.release(mark);
    positions_.resize(mark.sizes[4]);
    if (answer_ == nullptr) return;
    Mark inner;
    std::copy_n(mark.sizes + 5, answer_sizes, inner.sizes);
    answer_->release(inner);
  }
  size_t bytes_used() const override {
    return arguments_.bytes_used() + positions_.size() * sizeof(Position) +
           (answer_ == nullptr ? 0 : answer_->bytes_used());
  }

 private:
  static constexpr size_t answer_sizes = 4;  // that the other kinds of recognizers use of a mark
  enum class Phase : uint8_t { begin, text, answer, opening, arguments, after };
  struct Position {
    Phase phase = Phase::begin;
    uint32_t first = 0, last = 0;  // opening: the tools that fit
    uint32_t written = 0;          // … bytes of their opening
    State inner = dead_state;      // of the arguments or the answer
    StringLexer lexer;             // text
  };

  State push(const Position& position) {
    positions_.push_back(position);
    return static_cast<State>(positions_.size() - 1);
  }
  State step_opening(Position at, uint8_t byte);
  State begin_call();
  State step_answer(State from, uint32_t symbol);

  const ToolCalls* calls_;
  JsonRecognizer arguments_;
  std::unique_ptr<Recognizer> answer_;
  std::vector<Position> positions_;
};

State ToolRecognizer::begin_call() {
  return calls_->tools.empty()
             ? dead_state
             : push({Phase::opening, 0, static_cast<uint32_t>(calls_->tools.size()), 0, dead_state, {}});
}

State ToolRecognizer::step_answer(State from, uint32_t symbol) {
  const State inner = symbol < 256 ? answer_->step(from, symbol) : dead_state;
  return inner == dead_state ? dead_state : push({Phase::answer, 0, 0, 0, inner, {}});
}

State ToolRecognizer::step_opening(Position at, uint8_t byte) {
  const auto byte_of = [&](uint32_t tool) {
    const std::string& opening = calls_->tools[tool].opening;
    return at.written < opening.size() ? static_cast<int>(static_cast<uint8_t>(opening[at.written])) : -1;
  };
  while (at.first < at.last && byte_of(at.first) < byte) ++at.first;
  while (at.first < at.last && byte_of(at.last - 1) > byte) --at.last;
  if (at.first == at.last) return dead_state;
  ++at.written;
  // The brace is the first character of the arguments, and no name holds one.
  if (at.written < calls_->tools[at.first].opening.size()) return push(at);
  const State begin = arguments_.start_at(calls_->tools[at.first].node);
  const State inside = begin == dead_state ? dead_state : arguments_.step(begin, '{');
  return inside == dead_state ? dead_state : push({Phase::arguments, 0, 0, 0, inside, {}});
}

State ToolRecognizer::step(State state, uint32_t symbol) {
  Position at = positions_[state];
  switch (at.phase) {
    case Phase::begin:
    case Phase::text:
      if (symbol == call_begin_symbol) return calls_->calls && at.lexer.between() ? begin_call() : dead_state;
      if (symbol >= 256 || !calls_->text) return dead_state;
      if (answer_ != nullptr) return step_answer(answer_->start(), symbol);
      at.phase = Phase::text;
      return at.lexer.push_raw(static_cast<uint8_t>(symbol)) == StringLexer::Step::dead ? dead_state : push(at);
    case Phase::answer:
      return step_answer(at.inner, symbol);
    case Phase::opening:
      return symbol < 256 ? step_opening(at, static_cast<uint8_t>(symbol)) : dead_state;
    case Phase::arguments: {
      if (symbol == call_end_symbol)
        return arguments_.complete(at.inner) ? push({Phase::after, 0, 0, 0, dead_state, {}}) : dead_state;
      at.inner = arguments_.step(at.inner, symbol);
      return at.inner == dead_state ? dead_state : push(at);
    }
    case Phase::after:
      return symbol == call_begin_symbol && calls_->parallel ? begin_call() : dead_state;
  }
  return dead_state;
}

void ToolRecognizer::add_tokens(State state, const TokenTrie& trie, std::span<uint64_t> bits) {
  const Position at = positions_[state];
  const bool text = at.phase == Phase::begin || at.phase == Phase::text;
  if (at.phase == Phase::after || (text && !calls_->text)) return;
  if (at.phase == Phase::arguments) return arguments_.add_tokens(at.inner, trie, bits);
  if (at.phase == Phase::answer) return answer_->add_tokens(at.inner, trie, bits);
  if (text && answer_ != nullptr) return answer_->add_tokens(answer_->start(), trie, bits);
  if (text && at.lexer.between()) {
    const auto all = trie.free_text();
    for (size_t i = 0; i < bits.size(); ++i) bits[i] |= all[i];
  }
  const auto nodes = trie.nodes();
  for (uint32_t i = 1; i < nodes[0].end; i = nodes[i].end) {
    if (text && at.lexer.between() && nodes[i].byte < 0x80) continue;
    const Mark before = mark();
    if (const State next = step(state, nodes[i].byte); next != dead_state) {
      for (const int32_t token : trie.own_tokens(i)) set_bit(bits, token);
      if (!text || !at.lexer.between())
        walk(
            *this, next, nodes, i, trie.tokens().size(), [](State, const TrieNode&) { return false; },
            [&](size_t token) { set_bit(bits, trie.tokens()[token]); });
    }
    release(before);
  }
}

}  // namespace

Result<void> add_tool(ToolCalls& calls, const std::string& name, std::optional<std::string_view> parameters) {
  constexpr size_t tools_max = 2'000;
  constexpr uint64_t effort_max = 6'000'000;  // some 0.3 s
  const std::string where = fmt::format("tool {}", utf8_repair(std::string_view(name).substr(0, 60)));
  if (!writable(name, "{}")) return fail(ErrorKind::wrong_use, where, "this name cannot be written in a call");
  if (calls.tools.size() >= tools_max)
    return fail(ErrorKind::limit, where, fmt::format("more than {} tools", tools_max));
  if (parameters && calls.effort > effort_max)
    return fail(ErrorKind::limit, where, "the schemas before it took too long to compile");
  LAPIDARY_TRY(Program program,
               compile_schema(parameters.value_or(R"({"type": "object"})"), where, Names::bare, &calls.effort));
  for (ObjectProgram& object : program.objects)
    for (NameProgram& property : object.names) {
      if (writable(property.text, "{},:")) continue;
      property.choices.clear();
      if (property.required)
        return fail(ErrorKind::unsupported, where,
                    fmt::format("the name \"{}\" cannot be written in a call", utf8_repair(property.text)));
    }
  // Arguments are an object, whatever else the schema would take.
  ValueNode arguments;
  arguments.objects = program.nodes[program.root].objects;
  if (arguments.objects.empty()) return fail(ErrorKind::unsupported, where, "its parameters cannot be an object");
  program.root = static_cast<uint32_t>(program.nodes.size());
  program.nodes.push_back(std::move(arguments));
  ToolCalls::Tool tool{fmt::format("call:{}{{", name), join_programs(calls.program, std::move(program))};
  const auto place = std::ranges::lower_bound(calls.tools, tool.opening, {}, &ToolCalls::Tool::opening);
  if (place != calls.tools.end() && place->opening == tool.opening)
    return fail(ErrorKind::wrong_use, where, "two tools have this name");
  calls.tools.insert(place, std::move(tool));
  return {};
}

std::unique_ptr<Recognizer> make_tool_recognizer(const ToolCalls& calls, std::unique_ptr<Recognizer> answer) {
  return std::make_unique<ToolRecognizer>(calls, std::move(answer));
}

}  // namespace lapidary::grammar
