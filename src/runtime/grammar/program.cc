// Languages -> programs: every value that can be reached, once.
#include "grammar/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <unordered_map>

#include "base/utf8.h"
#include "grammar/completion.h"
#include "grammar/language_builder.h"

namespace lapidary::grammar {
namespace {

constexpr uint32_t nodes_max = 30'000;
constexpr uint64_t names_max = 200'000;
constexpr uint64_t dfa_cells_max = 2'000'000;  // all automata together
constexpr size_t key_languages_max = 8;
constexpr uint64_t plan_cells_max = 20'000;       // of one array
constexpr uint64_t length_steps_max = 4'000'000;  // of all patterns of bounded strings together

class ProgramBuilder {
 public:
  ProgramBuilder(LanguageBuilder& builder, Names names)
      : builder_(builder), arena_(builder.arena()), bare_(names == Names::bare) {}
  Result<Program> build(Demand root);

 private:
  struct Claim {  // one of a rule's `contains` or `some`, where it may apply
    uint32_t bit = 0;
    Demand demand = anything;
    bool exact = false;  // a value that does not claim must not meet it
  };
  struct Keys {  // what an object's automaton of names is made of, kept until it is known which values there are
    std::vector<RegexId> languages;
    uint32_t object = 0;
  };
  Result<uint32_t> node_of(Demand demand);
  Result<void> fill(uint32_t node, const Language& language);
  Result<uint32_t> dfa_of(const std::vector<RegexId>& languages, const WantedOutputs& wanted);
  Result<uint32_t> add_string(const StringRule& rule);
  Result<void> bound_lengths(RegexId regex, StringProgram& string);
  Result<uint32_t> add_array(const ArrayRule& rule);
  Result<uint32_t> add_object(const ObjectRule& rule);
  Result<void> add_names(const ObjectRule& rule, ObjectProgram& program);
  Result<void> add_others(const ObjectRule& rule, ObjectProgram& program, uint32_t object);
  Result<Choices> choices(Demand base, const std::vector<Claim>& claims);
  Result<bool> name_allowed(const ObjectRule& rule, const std::string& name);
  Result<std::optional<RegexId>> name_filter(const ObjectRule& rule);

  Result<void> keep_inhabited();
  void find_inhabited();
  std::string hopeless_place() const;
  bool inhabited(const ValueNode& node);
  bool inhabited(const StringProgram& string) const;
  bool inhabited(ArrayProgram& array);
  bool inhabited(const ObjectProgram& object) const;
  bool inhabited(const Choices& choices) const {
    return std::ranges::any_of(choices, [&](const Choice& choice) { return bool{inhabited_[choice.node]}; });
  }
  void prune();
  Result<void> build_keys();
  void describe_keys(ObjectProgram& object) const;

