// The keywords of one schema.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <map>

#include "grammar/language_builder.h"

namespace lapidary::grammar {
namespace {

using Kind = JsonValue::Kind;

// Keywords that would change what is allowed, and that are not enforced.
constexpr std::array<std::string_view, 4> not_enforced = {"$dynamicRef", "$recursiveRef", "extends", "disallow"};

class SchemaReader {
 public:
  SchemaReader(LanguageBuilder& builder, const SchemaDocument& document, const JsonValue& schema)
      : builder_(builder), document_(document), schema_(schema) {}

  Result<Language> read();

 private:
  std::unexpected<Error> unsupported(std::string_view keyword, std::string_view why) const {
    return fail(ErrorKind::unsupported, std::string(keyword), std::string(why));
  }
  std::unexpected<Error> wrong(std::string_view keyword, std::string_view expected) const {
    std::string found = write_json(*schema_.find(keyword));
    if (found.size() > 60) found = found.substr(0, 57) + "...";
    return malformed(std::string(keyword), expected, found);
  }
  // A keyword's value, or nullptr.
  const JsonValue* get(std::string_view keyword) const { return schema_.find(keyword); }
  Result<std::optional<uint64_t>> count(std::string_view keyword) const;
  Result<std::optional<Decimal>> number(std::string_view keyword) const;
  Result<Demand> subschema(std::string_view keyword) const;

  Result<void> read_types();
  Result<void> read_numbers();
  Result<void> read_strings();
  Result<void> read_arrays();
  Result<void> read_contains(ArrayRule& rule);
  Result<void> read_objects();
  Result<void> read_part(ObjectRule& rule);
  Result<void> read_dependencies(ObjectRule& rule);
  Result<void> read_combinations();
  Result<void> read_one_of(const JsonValue& list);
  Result<void> read_condition();
  Result<void> read_unevaluated();
  Result<void> narrow(const Language& other) {
    LAPIDARY_TRY(language_, builder_.intersect(language_, other));
    return builder_.check_size(language_);
  }
  Result<void> narrow(Demand demand) {
    LAPIDARY_TRY(const auto other, builder_.expand(demand));
    return narrow(*other);
  }

