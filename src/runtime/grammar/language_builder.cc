#include "grammar/language_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/utf8.h"

namespace lapidary::grammar {
namespace {

constexpr uint32_t emptiness_depth_max = 3;
constexpr uint32_t depth_max = 120;  // of schemas that say something of the same value

uint64_t length_of(std::string_view text) {
  uint64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

// What a schema asks, if it holds no other schema and no reference: such schemas come over and over, and mean the same
// wherever they stand. "" : it does.
std::string leaf_text(const JsonValue& schema) {
  constexpr size_t members_max = 12;
  if (!schema.is(JsonValue::Kind::object) || schema.items.size() > members_max) return "";
  std::string text;
  for (size_t i = 0; i < schema.items.size(); ++i) {
    const std::string& key = schema.names[i];
    const JsonValue& value = schema.items[i];
    if (key == "description" || key == "title" || key == "default") continue;
    const bool plain = !value.is(JsonValue::Kind::object) && !value.is(JsonValue::Kind::array);
    const bool list = value.is(JsonValue::Kind::array) && (key == "type" || key == "enum" || key == "required");
    if ((!plain && !list) || key.starts_with('$') || key == "id") return "";
    text += fmt::format("{}:{}{}", key.size(), key, write_json(value));
  }
  return text.empty() ? "{}" : text;
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

Language Language::all() {
  Language language;
  language.null = language.yes = language.no = true;
  language.numbers.emplace_back();
  language.strings.emplace_back();
  language.arrays.emplace_back();
  language.objects.emplace_back();
  return language;
}

LanguageBuilder::LanguageBuilder(const SchemaDocument& document, RegexArena& arena, const LanguageBudget& budget)
    : document_(document), arena_(arena), budget_(budget) {
  false_.kind = JsonValue::Kind::boolean;
  intern({});
}

Demand LanguageBuilder::intern(std::vector<uint32_t> references) {
  std::ranges::sort(references);
  references.erase(std::unique(references.begin(), references.end()), references.end());
  const auto [place, added] = demand_index_.try_emplace(references, static_cast<Demand>(demands_.size()));
  if (added) demands_.push_back(std::move(references));
  return place->second;
}

uint32_t LanguageBuilder::entry_of(const JsonValue& value, bool constant) {
  const auto [place, added] =
      entry_index_[constant ? 1 : 0].try_emplace(&value, static_cast<uint32_t>(entries_.size()));
  if (!added) return place->second;
  if (const std::string leaf = constant ? "" : leaf_text(value); !leaf.empty()) {
    const auto [equal, first] = leaf_index_.try_emplace(leaf, place->second);
    if (!first) return place->second = equal->second;
  }
  entries_.push_back({&value, constant, 0, nullptr, nullptr});
  return place->second;
}

Demand LanguageBuilder::demand_of(const JsonValue& schema, bool negated) {
  if (schema.is(JsonValue::Kind::boolean)) return schema.truth != negated ? anything : nothing();
  if (schema.is(JsonValue::Kind::object) && schema.items.empty()) return negated ? nothing() : anything;
  return intern({entry_of(schema, false) << 1 | static_cast<uint32_t>(negated)});
}

Demand LanguageBuilder::constant(const JsonValue& value) { return intern({entry_of(value, true) << 1}); }
Demand LanguageBuilder::nothing() { return intern({entry_of(false_, false) << 1}); }

Demand LanguageBuilder::both(Demand a, Demand b) {
  if (a == b || b == anything) return a;
  if (a == anything) return b;
  std::vector<uint32_t> references = demands_[a];
  append(references, demands_[b]);
  return intern(std::move(references));
}

std::vector<Demand> LanguageBuilder::opposites(Demand demand) const {
  std::vector<Demand> result;
  auto* self = const_cast<LanguageBuilder*>(this);
  const std::vector<uint32_t> references = demands_[demand];
  for (const uint32_t reference : references) {
    if (entries_[reference >> 1].value == &false_)
      result.push_back(anything);
    else
      result.push_back(self->intern({reference ^ 1}));
  }
  return result;
}

std::string LanguageBuilder::place(Demand demand) const {
  std::string text = demands_[demand].empty() ? "" : write_json(*entries_[demands_[demand][0] >> 1].value);
  if (text.size() > 80) text = utf8_repair(text.substr(0, 80)) + "…";
  return text;
}

Result<void> LanguageBuilder::spend(uint64_t steps) {
  steps_ += steps;
  if (steps_ <= budget_.steps && demands_.size() <= budget_.demands) return {};
  return fail(ErrorKind::limit, "schema", fmt::format("its combinations take more than {} steps", budget_.steps));
}

Result<void> LanguageBuilder::check_size(const Language& language) const {
  const size_t most =
      std::max({language.numbers.size(), language.strings.size(), language.arrays.size(), language.objects.size()});
  if (most <= budget_.list_max) return {};
  return fail(ErrorKind::limit, "schema", fmt::format("one value has more than {} different forms", budget_.list_max));
}

Result<std::shared_ptr<const Language>> LanguageBuilder::reference(uint32_t reference) {
  const uint32_t id = reference >> 1;
  const bool negated = (reference & 1) != 0;
  if (const auto& known = negated ? entries_[id].opposite : entries_[id].language) return known;
  if (entries_[id].busy > 0)
    return fail(ErrorKind::unsupported, "$ref", "a reference that leads back to itself without a value in between");
  ++entries_[id].busy;
  auto read = [&]() -> Result<Language> {
    if (negated) {
      const Demand plain = intern({reference ^ 1});
      --entries_[id].busy;
      auto language = expand(plain);
      ++entries_[id].busy;
      if (!language) return std::unexpected(std::move(language).error());
      return complement(**language);
    }
    if (entries_[id].constant) return values({entries_[id].value});
    return read_schema(*this, document_, *entries_[id].value);
  }();
  --entries_[id].busy;
  LAPIDARY_TRY(Language language, std::move(read));
  LAPIDARY_CHECK(check_size(language));
  auto shared = std::make_shared<const Language>(std::move(language));
  (negated ? entries_[id].opposite : entries_[id].language) = shared;
  return std::shared_ptr<const Language>(shared);
}

Result<std::shared_ptr<const Language>> LanguageBuilder::expand(Demand demand) {
  if (const auto found = expanded_.find(demand); found != expanded_.end()) return found->second;
  LAPIDARY_CHECK(spend(1));
  if (depth_ >= depth_max)
    return fail(ErrorKind::limit, "schema", fmt::format("references and combinations go deeper than {}", depth_max));
  ++depth_;
  auto result = expand_new(demand);
  --depth_;
  if (result) expanded_.emplace(demand, *result);
  return result;
}

Result<std::shared_ptr<const Language>> LanguageBuilder::expand_new(Demand demand) {
  const std::vector<uint32_t> references = demands_[demand];
  std::shared_ptr<const Language> result;
  if (references.empty()) {
    result = std::make_shared<const Language>(Language::all());
  } else if (references.size() == 1) {
    LAPIDARY_TRY(result, reference(references[0]));
  } else {
    LAPIDARY_TRY(const auto first, reference(references[0]));
    Language both = *first;
    for (size_t i = 1; i < references.size(); ++i) {
      LAPIDARY_TRY(const auto next, reference(references[i]));
      LAPIDARY_TRY(both, intersect(both, *next));
    }
    result = std::make_shared<const Language>(std::move(both));
  }
  return result;
}

// Whether nothing meets `demand`, as far as that is easily seen: a recursion that never ends is not.
bool LanguageBuilder::surely_empty(Demand demand) {
  if (demand == anything || emptiness_depth_ >= emptiness_depth_max) return false;
  if (const auto known = expanded_.find(demand); known != expanded_.end()) return known->second->empty();
  for (const uint32_t reference : demands_[demand])
    if (entries_[reference >> 1].busy > 0) return false;
  ++emptiness_depth_;
  const auto language = expand(demand);
  --emptiness_depth_;
  return language && (*language)->empty();
}

bool LanguageBuilder::no_string(RegexId regex) {
  const auto known = empty_regex_.find(regex);
  if (known != empty_regex_.end()) return known->second;
  const auto dfa = build_dfa(arena_, {regex}, {}, {500, 10'000, 100'000});
  return empty_regex_[regex] = dfa && dfa->start == Dfa::dead;
}

bool LanguageBuilder::matches(const StringRule& rule, const std::string& text) {
  if (rule.values) return std::ranges::binary_search(*rule.values, text);
  const uint64_t length = length_of(text);
  return length >= rule.min && length <= rule.max && (!rule.regex || arena_.matches(*rule.regex, text));
}

Demand LanguageBuilder::lookup(const ObjectRule& rule, const std::string& name) {
  Demand demand = anything;
  for (const auto& part : rule.parts) {
    bool found = false;
    const auto place = std::ranges::lower_bound(part->properties, name, {}, &std::pair<std::string, Demand>::first);
    if (place != part->properties.end() && place->first == name) {
      demand = both(demand, place->second);
      found = true;
    }
    for (const auto& [pattern, value] : part->patterns)
      if (arena_.matches(pattern, name)) {
        demand = both(demand, value);
        found = true;
      }
    if (!found) demand = both(demand, part->additional);
  }
  return demand;
}

// --- intersections ---------------------------------------------------------------------------------------------------

std::optional<NumberRule> LanguageBuilder::meet(const NumberRule& a, const NumberRule& b) {
  NumberRule result = a;
  if (!restrict(result, b)) return std::nullopt;
  return result;
}

std::optional<StringRule> LanguageBuilder::meet(const StringRule& a, const StringRule& b) {
  if (a.values || b.values) {
    const StringRule& list = a.values ? a : b;
    const StringRule& other = a.values ? b : a;
    StringRule result;
    result.values.emplace();
    for (const std::string& value : *list.values)
      if (matches(other, value)) result.values->push_back(value);
    if (result.values->empty()) return std::nullopt;
    return result;
  }
  StringRule result = a;
  result.min = std::max(a.min, b.min);
  result.max = std::min(a.max, b.max);
  if (result.min > result.max) return std::nullopt;
  if (!a.regex) result.regex = b.regex;
  if (a.regex && b.regex && *a.regex != *b.regex) {
    result.regex = arena_.intersection({*a.regex, *b.regex});
    if (no_string(*result.regex)) return std::nullopt;
  }
  return result;
}

std::optional<ArrayRule> LanguageBuilder::meet(const ArrayRule& a, const ArrayRule& b) {
  ArrayRule result;
  const size_t prefix = std::max(a.prefix.size(), b.prefix.size());
  const auto at = [](const ArrayRule& rule, size_t i) { return i < rule.prefix.size() ? rule.prefix[i] : rule.rest; };
  for (size_t i = 0; i < prefix; ++i) result.prefix.push_back(both(at(a, i), at(b, i)));
  result.rest = both(a.rest, b.rest);
  result.min = std::max(a.min, b.min);
  result.max = std::min(a.max, b.max);
  result.contains = a.contains;
  append(result.contains, b.contains);
  result.unique = a.unique || b.unique;
  result.rest_evaluated = a.rest_evaluated || b.rest_evaluated;
  result.negated = a.negated || b.negated;
  for (size_t i = 0; i < prefix && i < result.max; ++i)
    if (surely_empty(result.prefix[i])) result.max = i;
  if (prefix < result.max && surely_empty(result.rest)) result.max = prefix;
  if (result.min > result.max) return std::nullopt;
  return result;
}

std::optional<ObjectRule> LanguageBuilder::meet(const ObjectRule& a, const ObjectRule& b) {
  ObjectRule result = a;
  steps_ += (a.parts.size() + b.parts.size()) / 2;
  for (const auto& part : b.parts)
    if (std::ranges::find(result.parts, part) == result.parts.end()) result.parts.push_back(part);
  result.required.clear();
  std::ranges::set_union(a.required, b.required, std::back_inserter(result.required));
  result.min = std::max(a.min, b.min);
  result.max = std::min(a.max, b.max);
  append(result.dependents, b.dependents);
  append(result.names, b.names);
  append(result.some, b.some);
  if (result.min > result.max || result.required.size() > result.max) return std::nullopt;
  for (const std::string& name : result.required)
    if (surely_empty(lookup(result, name))) {
      if (hopeless_name_.empty()) hopeless_name_ = name;
      return std::nullopt;
    }
  return result;
}

template <typename Rule>
Result<std::vector<Rule>> LanguageBuilder::meet_lists(const std::vector<Rule>& a, const std::vector<Rule>& b) {
  LAPIDARY_CHECK(spend(1 + a.size() * b.size()));
  std::vector<Rule> result;
  for (const Rule& one : a)
    for (const Rule& other : b)
      if (auto met = meet(one, other)) result.push_back(std::move(*met));
  if (result.size() > budget_.list_max)
    return fail(ErrorKind::limit, "schema",
                fmt::format("one value has more than {} different forms", budget_.list_max));
  return result;
}

Result<Language> LanguageBuilder::intersect(const Language& a, const Language& b) {
  Language result;
  result.null = a.null && b.null;
  result.yes = a.yes && b.yes;
  result.no = a.no && b.no;
  LAPIDARY_TRY(result.numbers, meet_lists(a.numbers, b.numbers));
  LAPIDARY_TRY(result.strings, meet_lists(a.strings, b.strings));
  LAPIDARY_TRY(result.arrays, meet_lists(a.arrays, b.arrays));
  LAPIDARY_TRY(result.objects, meet_lists(a.objects, b.objects));
  return result;
}

// --- complements -----------------------------------------------------------------------------------------------------

Result<std::vector<NumberRule>> LanguageBuilder::opposite(const NumberRule& rule) { return grammar::complement(rule); }

Result<std::vector<StringRule>> LanguageBuilder::opposite(const StringRule& rule) {
  constexpr size_t values_max = 200;
  std::vector<StringRule> result;
  StringRule one;
  if (rule.values) {
    if (rule.values->size() > values_max)
      return fail(ErrorKind::unsupported, "not", fmt::format("the exclusion of more than {} strings", values_max));
    std::vector<RegexId> words;
    for (const std::string& value : *rule.values) words.push_back(arena_.literal(value));
    one.regex = arena_.complement(arena_.alternation(std::move(words)));
    result.push_back(one);
    return result;
  }
  if (rule.regex) {
    one.regex = arena_.complement(*rule.regex);
    if (!no_string(*one.regex)) result.push_back(one);
  }
  if (rule.min > 0) result.push_back({{}, 0, rule.min - 1, {}});
  if (rule.max != no_limit) result.push_back({{}, rule.max + 1, no_limit, {}});
  return result;
}

Result<std::vector<ArrayRule>> LanguageBuilder::opposite(const ArrayRule& rule) {
  constexpr uint64_t from_max = 64;
  std::vector<ArrayRule> result;
  const auto add = [&](auto&& change) {
    ArrayRule one;
    one.negated = true;
    change(one);
    result.push_back(std::move(one));
  };
  if (rule.unique) return fail(ErrorKind::unsupported, "not", "the opposite of uniqueItems");
  if (rule.min > 0) add([&](ArrayRule& one) { one.max = rule.min - 1; });
  if (rule.max != no_limit) add([&](ArrayRule& one) { one.min = rule.max + 1; });
  for (size_t i = 0; i < rule.prefix.size(); ++i)
    for (const Demand demand : opposites(rule.prefix[i]))
      add([&](ArrayRule& one) {
        one.prefix.assign(i, anything);
        one.prefix.push_back(demand);
        one.min = i + 1;
      });
  for (const Demand demand : opposites(rule.rest))
    add([&](ArrayRule& one) { one.contains.push_back({demand, 1, no_limit, rule.prefix.size()}); });
  for (const Contains& contains : rule.contains) {
    if (contains.from > from_max) return fail(ErrorKind::unsupported, "not", "the opposite of so long a list of items");
    if (contains.min > 0)
      add([&](ArrayRule& one) { one.contains.push_back({contains.what, 0, contains.min - 1, contains.from}); });
    if (contains.max != no_limit)
      add([&](ArrayRule& one) { one.contains.push_back({contains.what, contains.max + 1, no_limit, contains.from}); });
  }
  return result;
}

Result<std::vector<ObjectRule>> LanguageBuilder::opposite(const ObjectRule& rule) {
  std::vector<ObjectRule> result;
  const auto with_property = [&](const std::string& name, Demand demand) {
    auto part = std::make_shared<ObjectPart>();
    part->evaluates = false;
    part->properties.emplace_back(name, demand);
    return part;
  };
  const auto add = [&](auto&& change) {
    ObjectRule one;
    change(one);
    result.push_back(std::move(one));
  };
  for (const std::string& name : rule.required)
    add([&](ObjectRule& one) { one.parts.push_back(with_property(name, nothing())); });
  if (rule.min > 0) add([&](ObjectRule& one) { one.max = rule.min - 1; });
  if (rule.max != no_limit) add([&](ObjectRule& one) { one.min = rule.max + 1; });
  for (const auto& part : rule.parts) {
    std::vector<RegexId> others{arena_.everything()};
    for (const auto& [name, demand] : part->properties) {
      for (const Demand wrong : opposites(demand))
        add([&](ObjectRule& one) {
          one.required.push_back(name);
          if (wrong != anything) one.parts.push_back(with_property(name, wrong));
        });
      if (part->additional != anything) others.push_back(arena_.negation(arena_.literal(name)));
    }
    for (const auto& [pattern, demand] : part->patterns) {
      for (const Demand wrong : opposites(demand)) add([&](ObjectRule& one) { one.some.push_back({pattern, wrong}); });
      if (part->additional != anything) others.push_back(arena_.negation(pattern));
    }
    for (const Demand wrong : opposites(part->additional))
      add([&](ObjectRule& one) { one.some.push_back({arena_.intersection(others), wrong}); });
  }
  for (const auto& [first, second] : rule.dependents)
    add([&](ObjectRule& one) {
      one.required.push_back(first);
      one.parts.push_back(with_property(second, nothing()));
    });
  for (const Demand names : rule.names) {
    LAPIDARY_TRY(const auto language, expand(names));
    LAPIDARY_TRY(const std::vector<StringRule> wrong, opposite_list(language->strings));
    for (const StringRule& one_rule : wrong) {
      if (one_rule.values) return fail(ErrorKind::unsupported, "not", "the opposite of these propertyNames");
      std::vector<RegexId> both_parts{one_rule.regex.value_or(arena_.everything())};
      const auto bound = [](uint64_t value) { return value >= unbounded ? unbounded : static_cast<uint32_t>(value); };
      both_parts.push_back(arena_.lengths(bound(one_rule.min), bound(one_rule.max)));
      add([&](ObjectRule& one) { one.some.push_back({arena_.intersection(both_parts), anything}); });
    }
  }
  for (const SomeProperty& some : rule.some) {
    auto part = std::make_shared<ObjectPart>();
    part->evaluates = false;
    const std::vector<Demand> wrong = opposites(some.value);
    if (wrong.size() > 1) return fail(ErrorKind::unsupported, "not", "so deep a combination of not");
    part->patterns.emplace_back(some.names, wrong.empty() ? nothing() : wrong[0]);
    add([&](ObjectRule& one) { one.parts.push_back(part); });
  }
  return result;
}

template <typename Rule>
Result<std::vector<Rule>> LanguageBuilder::opposite_list(const std::vector<Rule>& rules) {
  std::vector<Rule> result(1);
  for (const Rule& rule : rules) {
    LAPIDARY_TRY(const std::vector<Rule> wrong, opposite(rule));
    LAPIDARY_TRY(result, meet_lists(result, wrong));
  }
  return result;
}

Result<Language> LanguageBuilder::complement(const Language& language) {
  Language result;
  result.null = !language.null;
  result.yes = !language.yes;
  result.no = !language.no;
  LAPIDARY_TRY(result.numbers, opposite_list(language.numbers));
  LAPIDARY_TRY(result.strings, opposite_list(language.strings));
  LAPIDARY_TRY(result.arrays, opposite_list(language.arrays));
  LAPIDARY_TRY(result.objects, opposite_list(language.objects));
  return result;
}

// --- values ----------------------------------------------------------------------------------------------------------

// Exactly the values of `list`.
Language LanguageBuilder::values(const std::vector<const JsonValue*>& list) {
  Language result;
  std::vector<std::string> strings;
  std::vector<Decimal> numbers;
  for (const JsonValue* value : list) {
    switch (value->kind) {
      case JsonValue::Kind::null:
        result.null = true;
        break;
      case JsonValue::Kind::boolean:
        (value->truth ? result.yes : result.no) = true;
        break;
      case JsonValue::Kind::string:
        strings.push_back(value->text);
        break;
      case JsonValue::Kind::number:
        if (const auto number = Decimal::parse(value->text)) numbers.push_back(*number);
        break;
      case JsonValue::Kind::array: {
        ArrayRule rule;
        for (const JsonValue& item : value->items) rule.prefix.push_back(constant(item));
        rule.rest = nothing();
        rule.min = rule.max = value->items.size();
        result.arrays.push_back(std::move(rule));
        break;
      }
      case JsonValue::Kind::object: {
        ObjectRule rule;
        auto part = std::make_shared<ObjectPart>();
        part->evaluates = false;
        for (const std::string& name : value->names) part->properties.emplace_back(name, constant(*value->find(name)));
        std::ranges::sort(part->properties);
        part->properties.erase(std::unique(part->properties.begin(), part->properties.end()), part->properties.end());
        for (const auto& property : part->properties) rule.required.push_back(property.first);
        part->additional = nothing();
        rule.parts.push_back(std::move(part));
        result.objects.push_back(std::move(rule));
        break;
      }
    }
  }
  std::ranges::sort(strings);
  strings.erase(std::unique(strings.begin(), strings.end()), strings.end());
  if (!strings.empty()) {
    result.strings.emplace_back();
    result.strings.back().values = std::move(strings);
  }
  if (!numbers.empty()) {
    result.numbers.emplace_back();
    result.numbers.back().allowed = std::move(numbers);
  }
  return result;
}

}  // namespace lapidary::grammar