  LanguageBuilder& builder_;
  RegexArena& arena_;
  const bool bare_;
  Program program_;
  std::unordered_map<Demand, uint32_t> nodes_;
  std::deque<std::pair<uint32_t, Demand>> open_;
  std::unordered_map<RegexId, uint32_t> dfas_;
  std::vector<Keys> keys_;
  std::vector<bool> inhabited_;
  uint64_t names_ = 0, cells_ = 0, length_steps_ = 0;
  bool plans_fit_ = true;
};

Result<uint32_t> ProgramBuilder::node_of(Demand demand) {
  const auto [place, added] = nodes_.try_emplace(demand, static_cast<uint32_t>(program_.nodes.size()));
  if (!added) return place->second;
  if (program_.nodes.size() >= nodes_max)
    return fail(ErrorKind::limit, "schema", fmt::format("more than {} different values", nodes_max));
  program_.nodes.emplace_back();
  open_.emplace_back(place->second, demand);
  return place->second;
}

Result<uint32_t> ProgramBuilder::dfa_of(const std::vector<RegexId>& languages, const WantedOutputs& wanted) {
  LAPIDARY_TRY(Dfa dfa, build_dfa(arena_, languages, wanted));
  cells_ += dfa.next.size();
  if (cells_ > dfa_cells_max) return fail(ErrorKind::limit, "schema", "the automata of its patterns are too large");
  program_.dfas.push_back(std::move(dfa));
  return static_cast<uint32_t>(program_.dfas.size() - 1);
}

// Bounds that the pattern implies are dropped. Where it has gaps between the lengths that are left, they go into the
// automaton: a string could begin that no length ends.
Result<void> ProgramBuilder::bound_lengths(RegexId regex, StringProgram& string) {
  const Dfa& dfa = program_.dfas[string.dfa];
  if (dfa.start == Dfa::dead) return {};
  if (string.min <= dfa.nearest[dfa.start]) string.min = 0;
  if (dfa.farthest[dfa.start] != unbounded && dfa.farthest[dfa.start] <= string.max) string.max = no_limit;
  if (string.min == 0 || string.max == no_limit) return {};
  if (lengths_have_no_gap(dfa, string.max, length_steps_max - length_steps_, length_steps_)) return {};
  if (string.max >= unbounded || length_steps_ > length_steps_max)
    return fail(ErrorKind::limit, "pattern", "with its bounds of length it takes too long to compile");
  const RegexId lengths = arena_.lengths(static_cast<uint32_t>(string.min), static_cast<uint32_t>(string.max));
  auto both = dfa_of({arena_.intersection({regex, lengths})}, {});
  if (!both) return std::unexpected(std::move(both).error().in("pattern"));
  string.dfa = *both;
  string.min = 0;
  string.max = no_limit;
  return {};
}

Result<uint32_t> ProgramBuilder::add_string(const StringRule& rule) {
  StringProgram string{none, rule.min, rule.max, rule.values.value_or(std::vector<std::string>())};
  if (rule.regex) {
    const auto found = dfas_.find(*rule.regex);
    if (found != dfas_.end()) {
      string.dfa = found->second;
    } else {
      auto dfa = dfa_of({*rule.regex}, {});
      if (!dfa) return std::unexpected(std::move(dfa).error().in("pattern"));
      string.dfa = dfas_[*rule.regex] = *dfa;
    }
    LAPIDARY_CHECK(bound_lengths(*rule.regex, string));
  }
  program_.strings.push_back(std::move(string));
  return static_cast<uint32_t>(program_.strings.size() - 1);
}

// Every subset of `claims` that a value may make.
Result<Choices> ProgramBuilder::choices(Demand base, const std::vector<Claim>& claims) {
  std::vector<std::pair<Demand, uint32_t>> ways{{base, 0}};
  for (const Claim& claim : claims) {
    std::vector<std::pair<Demand, uint32_t>> next;
    for (const auto& [demand, bits] : ways) {
      next.emplace_back(builder_.both(demand, claim.demand), bits | uint32_t{1} << claim.bit);
      if (!claim.exact) {
        next.emplace_back(demand, bits);
        continue;
      }
      for (const Demand wrong : builder_.opposites(claim.demand)) next.emplace_back(builder_.both(demand, wrong), bits);
    }
    ways = std::move(next);
  }
  Choices result;
  for (const auto& [demand, bits] : ways) {
    LAPIDARY_TRY(const uint32_t node, node_of(demand));
    result.push_back({node, bits});
  }
  return result;
}

Result<uint32_t> ProgramBuilder::add_array(const ArrayRule& rule) {
  constexpr uint64_t from_max = 256, contains_count_max = 250;
  ArrayProgram array;
  array.min = rule.min;
  array.max = rule.max;
  array.contains = rule.contains;
  array.unique = rule.unique;
  if (rule.unique && rule.max > 1)
    return fail(ErrorKind::unsupported, "uniqueItems", "that all items differ is not enforced");
  if (rule.contains.size() > counted_max)
    return fail(ErrorKind::unsupported, "contains", fmt::format("more than {} at once", counted_max));
  uint64_t prefix = rule.prefix.size();
  for (const Contains& contains : rule.contains) {
    prefix = std::max(prefix, contains.from);
    if (contains.from > from_max || contains.min > contains_count_max ||
        (contains.max != no_limit && contains.max > contains_count_max))
      return fail(ErrorKind::unsupported, "contains", fmt::format("counts of more than {}", contains_count_max));
  }
  const auto at = [&](uint64_t index, Demand base) {
    std::vector<Claim> claims;
    for (uint32_t i = 0; i < rule.contains.size(); ++i)
      if (index >= rule.contains[i].from)
        claims.push_back({i, rule.contains[i].what, rule.contains[i].max != no_limit});
    return choices(base, claims);
  };
  for (uint64_t i = 0; i < prefix; ++i) {
    LAPIDARY_TRY(Choices item, at(i, i < rule.prefix.size() ? rule.prefix[i] : rule.rest));
    array.prefix.push_back(std::move(item));
  }
  LAPIDARY_TRY(array.rest, at(prefix, rule.rest));
  if (!array.contains.empty()) {
    if (!plan_items(array, plan_cells_max, {})) return fail(ErrorKind::limit, "contains", "so many counts at once");
    LAPIDARY_CHECK(builder_.spend(array.plan.further.size() / 64));
  }
  program_.arrays.push_back(std::move(array));
  return static_cast<uint32_t>(program_.arrays.size() - 1);
}

Result<bool> ProgramBuilder::name_allowed(const ObjectRule& rule, const std::string& name) {
  for (const Demand demand : rule.names) {
    LAPIDARY_TRY(const auto language, builder_.expand(demand));
    if (std::ranges::none_of(language->strings, [&](const StringRule& one) { return builder_.matches(one, name); }))
      return false;
  }
  return true;
}

// The names that propertyNames allows; nothing: any.
Result<std::optional<RegexId>> ProgramBuilder::name_filter(const ObjectRule& rule) {
  std::vector<RegexId> all;
  const auto bound = [](uint64_t value) { return value >= unbounded ? unbounded : static_cast<uint32_t>(value); };
  for (const Demand demand : rule.names) {
    LAPIDARY_TRY(const auto language, builder_.expand(demand));
    std::vector<RegexId> any;
    for (const StringRule& one : language->strings) {
      if (one.values) {
        for (const std::string& value : *one.values) any.push_back(arena_.literal(value));
        continue;
      }
      std::vector<RegexId> parts{one.regex.value_or(arena_.everything())};
      if (one.min > 0 || one.max != no_limit) parts.push_back(arena_.lengths(bound(one.min), bound(one.max)));
      any.push_back(arena_.intersection(std::move(parts)));
    }
    all.push_back(arena_.alternation(std::move(any)));
  }
  if (all.empty()) return std::optional<RegexId>();
  return std::optional<RegexId>(arena_.intersection(std::move(all)));
}

Result<void> ProgramBuilder::add_names(const ObjectRule& rule, ObjectProgram& program) {
  std::vector<std::string> names = rule.required;
  for (const auto& part : rule.parts)
    for (const auto& property : part->properties) names.push_back(property.first);
  for (const auto& [first, second] : rule.dependents) names.push_back(first), names.push_back(second);
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  names_ += names.size();
  LAPIDARY_CHECK(builder_.spend(names.size() / 4 + names.size() * rule.parts.size() / 32));
  if (names_ > names_max) return fail(ErrorKind::limit, "properties", fmt::format("more than {} names", names_max));
  for (const std::string& name : names) {
    NameProgram one{name, name_hash(name), {}, std::ranges::binary_search(rule.required, name)};
    LAPIDARY_TRY(const bool allowed, name_allowed(rule, name));
    if (allowed) {
      std::vector<Claim> claims;
      for (uint32_t i = 0; i < rule.some.size(); ++i)
        if (arena_.matches(rule.some[i].names, name)) claims.push_back({i, rule.some[i].value, false});
      LAPIDARY_TRY(one.choices, choices(builder_.lookup(rule, name), claims));
    }
    program.names.push_back(std::move(one));
  }
  return {};
}

Result<void> ProgramBuilder::add_others(const ObjectRule& rule, ObjectProgram& program, uint32_t object) {
  LAPIDARY_TRY(const std::optional<RegexId> filter, name_filter(rule));
  std::vector<RegexId> languages{filter.value_or(arena_.everything())};
  for (const auto& part : rule.parts)
    for (const auto& pattern : part->patterns)
      if (std::ranges::find(languages.begin() + 1, languages.end(), pattern.first) == languages.end())
        languages.push_back(pattern.first);
  const size_t patterns = languages.size();
  for (const SomeProperty& some : rule.some) languages.push_back(some.names);
  if (languages.size() > key_languages_max)
    return fail(ErrorKind::unsupported, "patternProperties",
                fmt::format("more than {} at once", key_languages_max - 1));
  program.others = true;
  const bool automaton = filter || languages.size() > 1;
  if (automaton && bare_) {  // those that can be written without quotes
    LAPIDARY_TRY(const RegexId bare,
                 parse_pattern(arena_, "^[^ {},:\\x00-\\x1F\\x7F]([^{},:\\x00-\\x1F\\x7F]*[^ {},:\\x00-\\x1F\\x7F])?$",
                               PatternUse::search, "names"));
    languages[0] = arena_.intersection({languages[0], bare});
  }
  const size_t sets = automaton ? size_t{1} << languages.size() : 1;
  for (size_t outputs = 0; outputs < sets; ++outputs) {
    Choices here;
    if (!automaton || (outputs & 1) != 0) {
      Demand demand = anything;
      for (const auto& part : rule.parts) {
        bool found = false;
        for (const auto& [pattern, value] : part->patterns) {
          const auto index = static_cast<size_t>(std::ranges::find(languages.begin() + 1, languages.end(), pattern) -
                                                 languages.begin());
          if ((outputs >> index & 1) == 0) continue;
          demand = builder_.both(demand, value);
          found = true;
        }
        if (!found) demand = builder_.both(demand, part->additional);
      }
      std::vector<Claim> claims;
      for (uint32_t i = 0; i < rule.some.size(); ++i)
        if ((outputs >> (patterns + i) & 1) != 0) claims.push_back({i, rule.some[i].value, false});
      LAPIDARY_TRY(here, choices(demand, claims));
    }
    program.other_choices.push_back(std::move(here));
  }
  if (automaton) keys_.push_back({std::move(languages), object});
  if (program.some != 0)
    for (uint32_t outputs = 0; outputs < sets; ++outputs)
      if (std::ranges::any_of(program.other_choices[outputs], [](const Choice& one) { return one.claims != 0; }))
        program.claiming.push_back(outputs);
  return {};
}

// What a required name asks for is required too.
ObjectRule with_all_required(const ObjectRule& rule) {
  ObjectRule result = rule;
  std::vector<std::string>& required = result.required;
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [first, second] : rule.dependents) {
      const auto place = std::ranges::lower_bound(required, second);
      if (!std::ranges::binary_search(required, first) || (place != required.end() && *place == second)) continue;
      required.insert(place, second);
      changed = true;
    }
  }
  return result;
}