  LanguageBuilder& builder_;
  const SchemaDocument& document_;
  const JsonValue& schema_;
  Language language_ = Language::all();
  std::vector<std::pair<std::string, Demand>> conditional_;  // if the name is there, the object meets the demand
};

void join(Language& to, const Language& from) {
  to.null |= from.null;
  to.yes |= from.yes;
  to.no |= from.no;
  to.numbers.insert(to.numbers.end(), from.numbers.begin(), from.numbers.end());
  to.strings.insert(to.strings.end(), from.strings.begin(), from.strings.end());
  to.arrays.insert(to.arrays.end(), from.arrays.begin(), from.arrays.end());
  to.objects.insert(to.objects.end(), from.objects.begin(), from.objects.end());
}

Result<std::optional<uint64_t>> SchemaReader::count(std::string_view keyword) const {
  const JsonValue* value = get(keyword);
  if (value == nullptr) return std::optional<uint64_t>();
  const auto decimal = value->is(Kind::number) ? Decimal::parse(value->text) : std::nullopt;
  if (!decimal || decimal->negative || !decimal->integer()) return wrong(keyword, "a whole number from 0 on");
  if (decimal->digits.size() + static_cast<uint64_t>(decimal->exponent) > 18)
    return std::optional<uint64_t>(no_limit - 1);
  uint64_t result = 0;
  std::from_chars(decimal->digits.data(), decimal->digits.data() + decimal->digits.size(), result);
  for (int64_t i = 0; i < decimal->exponent; ++i) result *= 10;
  return std::optional<uint64_t>(result);
}

Result<std::optional<Decimal>> SchemaReader::number(std::string_view keyword) const {
  const JsonValue* value = get(keyword);
  if (value == nullptr || !value->is(Kind::number)) {
    if (value != nullptr) return wrong(keyword, "a number");
    return std::optional<Decimal>();
  }
  auto decimal = Decimal::parse(value->text);
  if (!decimal) return wrong(keyword, "a number with a smaller exponent");
  return decimal;
}

Result<Demand> SchemaReader::subschema(std::string_view keyword) const {
  const JsonValue* value = get(keyword);
  if (value == nullptr) return anything;
  if (!value->is(Kind::object) && !value->is(Kind::boolean)) return wrong(keyword, "a schema");
  return builder_.demand_of(*value);
}

Result<void> SchemaReader::read_types() {
  const JsonValue* type = get("type");
  if (type == nullptr) return {};
  std::vector<std::string_view> names;
  if (type->is(Kind::string)) names.push_back(type->text);
  if (type->is(Kind::array))
    for (const JsonValue& one : type->items) {
      if (!one.is(Kind::string)) return wrong("type", "the name of a type, or several");
      names.push_back(one.text);
    }
  if (names.empty()) return wrong("type", "the name of a type, or several");
  Language all = std::move(language_);
  language_ = Language();
  const auto named = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  for (const std::string_view name : names) {
    if (name == "null") {
      language_.null = true;
    } else if (name == "boolean") {
      language_.yes = language_.no = true;
    } else if (name == "string") {
      language_.strings = all.strings;
    } else if (name == "array") {
      language_.arrays = all.arrays;
    } else if (name == "object") {
      language_.objects = all.objects;
    } else if (name == "number" || (name == "integer" && !named("number"))) {
      language_.numbers = all.numbers;
      for (NumberRule& rule : language_.numbers) {
        rule.integer |= name == "integer";
        rule.no_point |= name == "integer" && document_.draft() == 4;  // there 1.0 is no integer
      }
    } else if (name != "integer") {
      return wrong("type", "null, boolean, integer, number, string, array or object");
    }
  }
  return {};
}

Result<void> SchemaReader::read_numbers() {
  NumberRule rule;
  LAPIDARY_TRY(rule.min, number("minimum"));
  LAPIDARY_TRY(rule.max, number("maximum"));
  const auto open = [&](std::string_view keyword, std::optional<Decimal>& bound, bool& bound_open,
                        int sign) -> Result<void> {
    const JsonValue* value = get(keyword);
    if (value == nullptr) return {};
    if (value->is(Kind::boolean)) {  // draft 4
      bound_open = value->truth;
      return {};
    }
    LAPIDARY_TRY(const auto limit, number(keyword));
    if (bound && sign * compare(*limit, *bound) < 0) return {};
    bound = limit;
    bound_open = true;
    return {};
  };
  LAPIDARY_CHECK(open("exclusiveMinimum", rule.min, rule.min_open, 1));
  LAPIDARY_CHECK(open("exclusiveMaximum", rule.max, rule.max_open, -1));
  LAPIDARY_TRY(const auto divisor, number("multipleOf"));
  if (divisor) {
    if (divisor->negative || divisor->zero()) return wrong("multipleOf", "a number above 0");
    if (divisor->digits.size() > 17 || divisor->exponent > 17 || divisor->exponent < -12)
      return unsupported("multipleOf", "more digits than can be computed with");
    rule.multiples.push_back(*divisor);
  }
  std::vector<NumberRule> kept;
  for (NumberRule& one : language_.numbers)
    if (restrict(one, rule)) kept.push_back(std::move(one));
  language_.numbers = std::move(kept);
  return {};
}

Result<void> SchemaReader::read_strings() {
  StringRule rule;
  LAPIDARY_TRY(const auto min, count("minLength"));
  LAPIDARY_TRY(const auto max, count("maxLength"));
  rule.min = min.value_or(0);
  rule.max = max.value_or(no_limit);
  std::vector<RegexId> parts;
  if (const JsonValue* pattern = get("pattern"); pattern != nullptr) {
    if (!pattern->is(Kind::string)) return wrong("pattern", "a string");
    LAPIDARY_TRY(const RegexId regex, parse_pattern(builder_.arena(), pattern->text, PatternUse::search, "pattern"));
    parts.push_back(regex);
  }
  if (const JsonValue* format = get("format"); format != nullptr && format->is(Kind::string)) {
    if (format->text == "regex" || format->text == "uri-template")
      return unsupported("format", fmt::format("\"{}\" is not enforced", format->text));
    if (format->text == "hostname" || format->text == "idn-hostname") rule.max = std::min<uint64_t>(rule.max, 253);
    if (const auto regex = format_language(builder_.arena(), format->text)) parts.push_back(*regex);
  }
  if (!parts.empty()) rule.regex = builder_.arena().intersection(parts);
  if (!rule.regex && rule.min == 0 && rule.max == no_limit) return {};
  Language strings = Language::all();
  strings.strings = {rule};
  return rule.min > rule.max ? (language_.strings.clear(), Result<void>()) : narrow(strings);
}

Result<void> SchemaReader::read_contains(ArrayRule& rule) {
  if (get("contains") == nullptr || document_.draft() < 6) return {};
  Contains contains;
  LAPIDARY_TRY(contains.what, subschema("contains"));
  if (document_.draft() >= 2019) {
    LAPIDARY_TRY(const auto min, count("minContains"));
    LAPIDARY_TRY(const auto max, count("maxContains"));
    contains.min = min.value_or(1);
    contains.max = max.value_or(no_limit);
  }
  if (contains.min > contains.max) {
    language_.arrays.clear();
    return {};
  }
  if (contains.min > 0 || contains.max != no_limit) rule.contains.push_back(contains);
  return {};
}

Result<void> SchemaReader::read_arrays() {
  ArrayRule rule;
  LAPIDARY_TRY(const auto min, count("minItems"));
  LAPIDARY_TRY(const auto max, count("maxItems"));
  rule.min = min.value_or(0);
  rule.max = max.value_or(no_limit);
  const JsonValue* items = get("items");
  const JsonValue* prefix = get("prefixItems");
  const char* rest = "items";
  if (prefix == nullptr && items != nullptr && items->is(Kind::array)) {
    prefix = items;
    rest = "additionalItems";
  }
  if (prefix != nullptr) {
    if (!prefix->is(Kind::array)) return wrong("prefixItems", "a list of schemas");
    for (const JsonValue& item : prefix->items) rule.prefix.push_back(builder_.demand_of(item));
  }
  LAPIDARY_TRY(rule.rest, subschema(rest));
  rule.rest_evaluated = get(rest) != nullptr;
  if (const JsonValue* unique = get("uniqueItems"); unique != nullptr && unique->is(Kind::boolean))
    rule.unique = unique->truth;
  LAPIDARY_CHECK(read_contains(rule));
  if (language_.arrays.empty()) return {};
  Language arrays = Language::all();
  arrays.arrays = {rule};
  if (rule.min > rule.max) {
    language_.arrays.clear();
    return {};
  }
  return narrow(arrays);
}

Result<void> SchemaReader::read_part(ObjectRule& rule) {
  auto part = std::make_shared<ObjectPart>();
  if (const JsonValue* properties = get("properties"); properties != nullptr) {
    if (!properties->is(Kind::object)) return wrong("properties", "an object of schemas");
    std::map<std::string, Demand> by_name;
    for (size_t i = properties->items.size(); i-- > 0;)  // of a name that comes twice the last counts
      by_name.try_emplace(properties->names[i], builder_.demand_of(properties->items[i]));
    part->properties.assign(by_name.begin(), by_name.end());
  }
  if (const JsonValue* patterns = get("patternProperties"); patterns != nullptr) {
    if (!patterns->is(Kind::object)) return wrong("patternProperties", "an object of schemas");
    for (size_t i = 0; i < patterns->items.size(); ++i) {
      LAPIDARY_TRY(const RegexId regex,
                   parse_pattern(builder_.arena(), patterns->names[i], PatternUse::search, "patternProperties"));
      part->patterns.emplace_back(regex, builder_.demand_of(patterns->items[i]));
    }
  }
  LAPIDARY_TRY(part->additional, subschema("additionalProperties"));
  part->additional_present = get("additionalProperties") != nullptr;
  if (!part->properties.empty() || !part->patterns.empty() || part->additional != anything || part->additional_present)
    rule.parts.push_back(std::move(part));
  return {};
}

Result<void> SchemaReader::read_dependencies(ObjectRule& rule) {
  for (const char* keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    const JsonValue* map = get(keyword);
    if (map == nullptr) continue;
    if (!map->is(Kind::object)) return wrong(keyword, "an object");
    for (size_t i = 0; i < map->items.size(); ++i) {
      const JsonValue& value = map->items[i];
      if (value.is(Kind::string)) {  // draft 3
        rule.dependents.emplace_back(map->names[i], value.text);
      } else if (value.is(Kind::array)) {
        for (const JsonValue& name : value.items) {
          if (!name.is(Kind::string)) return wrong(keyword, "names");
          rule.dependents.emplace_back(map->names[i], name.text);
        }
      } else {
        conditional_.emplace_back(map->names[i], builder_.demand_of(value));
      }
    }
  }
  return {};
}

Result<void> SchemaReader::read_objects() {
  ObjectRule rule;
  LAPIDARY_TRY(const auto min, count("minProperties"));
  LAPIDARY_TRY(const auto max, count("maxProperties"));
  rule.min = min.value_or(0);
  rule.max = max.value_or(no_limit);
  if (const JsonValue* required = get("required"); required != nullptr && required->is(Kind::array)) {
    for (const JsonValue& name : required->items) {
      if (!name.is(Kind::string)) return wrong("required", "a list of names");
      rule.required.push_back(name.text);
    }
    std::ranges::sort(rule.required);
    rule.required.erase(std::unique(rule.required.begin(), rule.required.end()), rule.required.end());
  }
  LAPIDARY_CHECK(read_part(rule));
  LAPIDARY_CHECK(read_dependencies(rule));
  LAPIDARY_TRY(const Demand names, subschema("propertyNames"));
  if (names != anything) rule.names.push_back(names);
  if (rule.min > rule.max) {
    language_.objects.clear();
    return {};
  }
  Language objects = Language::all();
  objects.objects = {rule};
  return narrow(objects);
}

// Exactly one: each without the others, as far as two of them can hold at once.
Result<void> SchemaReader::read_one_of(const JsonValue& list) {
  std::vector<std::shared_ptr<const Language>> branches;
  for (const JsonValue& one : list.items) {
    LAPIDARY_TRY(auto branch, builder_.expand(builder_.demand_of(one)));
    LAPIDARY_TRY(Language narrowed, builder_.intersect(language_, *branch));
    branches.push_back(std::make_shared<const Language>(std::move(narrowed)));
  }
  Language result;
  for (size_t i = 0; i < branches.size(); ++i) {
    Language only = *branches[i];
    for (size_t j = 0; j < branches.size(); ++j) {
      if (i == j) continue;
      LAPIDARY_TRY(const Language shared, builder_.intersect(only, *branches[j]));
      if (shared.empty()) continue;
      // Only what the two share needs the costly complement.
      LAPIDARY_TRY(const auto branch, builder_.expand(builder_.demand_of(list.items[j])));
      Language rival;
      if (!shared.numbers.empty()) rival.numbers = branch->numbers;
      if (!shared.strings.empty()) rival.strings = branch->strings;
      if (!shared.arrays.empty()) rival.arrays = branch->arrays;
      if (!shared.objects.empty()) rival.objects = branch->objects;
      rival.null = shared.null, rival.yes = shared.yes, rival.no = shared.no;
      auto without = builder_.complement(rival);
      if (!without) return std::unexpected(std::move(without).error().in("oneOf"));
      LAPIDARY_TRY(only, builder_.intersect(only, *without));
    }
    join(result, only);
  }
  language_ = std::move(result);
  return builder_.check_size(language_);
}

Result<void> SchemaReader::read_condition() {
  const JsonValue* condition = get("if");
  if (document_.draft() < 7 || condition == nullptr || (get("then") == nullptr && get("else") == nullptr)) return {};
  LAPIDARY_TRY(const Demand then_demand, subschema("then"));
  LAPIDARY_TRY(const Demand else_demand, subschema("else"));
  LAPIDARY_TRY(const auto holds, builder_.expand(builder_.both(builder_.demand_of(*condition), then_demand)));
  LAPIDARY_TRY(const auto fails, builder_.expand(builder_.both(builder_.demand_of(*condition, true), else_demand)));
  Language either = *holds;
  join(either, *fails);
  return narrow(either);
}

Result<void> SchemaReader::read_combinations() {
  if (const JsonValue* list = get("allOf"); list != nullptr) {
    if (!list->is(Kind::array)) return wrong("allOf", "a list of schemas");
    for (const JsonValue& one : list->items) LAPIDARY_CHECK(narrow(builder_.demand_of(one)));
  }
  if (const JsonValue* list = get("anyOf"); list != nullptr) {
    if (!list->is(Kind::array)) return wrong("anyOf", "a list of schemas");
    Language either;
    for (const JsonValue& one : list->items) {
      LAPIDARY_TRY(const auto branch, builder_.expand(builder_.demand_of(one)));
      join(either, *branch);
    }
    LAPIDARY_CHECK(narrow(either));
  }
  if (const JsonValue* list = get("oneOf"); list != nullptr) {
    if (!list->is(Kind::array)) return wrong("oneOf", "a list of schemas");
    LAPIDARY_CHECK(read_one_of(*list));
  }
  if (const JsonValue* opposite = get("not"); opposite != nullptr && !opposite->is(Kind::null))
    LAPIDARY_CHECK(narrow(builder_.demand_of(*opposite, true)));
  LAPIDARY_CHECK(read_condition());
  for (const auto& [name, demand] : conditional_) {
    LAPIDARY_TRY(const auto meets, builder_.expand(demand));
    Language either = Language::all();
    auto part = std::make_shared<ObjectPart>();
    part->evaluates = false;
    part->properties.emplace_back(name, builder_.nothing());
    either.objects[0].parts.push_back(std::move(part));
    for (ObjectRule rule : meets->objects) {
      const auto place = std::ranges::lower_bound(rule.required, name);
      if (place == rule.required.end() || *place != name) rule.required.insert(place, name);
      either.objects.push_back(std::move(rule));
    }
    LAPIDARY_CHECK(narrow(either));
  }
  return {};
}

// What no keyword has looked at, of this schema or the ones it applies to the same value.
Result<void> SchemaReader::read_unevaluated() {
  if (get("unevaluatedProperties") != nullptr) {
    LAPIDARY_TRY(const Demand demand, subschema("unevaluatedProperties"));
    for (ObjectRule& rule : language_.objects) {
      auto part = std::make_shared<ObjectPart>();
      part->additional = demand;
      part->additional_present = true;
      bool all = false;
      for (const auto& one : rule.parts) {
        if (!one->evaluates) continue;
        all |= one->additional_present;
        for (const auto& property : one->properties) part->properties.emplace_back(property.first, anything);
        for (const auto& pattern : one->patterns) part->patterns.emplace_back(pattern.first, anything);
      }
      std::ranges::sort(part->properties);
      part->properties.erase(std::unique(part->properties.begin(), part->properties.end()), part->properties.end());
      if (!all) rule.parts.push_back(std::move(part));
    }
  }
  if (get("unevaluatedItems") != nullptr) {
    LAPIDARY_TRY(const Demand demand, subschema("unevaluatedItems"));
    for (ArrayRule& rule : language_.arrays) {
      if (!rule.contains.empty() && demand != anything)
        return unsupported("unevaluatedItems", "items that contains has looked at are not followed");
      if (rule.negated && demand != anything)
        return unsupported("unevaluatedItems", "beside a not, what has been looked at is not followed");
      if (!rule.rest_evaluated) rule.rest = builder_.both(rule.rest, demand);
      rule.rest_evaluated = true;
    }
  }
  return {};
}

Result<Language> SchemaReader::read() {
  for (const std::string_view keyword : not_enforced)
    if (get(keyword) != nullptr) return unsupported(keyword, "this keyword is not enforced");
  const JsonValue* reference = get("$ref");
  if (reference != nullptr && reference->is(Kind::string)) {
    LAPIDARY_TRY(const JsonValue* target, document_.resolve(schema_, reference->text));
    if (!target->is(Kind::object) && !target->is(Kind::boolean)) return wrong("$ref", "a reference to a schema");
    const Demand demand = builder_.demand_of(*target);
    if (document_.draft() < 2019) {
      LAPIDARY_TRY(const auto language, builder_.expand(demand));
      return *language;
    }
    LAPIDARY_CHECK(narrow(demand));
  }
  LAPIDARY_CHECK(read_types());
  if (const JsonValue* list = get("enum"); list != nullptr) {
    if (!list->is(Kind::array)) return wrong("enum", "a list of values");
    std::vector<const JsonValue*> values;
    size_t structured = 0;
    for (const JsonValue& value : list->items) {
      values.push_back(&value);
      structured += value.is(Kind::object) || value.is(Kind::array) ? 1 : 0;
    }
    if (structured > builder_.list_max())
      return fail(ErrorKind::limit, "enum", fmt::format("more than {} lists and objects", builder_.list_max()));
    LAPIDARY_CHECK(narrow(builder_.values(values)));
  }
  if (const JsonValue* value = get("const"); value != nullptr && document_.draft() != 4)
    LAPIDARY_CHECK(narrow(builder_.values({value})));
  if (!language_.numbers.empty()) LAPIDARY_CHECK(read_numbers());
  if (!language_.strings.empty()) LAPIDARY_CHECK(read_strings());
  if (!language_.arrays.empty()) LAPIDARY_CHECK(read_arrays());
  if (!language_.objects.empty()) LAPIDARY_CHECK(read_objects());
  LAPIDARY_CHECK(read_combinations());
  LAPIDARY_CHECK(read_unevaluated());
  return std::move(language_);
}

}  // namespace

Result<Language> read_schema(LanguageBuilder& builder, const SchemaDocument& document, const JsonValue& schema) {
  if (schema.is(Kind::boolean)) return schema.truth ? Language::all() : Language();
  if (!schema.is(Kind::object)) return malformed("schema", "an object or a boolean", write_json(schema).substr(0, 60));
  return SchemaReader(builder, document, schema).read();
}

}  // namespace lapidary::grammar
