#include "grammar/gbnf.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "base/utf8.h"

namespace lapidary::grammar {
namespace {

constexpr size_t text_bytes_max = 1 << 20;
constexpr size_t nodes_max = 200'000;
constexpr size_t parts_max = 200'000;
constexpr uint32_t depth_max = 100;
constexpr uint32_t repeat_max = 10'000;

using Kind = RuleNetwork::Node::Kind;

// A rule's body as it is written.
struct Part {
  enum class Kind : uint8_t { set, call, sequence, either, repeat };
  Kind kind = Kind::sequence;
  CodePointSet set;
  uint32_t rule = 0;
  uint32_t min = 0, max = 0;
  std::vector<Part> parts;
};

struct Rule {
  std::string name;
  bool defined = false;
  Part body;
};

class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : text_(text), where_(where) {}
  Result<std::vector<Rule>> rules();

 private:
  std::unexpected<Error> expected(std::string_view what) const {
    const auto line = std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n') + 1;
    const std::string found =
        at_ < text_.size() ? fmt::format("\"{}\"", utf8_repair(text_.substr(at_, 20))) : std::string("the end");
    return malformed(fmt::format("{}: line {}", where_, line), what, found);
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool skip(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  static bool name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  void skip_blanks(bool lines) {
    while (at_ < text_.size()) {
      if (peek() == '#') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else if (peek() == ' ' || peek() == '\t' || (lines && (peek() == '\n' || peek() == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }
  std::string_view name() {
    const size_t begin = at_;
    while (name_character(peek())) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  bool at_rule() {
    const size_t begin = at_;
    const bool named = !name().empty();
    skip_blanks(false);
    const bool rule = named && text_.substr(at_).starts_with("::=");
    at_ = begin;
    return rule;
  }
  uint32_t rule_of(std::string_view rule) {
    const auto [place, added] = index_.try_emplace(std::string(rule), static_cast<uint32_t>(rules_.size()));
    if (added) rules_.push_back({std::string(rule), false, {}});
    return place->second;
  }
  Result<void> rule();
  Result<Part> alternatives(uint32_t depth);
  Result<Part> sequence(uint32_t depth);
  Result<Part> item(uint32_t depth);
  Result<Part> literal();
  Result<Part> repeated(Part part);
  Result<char32_t> character();

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0, parts_ = 0;
  std::vector<Rule> rules_;
  std::map<std::string, uint32_t> index_;
};

Result<char32_t> Parser::character() {
  if (skip("\\")) {
    constexpr std::string_view letters = "nrt\\\"[]-^/'", meanings = "\n\r\t\\\"[]-^/'";
    const char c = peek();
    if (const size_t i = letters.find(c); c != '\0' && i != std::string_view::npos) {
      ++at_;
      return static_cast<char32_t>(meanings[i]);
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0 || at_ + 1 + digits > text_.size()) return expected("an escape");
    uint32_t value = 0;
    const char* begin = text_.data() + at_ + 1;
    if (std::from_chars(begin, begin + digits, value, 16).ptr != begin + digits || value > code_point_max)
      return expected("an escape with its digits");
    at_ += 1 + digits;
    return static_cast<char32_t>(value);
  }
  const size_t length = utf8_length(text_.substr(at_));
  if (length == 0) return expected("a character");
  const char32_t value = utf8_decode(text_.substr(at_), length);
  at_ += length;
  return value;
}

Part set_part(CodePointSet set) {
  Part part;
  part.kind = Part::Kind::set;
  part.set = std::move(set);
  return part;
}

Result<Part> Parser::literal() {
  ++at_;
  Part part;
  while (!skip("\"")) {
    if (at_ >= text_.size()) return expected("the closing quote of a text");
    LAPIDARY_TRY(const char32_t one, character());
    part.parts.push_back(set_part({{one, one}}));
    ++parts_;
  }
  return part;
}

Result<Part> Parser::item(uint32_t depth) {
  if (++parts_ > parts_max) return fail(ErrorKind::limit, where_, fmt::format("more than {} parts", parts_max));
  const char c = peek();
  if (c == '"') return literal();
  if (c == '.') {
    ++at_;
    return set_part({{0, code_point_max}});
  }
  if (c == '<') return fail(ErrorKind::unsupported, where_, "tokens by name or number are not enforced");
  if (c == '(') {
    ++at_;
    skip_blanks(true);
    LAPIDARY_TRY(Part part, alternatives(depth + 1));
    skip_blanks(true);
    if (!skip(")")) return expected("a )");
    return part;
  }
  if (c == '[') {
    ++at_;
    const bool negative = skip("^");
    CodePointSet set;
    while (!skip("]")) {
      LAPIDARY_TRY(const char32_t first, character());
      char32_t last = first;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        LAPIDARY_TRY(last, character());
      }
      if (last < first) return expected("a range that ascends before this");
      set.push_back({first, last});
    }
    set = normalized(std::move(set));
    return set_part(negative ? inverted(set) : set);
  }
  if (!name_character(c)) return expected("a text, a class, a name or a group");
  Part part;
  part.kind = Part::Kind::call;
  part.rule = rule_of(name());
  return part;
}

Result<Part> Parser::repeated(Part part) {
  uint32_t min = 0, max = unbounded;
  if (skip("+")) {
    min = 1;
  } else if (skip("?")) {
    max = 1;
  } else if (skip("{")) {
    const auto number = [&](uint32_t& value) {
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error == std::errc()) at_ = static_cast<size_t>(end - text_.data());
      return error == std::errc();
    };
    skip_blanks(false);
    const bool has_min = number(min);
    max = min;
    skip_blanks(false);
    if (skip(",")) {
      skip_blanks(false);
      if (!number(max)) max = unbounded;
    } else if (!has_min) {
      return expected("a number of times");
    }
    skip_blanks(false);
    if (!skip("}")) return expected("a }");
    if (max < min) return expected("a larger second number before this");
    if (min > repeat_max || (max != unbounded && max > repeat_max))
      return fail(ErrorKind::limit, where_, fmt::format("a repetition of more than {} times", repeat_max));
  } else if (!skip("*")) {
    return part;
  }
  Part result;
  result.kind = Part::Kind::repeat;
  result.min = min;
  result.max = max;
  result.parts.push_back(std::move(part));
  return result;
}

Result<Part> Parser::sequence(uint32_t depth) {
  Part result;
  while (true) {
    skip_blanks(depth > 0);
    const char c = peek();
    if (at_ >= text_.size() || c == '|' || c == ')') return result;
    if (c == '\n' || c == '\r') {  // the next line may go on, or begin a rule
      const size_t begin = at_;
      skip_blanks(true);
      if (at_ < text_.size() && !at_rule()) continue;
      at_ = begin;
      return result;
    }
    LAPIDARY_TRY(Part part, item(depth));
    while (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') {
      if (part.kind == Part::Kind::repeat && depth_max < ++parts_ / 1'000) return expected("fewer repetitions");
      LAPIDARY_TRY(part, repeated(std::move(part)));
    }
    result.parts.push_back(std::move(part));
  }
}

Result<Part> Parser::alternatives(uint32_t depth) {
  if (depth > depth_max) return fail(ErrorKind::limit, where_, fmt::format("groups nested deeper than {}", depth_max));
  Part result;
  result.kind = Part::Kind::either;
  while (true) {
    LAPIDARY_TRY(Part part, sequence(depth));
    result.parts.push_back(std::move(part));
    skip_blanks(true);
    if (!skip("|")) break;
    skip_blanks(true);
  }
  if (result.parts.size() == 1) return std::move(result.parts[0]);
  return result;
}

Result<void> Parser::rule() {
  const std::string_view named = name();
  if (named.empty()) return expected("the name of a rule");
  const uint32_t index = rule_of(named);
  skip_blanks(false);
  if (!skip("::=")) return expected("::=");
  if (rules_[index].defined) return expected(fmt::format("a rule that is not \"{}\" again before this", named));
  skip_blanks(true);
  LAPIDARY_TRY(Part body, alternatives(0));
  rules_[index].body = std::move(body);
  rules_[index].defined = true;
  return {};
}

Result<std::vector<Rule>> Parser::rules() {
  if (text_.size() > text_bytes_max) return fail(ErrorKind::limit, where_, "more than a megabyte");
  rule_of("root");
  for (skip_blanks(true); at_ < text_.size(); skip_blanks(true)) LAPIDARY_CHECK(rule());
  for (const Rule& one : rules_)
    if (!one.defined)
      return fail(ErrorKind::refused, where_, fmt::format("there is no rule \"{}\"", utf8_repair(one.name)));
  return std::move(rules_);
}

// --- what calls what -------------------------------------------------------------------------------------------------

bool nullable(const Part& part, const std::vector<bool>& rules) {
  const auto one = [&](const Part& inner) { return nullable(inner, rules); };
  switch (part.kind) {
    case Part::Kind::set:
      return false;
    case Part::Kind::call:
      return rules[part.rule];
    case Part::Kind::sequence:
      return std::ranges::all_of(part.parts, one);
    case Part::Kind::either:
      return std::ranges::any_of(part.parts, one);
    case Part::Kind::repeat:
      return part.min == 0 || one(part.parts[0]);
  }
  return false;
}

// The rules that may be called, all of them or only those before any character; whether all of `part` may be empty.
void calls(const Part& part, const std::vector<bool>& nullable_rules, bool first_only, std::vector<uint32_t>& out) {
  if (part.kind == Part::Kind::call) out.push_back(part.rule);
  for (const Part& inner : part.parts) {
    calls(inner, nullable_rules, first_only, out);
    if (first_only && part.kind == Part::Kind::sequence && !nullable(inner, nullable_rules)) return;
  }
}

// A rule that leads back to itself, or nothing. Iterative: rules may call each other in a long chain.
std::optional<uint32_t> cycle(const std::vector<std::vector<uint32_t>>& edges) {
  std::vector<uint8_t> state(edges.size());
  for (uint32_t root = 0; root < edges.size(); ++root) {
    if (state[root] != 0) continue;
    std::vector<std::pair<uint32_t, size_t>> path{{root, 0}};
    state[root] = 1;
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      if (next == edges[rule].size()) {
        state[rule] = 2;
        path.pop_back();
        continue;
      }
      const uint32_t callee = edges[rule][next++];
      if (state[callee] == 1) return callee;
      if (state[callee] == 2) continue;
      state[callee] = 1;
      path.emplace_back(callee, 0);
    }
  }
  return std::nullopt;
}

std::vector<std::vector<uint32_t>> call_graph(const std::vector<Rule>& rules, bool first_only) {
  std::vector<bool> nullable_rules(rules.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < rules.size(); ++i)
      if (!nullable_rules[i] && nullable(rules[i].body, nullable_rules)) nullable_rules[i] = changed = true;
  }
  std::vector<std::vector<uint32_t>> edges(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) calls(rules[i].body, nullable_rules, first_only, edges[i]);
  return edges;
}

// --- as an expression ------------------------------------------------------------------------------------------------

class Expression {
 public:
  Expression(RegexArena& arena, const std::vector<Rule>& rules) : arena_(arena), rules_(rules), known_(rules.size()) {}

  RegexId of_rule(uint32_t rule) {
    if (!known_[rule]) known_[rule] = of(rules_[rule].body);
    return *known_[rule];
  }

 private:
  RegexId of(const Part& part) {
    std::vector<RegexId> parts;
    switch (part.kind) {
      case Part::Kind::set:
        return arena_.set(part.set);
      case Part::Kind::call:
        return of_rule(part.rule);
      case Part::Kind::repeat:
        return arena_.repeat(of(part.parts[0]), part.min, part.max);
      case Part::Kind::either:
        for (const Part& inner : part.parts) parts.push_back(of(inner));
        return arena_.alternation(std::move(parts));
      case Part::Kind::sequence:
        break;
    }
    RegexId result = arena_.epsilon();
    for (size_t i = part.parts.size(); i-- > 0;) result = arena_.concat(of(part.parts[i]), result);
    return result;
  }

  RegexArena& arena_;
  const std::vector<Rule>& rules_;
  std::vector<std::optional<RegexId>> known_;
};

// --- as a network ----------------------------------------------------------------------------------------------------

class NetworkBuilder {
 public:
  explicit NetworkBuilder(const std::vector<Rule>& rules) : rules_(rules) {}

  Result<RuleNetwork> run() {
    std::vector<uint32_t> begins;
    for (const Rule& rule : rules_) begins.push_back(build(rule.body, add(Kind::end, 0, 0)));
    if (network_.nodes.size() >= nodes_max)
      return fail(ErrorKind::limit, "grammar", fmt::format("more than {} nodes", nodes_max));
    for (RuleNetwork::Node& node : network_.nodes)
      if (node.kind == Kind::call) node.argument = begins[node.argument];
    network_.root = begins[0];
    if (!drop_endless()) return fail(ErrorKind::unsupported, "grammar", "no text can satisfy it");
    return std::move(network_);
  }

 private:
  // Takes the ways out of forks from which no rule ever ends; false: nothing else is left.
  bool drop_endless() {
    std::vector<RuleNetwork::Node>& nodes = network_.nodes;
    std::vector<std::vector<uint32_t>> users(nodes.size());
    std::vector<uint32_t> queue;
    std::vector<bool> ends(nodes.size());
    for (uint32_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].kind == Kind::end) ends[i] = true, queue.push_back(i);
      if (nodes[i].kind != Kind::end) users[nodes[i].next].push_back(i);
      if (nodes[i].kind == Kind::call || nodes[i].kind == Kind::fork) users[nodes[i].argument].push_back(i);
    }
    const auto now_ends = [&](const RuleNetwork::Node& node) {
      if (node.kind == Kind::fork) return ends[node.next] || ends[node.argument];
      if (node.kind == Kind::call) return ends[node.next] && ends[node.argument];
      return ends[node.next] && std::ranges::any_of(network_.sets[node.argument], [](const CodePointRange& range) {
               return range.first < 0xD800 || range.last > 0xDFFF;  // more than halves of UTF-16 pairs
             });
    };
    for (size_t at = 0; at < queue.size(); ++at)
      for (const uint32_t user : users[queue[at]])
        if (!ends[user] && now_ends(nodes[user])) ends[user] = true, queue.push_back(user);
    for (RuleNetwork::Node& node : nodes) {
      if (node.kind != Kind::fork) continue;
      if (!ends[node.next]) node.next = node.argument;
      if (!ends[node.argument]) node.argument = node.next;
    }
    return ends[network_.root];
  }

  uint32_t add(Kind kind, uint32_t argument, uint32_t next) {
    if (network_.nodes.size() < nodes_max) network_.nodes.push_back({kind, argument, next});
    return static_cast<uint32_t>(network_.nodes.size() - 1);
  }

  // The node where `part` begins that leads on to `next`.
  uint32_t build(const Part& part, uint32_t next) {
    if (network_.nodes.size() >= nodes_max) return next;
    switch (part.kind) {
      case Part::Kind::set:
        network_.sets.push_back(part.set);
        return add(Kind::character, static_cast<uint32_t>(network_.sets.size() - 1), next);
      case Part::Kind::call:
        return add(Kind::call, part.rule, next);
      case Part::Kind::sequence:
        for (size_t i = part.parts.size(); i-- > 0;) next = build(part.parts[i], next);
        return next;
      case Part::Kind::either: {
        uint32_t begin = build(part.parts.back(), next);
        for (size_t i = part.parts.size() - 1; i-- > 0;) begin = add(Kind::fork, begin, build(part.parts[i], next));
        return begin;
      }
      case Part::Kind::repeat:
        break;
    }
    if (part.max == unbounded) {
      const uint32_t loop = add(Kind::fork, next, 0);
      const uint32_t body = build(part.parts[0], loop);
      network_.nodes[loop].next = body;
      next = loop;
    } else {
      const uint32_t end = next;
      for (uint32_t i = part.min; i < part.max && network_.nodes.size() < nodes_max; ++i)
        next = add(Kind::fork, end, build(part.parts[0], next));
    }
    for (uint32_t i = 0; i < part.min && network_.nodes.size() < nodes_max; ++i) next = build(part.parts[0], next);
    return next;
  }

  const std::vector<Rule>& rules_;
  RuleNetwork network_;
};

}  // namespace

Result<GbnfGrammar> parse_gbnf(std::string_view text, const std::string& where) {
  LAPIDARY_TRY(const std::vector<Rule> rules, Parser(text, where).rules());
  if (const auto rule = cycle(call_graph(rules, true)))
    return fail(ErrorKind::unsupported, where,
                fmt::format("the rule \"{}\" begins with itself (left recursion)", utf8_repair(rules[*rule].name)));
  GbnfGrammar grammar;
  if (!cycle(call_graph(rules, false))) {
    RegexArena arena;
    const RegexId whole = arena.concat(Expression(arena, rules).of_rule(0), arena.mark(text_end));
    if (auto dfa = build_dfa(arena, {whole}, {}, {2'000, 20'000})) {
      if (dfa->start == Dfa::dead) return fail(ErrorKind::unsupported, where, "no text can satisfy it");
      grammar.automaton = std::move(*dfa);
      return grammar;
    }
  }
  auto network = NetworkBuilder(rules).run();
  if (!network) return std::unexpected(std::move(network).error().in(where));
  grammar.network = std::move(*network);
  return grammar;
}

size_t network_bytes(const RuleNetwork& network) {
  size_t sum = network.nodes.size() * sizeof(RuleNetwork::Node);
  for (const CodePointSet& set : network.sets) sum += sizeof set + set.size() * sizeof(CodePointRange);
  return sum;
}

}  // namespace lapidary::grammar