// Whether some name asks, by way of others, for itself.
bool asks_in_a_circle(std::vector<std::pair<std::string, std::string>> dependents) {
  std::erase_if(dependents, [](const auto& pair) { return pair.first == pair.second; });
  for (size_t before = dependents.size() + 1; before > dependents.size();) {
    before = dependents.size();
    const auto all = dependents;
    std::erase_if(dependents, [&](const auto& pair) {
      return std::ranges::none_of(all, [&](const auto& other) { return other.first == pair.second; });
    });
  }
  return !dependents.empty();
}

// Names that ask for others which cannot be there cannot be there either.
void drop_hopeless(ObjectProgram& object) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [first, second] : object.dependents) {
      NameProgram* asks = object.find_name(first);
      const NameProgram* asked = object.find_name(second);
      if (asks == nullptr || asks->choices.empty() || (asked != nullptr && !asked->choices.empty())) continue;
      asks->choices.clear();
      changed = true;
    }
  }
}

Result<uint32_t> ProgramBuilder::add_object(const ObjectRule& written) {
  const ObjectRule rule = written.dependents.empty() ? written : with_all_required(written);
  ObjectProgram object;
  object.min = rule.min;
  object.max = rule.max;
  if (rule.some.size() > counted_max)
    return fail(ErrorKind::unsupported, "not",
                fmt::format("more than {} properties that some name must have", counted_max));
  object.some = (uint32_t{1} << rule.some.size()) - 1;
  for (const auto& [first, second] : rule.dependents)
    object.dependents.emplace_back(name_hash(first), name_hash(second));
  if (rule.max != no_limit && object.some != 0 && !rule.dependents.empty())
    return fail(ErrorKind::unsupported, "maxProperties", "beside names that ask for others and a `not`");
  if (rule.max != no_limit && rule.min > 0 && asks_in_a_circle(rule.dependents))
    return fail(ErrorKind::unsupported, "minProperties", "beside maxProperties and names that ask for one another");
  LAPIDARY_CHECK(add_names(rule, object));
  object.required = static_cast<uint32_t>(rule.required.size());
  const auto index = static_cast<uint32_t>(program_.objects.size());
  program_.objects.emplace_back();
  LAPIDARY_CHECK(add_others(rule, object, index));
  program_.objects[index] = std::move(object);
  return index;
}

