// What a schema allows, as a set of values: for each type of JSON a list of rules, any of which a value may satisfy.
// Such sets are closed under union, intersection and complement, which is what allOf, anyOf, oneOf, not and if ask for.
//
// The values inside an object or array are not sets again but references to schemas (all of which must hold), so that
// recursive schemas have finite sets of rules.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grammar/decimal.h"
#include "grammar/regex.h"

namespace lapidary::grammar {

// An interned, sorted list of references `schema << 1 | negated`: a value must satisfy each. 0: anything.
using Demand = uint32_t;
inline constexpr Demand anything = 0;

inline constexpr uint64_t no_limit = std::numeric_limits<uint64_t>::max();

struct StringRule {
  std::optional<RegexId> regex;  // a language of whole strings
  uint64_t min = 0, max = no_limit;
  std::optional<std::vector<std::string>> values;  // one of these, sorted; the rest of the rule is empty then
};

struct Contains {
  Demand what = anything;
  uint64_t min = 1, max = no_limit;
  uint64_t from = 0;  // items before this index do not count
};

struct ArrayRule {
  std::vector<Demand> prefix;
  Demand rest = anything;
  uint64_t min = 0, max = no_limit;
  std::vector<Contains> contains;
  bool unique = false;
  bool negated = false;         // from a `not`, whose schemas evaluate nothing
  bool rest_evaluated = false;  // some keyword has looked at the items behind the prefix (unevaluatedItems)
};

// What one schema says about names: a name's demand is that of its property and of each pattern that it matches, or, if
// there is none of these, `additional`.
struct ObjectPart {
  std::vector<std::pair<std::string, Demand>> properties;  // sorted
  std::vector<std::pair<RegexId, Demand>> patterns;
  Demand additional = anything;
  bool evaluates = true;            // counts for unevaluatedProperties
  bool additional_present = false;  // …, for every name
};

struct SomeProperty {  // a property whose name is one of these has such a value
  RegexId names = 0;
  Demand value = anything;
};

struct ObjectRule {
  std::vector<std::shared_ptr<const ObjectPart>> parts;
  std::vector<std::string> required;  // sorted
  uint64_t min = 0, max = no_limit;
  std::vector<std::pair<std::string, std::string>> dependents;  // if the first is there, so is the second
  std::vector<Demand> names;                                    // every name, as a string
  std::vector<SomeProperty> some;
};

struct Language {
  bool null = false, yes = false, no = false;
  std::vector<NumberRule> numbers;
  std::vector<StringRule> strings;
  std::vector<ArrayRule> arrays;
  std::vector<ObjectRule> objects;

  bool empty() const {
    return !null && !yes && !no && numbers.empty() && strings.empty() && arrays.empty() && objects.empty();
  }
  static Language all();
};

}  // namespace lapidary::grammar