Result<void> ProgramBuilder::fill(uint32_t node, const Language& language) {
  ValueNode value;
  value.null = language.null;
  value.yes = language.yes;
  value.no = language.no;
  for (const NumberRule& rule : language.numbers) {
    if (!rule.any()) continue;
    value.numbers.push_back(static_cast<uint32_t>(program_.numbers.size()));
    program_.numbers.push_back(rule);
  }
  const auto add = [&](auto& to, const auto& rules, auto&& one) -> Result<void> {
    for (const auto& rule : rules) {
      LAPIDARY_TRY(const uint32_t index, one(rule));
      to.push_back(index);
    }
    return {};
  };
  LAPIDARY_CHECK(add(value.strings, language.strings, [&](const StringRule& rule) { return add_string(rule); }));
  LAPIDARY_CHECK(add(value.arrays, language.arrays, [&](const ArrayRule& rule) { return add_array(rule); }));
  LAPIDARY_CHECK(add(value.objects, language.objects, [&](const ObjectRule& rule) { return add_object(rule); }));
  program_.nodes[node] = std::move(value);
  return {};
}

// --- which values there are ------------------------------------------------------------------------------------------

bool ProgramBuilder::inhabited(const StringProgram& string) const {
  if (!string.values.empty()) return true;
  if (string.dfa == none) return true;
  const Dfa& dfa = program_.dfas[string.dfa];
  return dfa.start != Dfa::dead && dfa.nearest[dfa.start] <= string.max && dfa.farthest[dfa.start] >= string.min;
}

bool ProgramBuilder::inhabited(ArrayProgram& array) {
  if (!array.contains.empty()) {
    const bool planned = plan_items(array, plan_cells_max, inhabited_);
    plans_fit_ &= planned;
    return planned && may_complete(array, 0, 0);
  }
  uint64_t longest = 0;
  while (longest < array.prefix.size() && inhabited(array.prefix[longest])) ++longest;
  if (longest == array.prefix.size() && inhabited(array.rest)) longest = no_limit;
  return std::min(longest, array.max) >= array.min;
}

// `dependents` have no circle where names are limited in number both ways, so that objects of each size between the
// smallest and the largest exist: a name is added behind all that it asks for.
bool ProgramBuilder::inhabited(const ObjectProgram& object) const {
  std::vector<bool> hopeless(object.names.size());
  for (size_t i = 0; i < hopeless.size(); ++i) hopeless[i] = !inhabited(object.names[i].choices);
  const auto index_of = [&](const NameProgram* name) { return static_cast<size_t>(name - object.names.data()); };
  for (bool changed = !object.dependents.empty(); changed;) {
    changed = false;
    for (const auto& [first, second] : object.dependents) {
      const NameProgram *asks = object.find_name(first), *asked = object.find_name(second);
      if (asks == nullptr || hopeless[index_of(asks)] || (asked != nullptr && !hopeless[index_of(asked)])) continue;
      hopeless[index_of(asks)] = changed = true;
    }
  }
  uint64_t possible = 0;
  for (size_t i = 0; i < hopeless.size(); ++i) {
    if (object.names[i].required && hopeless[i]) return false;
    possible += hopeless[i] ? 0 : 1;
  }
  const bool others = std::ranges::any_of(object.other_choices, [&](const Choices& one) { return inhabited(one); });
  if (others) possible = object.others_count == no_limit ? no_limit : possible + object.others_count;
  if (possible < object.min || object.required > object.max) return false;
  if (object.some == 0) return true;
  const uint64_t more = names_to_claim(
      object, 0, [&](const NameProgram& name) { return bool{hopeless[index_of(&name)]}; },
      [&](size_t i) { return object.claiming_count.empty() ? no_limit : object.claiming_count[i]; },
      [&](const Choice& choice) { return bool{inhabited_[choice.node]}; });
  return more != no_limit && more <= object.max - object.required;
}

bool ProgramBuilder::inhabited(const ValueNode& node) {
  if (node.null || node.yes || node.no || !node.numbers.empty()) return true;
  return std::ranges::any_of(node.strings, [&](uint32_t i) { return inhabited(program_.strings[i]); }) ||
         std::ranges::any_of(node.arrays, [&](uint32_t i) { return inhabited(program_.arrays[i]); }) ||
         std::ranges::any_of(node.objects, [&](uint32_t i) { return inhabited(program_.objects[i]); });
}

// The least set of nodes that have a finite value.
void ProgramBuilder::find_inhabited() {
  inhabited_.assign(program_.nodes.size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = program_.nodes.size(); i-- > 0;)
      if (!inhabited_[i] && inhabited(program_.nodes[i])) inhabited_[i] = changed = true;
  }
}

void ProgramBuilder::prune() {
  for (ValueNode& node : program_.nodes) {
    std::erase_if(node.strings, [&](uint32_t i) { return !inhabited(program_.strings[i]); });
    std::erase_if(node.arrays, [&](uint32_t i) { return !inhabited(program_.arrays[i]); });
    std::erase_if(node.objects, [&](uint32_t i) { return !inhabited(program_.objects[i]); });
  }
  const auto keep = [&](Choices& choices) {
    std::erase_if(choices, [&](const Choice& choice) { return !inhabited_[choice.node]; });
    return !choices.empty();
  };
  for (ArrayProgram& array : program_.arrays) {
    for (size_t i = 0; i < array.prefix.size(); ++i)
      if (!keep(array.prefix[i])) array.max = std::min<uint64_t>(array.max, i);
    if (!keep(array.rest)) array.max = std::min<uint64_t>(array.max, array.prefix.size());
  }
  for (ObjectProgram& object : program_.objects) {
    for (NameProgram& name : object.names) keep(name.choices);
    drop_hopeless(object);
    bool others = false;
    for (Choices& choices : object.other_choices) others |= keep(choices);
    object.others = others;
  }
}

Result<void> ProgramBuilder::build_keys() {
  std::unordered_map<std::string, uint32_t> known;
  for (const Keys& keys : keys_) {
    ObjectProgram& object = program_.objects[keys.object];
    if (!object.others) continue;
    WantedOutputs wanted;
    std::string key(reinterpret_cast<const char*>(keys.languages.data()), keys.languages.size() * sizeof(RegexId));
    for (const Choices& choices : object.other_choices) {
      wanted.push_back(!choices.empty());
      key += choices.empty() ? '0' : '1';
    }
    // Outputs that lead to the same are one.
    std::vector<uint32_t> same;
    for (const Choices& choices : object.other_choices) {
      same.push_back(
          static_cast<uint32_t>(std::ranges::find(object.other_choices, choices) - object.other_choices.begin()));
      key += static_cast<char>(same.back());
    }
    if (const auto found = known.find(key); found != known.end()) {
      object.key_dfa = found->second;
    } else {
      auto dfa = dfa_of(keys.languages, wanted);
      if (!dfa) return std::unexpected(std::move(dfa).error().in("patternProperties"));
      known[key] = object.key_dfa = *dfa;
      Dfa& made = program_.dfas[*dfa];
      for (uint32_t& outputs : made.outputs)
        if (outputs != 0) outputs = same[outputs];
      find_sole_outputs(made);
    }
    describe_keys(object);
  }
  return {};
}

// What the automaton of other names says of their number.
void ProgramBuilder::describe_keys(ObjectProgram& object) const {
  const Dfa& dfa = program_.dfas[object.key_dfa];
  object.others_count = 0;
  object.others = dfa.start != Dfa::dead;
  if (!object.others) return;
  for (NameProgram& name : object.names) name.outputs = dfa.outputs_of(name.text);
  const auto without_listed = [&](uint32_t words, const auto& is_one) -> uint64_t {
    if (words == unbounded) return no_limit;
    return words - static_cast<uint64_t>(std::ranges::count_if(object.names, is_one));
  };
  object.others_count = without_listed(dfa.words[dfa.start], [](const NameProgram& name) { return name.outputs != 0; });
  object.others = object.others_count > 0;
  if (object.some == 0) return;
  std::erase_if(object.claiming, [&](uint32_t outputs) { return object.other_choices[outputs].empty(); });
  object.claiming_count.clear();
  object.claiming_words.clear();
  for (const uint32_t outputs : object.claiming) {
    const std::vector<uint32_t> words = count_words(dfa, outputs);
    object.claiming_count.push_back(
        without_listed(words[dfa.start], [&](const NameProgram& name) { return name.outputs == outputs; }));
    object.claiming_words.insert(object.claiming_words.end(), words.begin(), words.end());
  }
}

// Takes away what has no value, until all that is left has one: what names there are is known of pruned objects alone.
Result<void> ProgramBuilder::keep_inhabited() {
  const size_t dfas = program_.dfas.size();
  const uint64_t cells = cells_;
  for (bool again = true; again;) {
    program_.dfas.resize(dfas);
    cells_ = cells;
    find_inhabited();
    if (!inhabited_[program_.root])
      return fail(ErrorKind::unsupported, "schema", "no value can satisfy it" + hopeless_place());
    prune();
    LAPIDARY_CHECK(build_keys());
    again = false;
    for (size_t i = 0; i < program_.nodes.size() && !again; ++i) {
      const ValueNode& node = program_.nodes[i];
      again = std::ranges::any_of(node.objects, [&](uint32_t one) { return !inhabited(program_.objects[one]); });
    }
  }
  for (ArrayProgram& array : program_.arrays)
    if (!array.contains.empty()) plans_fit_ &= plan_items(array, plan_cells_max, {});
  if (!plans_fit_) return fail(ErrorKind::limit, "contains", "so many counts at once");
  return {};
}

// Where in a value, as a JSON pointer, something has to be that cannot be; "": not in one place.
std::string ProgramBuilder::hopeless_place() const {
  constexpr size_t steps_max = 64;
  std::string pointer;
  uint32_t node = program_.root;
  for (size_t step = 0; step < steps_max; ++step) {
    const ValueNode& value = program_.nodes[node];
    const Choices* next = nullptr;
    if (value.strings.empty() && value.arrays.empty() && value.objects.size() == 1) {
      const ObjectProgram& object = program_.objects[value.objects[0]];
      const auto name = std::ranges::find_if(
          object.names, [&](const NameProgram& one) { return one.required && !inhabited(one.choices); });
      if (name == object.names.end()) break;
      pointer += '/';
      for (const char c : name->text) pointer += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
      next = &name->choices;
    } else if (value.strings.empty() && value.objects.empty() && value.arrays.size() == 1) {
      const ArrayProgram& array = program_.arrays[value.arrays[0]];
      size_t index = 0;
      while (index < array.prefix.size() && inhabited(array.prefix[index])) ++index;
      next = index < array.prefix.size() ? &array.prefix[index] : &array.rest;
      if (index >= array.min || inhabited(*next)) break;
      pointer += '/' + std::to_string(index);
    }
    if (next == nullptr || next->empty()) break;
    node = (*next)[0].node;
  }
  if (pointer.empty() && !builder_.hopeless_name().empty())
    return fmt::format(": \"{}\" is required, for one, and can have none", utf8_repair(builder_.hopeless_name()));
  return pointer.empty() ? "" : ": it must have a value at " + utf8_repair(pointer) + ", which can have none";
}

Result<Program> ProgramBuilder::build(Demand root) {
  LAPIDARY_TRY(program_.root, node_of(root));
  while (!open_.empty()) {
    const auto [node, demand] = open_.front();
    open_.pop_front();
    auto language = builder_.expand(demand);
    if (!language) {
      const std::string place = builder_.place(demand);
      return std::unexpected(std::move(language).error().in(place.empty() ? "schema" : place));
    }
    LAPIDARY_CHECK(fill(node, **language));
  }
  LAPIDARY_CHECK(keep_inhabited());
  return std::move(program_);
}

}  // namespace

uint64_t name_hash(std::string_view name) {
  uint64_t hash = name_hash_begin;
  for (const char c : name) hash = name_hash_add(hash, static_cast<uint8_t>(c));
  return hash;
}

size_t program_bytes(const Program& program) {
  size_t sum = program.numbers.size() * sizeof(NumberRule);
  const auto of = [](const Choices& choices) { return sizeof(Choices) + choices.size() * sizeof(Choice); };
  for (const ValueNode& node : program.nodes)
    sum += sizeof node +
           sizeof(uint32_t) * (node.numbers.size() + node.strings.size() + node.arrays.size() + node.objects.size());
  for (const StringProgram& string : program.strings) {
    sum += sizeof string;
    for (const std::string& value : string.values) sum += sizeof value + value.capacity();
  }
  for (const ArrayProgram& array : program.arrays) {
    sum += sizeof array + of(array.rest) + array.contains.size() * sizeof(Contains) +
           array.plan.further.size() * sizeof(uint64_t);
    for (const Choices& choices : array.prefix) sum += of(choices);
  }
  for (const ObjectProgram& object : program.objects) {
    sum += sizeof object + object.dependents.size() * sizeof(object.dependents[0]) +
           object.claiming_words.size() * sizeof(uint32_t);
    for (const NameProgram& name : object.names) sum += sizeof name + name.text.capacity() + of(name.choices);
    for (const Choices& choices : object.other_choices) sum += of(choices);
  }
  for (const Dfa& dfa : program.dfas) sum += dfa_bytes(dfa);
  return sum;
}

uint32_t join_programs(Program& program, Program other) {
  const auto base = [](const auto& list) { return static_cast<uint32_t>(list.size()); };
  const uint32_t nodes = base(program.nodes), numbers = base(program.numbers), strings = base(program.strings);
  const uint32_t arrays = base(program.arrays), objects = base(program.objects), dfas = base(program.dfas);
  const auto shift = [](std::vector<uint32_t>& list, uint32_t by) {
    for (uint32_t& index : list) index += by;
  };
  const auto shift_choices = [&](Choices& choices) {
    for (Choice& choice : choices) choice.node += nodes;
  };
  for (ValueNode& node : other.nodes) {
    shift(node.numbers, numbers);
    shift(node.strings, strings);
    shift(node.arrays, arrays);
    shift(node.objects, objects);
  }
  for (StringProgram& string : other.strings)
    if (string.dfa != none) string.dfa += dfas;
  for (ArrayProgram& array : other.arrays) {
    std::ranges::for_each(array.prefix, shift_choices);
    shift_choices(array.rest);
  }
  for (ObjectProgram& object : other.objects) {
    for (NameProgram& name : object.names) shift_choices(name.choices);
    std::ranges::for_each(object.other_choices, shift_choices);
    if (object.key_dfa != none) object.key_dfa += dfas;
  }
  const auto move_all = [](auto& to, auto& from) { std::ranges::move(from, std::back_inserter(to)); };
  move_all(program.nodes, other.nodes);
  move_all(program.numbers, other.numbers);
  move_all(program.strings, other.strings);
  move_all(program.arrays, other.arrays);
  move_all(program.objects, other.objects);
  move_all(program.dfas, other.dfas);
  return other.root + nodes;
}

Result<Program> compile_schema(std::string_view schema, const std::string& where, Names names, uint64_t* effort) {
  LAPIDARY_TRY(const JsonValue root, parse_json_value(schema, where));
  LAPIDARY_TRY(const SchemaDocument document, SchemaDocument::create(root));
  RegexArena arena;
  LanguageBuilder builder(document, arena);
  auto program = ProgramBuilder(builder, names).build(builder.demand_of(root));
  constexpr uint64_t step_effort = 40;
  if (effort != nullptr) *effort += arena.effort() + step_effort * builder.steps();
  if (!program) return std::unexpected(std::move(program).error().in(where));
  return program;
}

}  // namespace lapidary::grammar
