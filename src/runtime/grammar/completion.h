// Whether what has begun can be completed, where that is more than a comparison: objects some of whose names must have
// values of a kind, arrays whose items are counted. Exact, so that a state with a way on always has a way to an end.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "grammar/program.h"

namespace lapidary::grammar {

// The fewest further names, besides the required ones that are missing, with which every bit of `object.some` is
// claimed; no_limit: it cannot be. `gone(name)`: it is there already, or cannot come. `left(i)`: how many names that
// are not in the list have the outputs object.claiming[i]. `living(choice)`: it has a value.
template <typename Gone, typename Left, typename Living>
uint64_t names_to_claim(const ObjectProgram& object, uint32_t claims, const Gone& gone, const Left& left,
                        const Living& living) {
  constexpr size_t sets = size_t{1} << counted_max;
  std::array<uint64_t, sets> fewest;  // by what is claimed
  fewest.fill(no_limit);
  fewest[claims & object.some] = 0;
  const auto add = [&](const Choices& choices, bool required) {
    if (std::ranges::all_of(choices, [&](const Choice& choice) { return (choice.claims & object.some) == 0; })) return;
    std::array<uint64_t, sets> next = fewest;
    if (required) next.fill(no_limit);
    for (uint32_t before = 0; before < sets; ++before) {
      if (fewest[before] == no_limit) continue;
      for (const Choice& choice : choices) {
        if (!living(choice)) continue;
        uint64_t& best = next[before | (choice.claims & object.some)];
        best = std::min(best, fewest[before] + (required ? 0 : 1));
      }
    }
    fewest = next;
  };
  for (const NameProgram& name : object.names)
    if (!name.choices.empty() && !gone(name)) add(name.choices, name.required);
  if (object.others)
    for (size_t i = 0; i < object.claiming.size(); ++i)
      for (uint64_t names = std::min<uint64_t>(left(i), counted_max); names > 0; --names)
        add(object.other_choices[object.claiming[i]], false);
  return fewest[object.some];
}

// Fills array.plan (see there) from the choices for which `living` holds. At most `cells_max` cells; false: more.
bool plan_items(ArrayProgram& array, uint64_t cells_max, const std::vector<bool>& living);

// Whether an array that has `length` items, which count `counts` for its `contains`, a byte each, can come to an end.
bool may_complete(const ArrayProgram& array, uint64_t length, uint32_t counts);

// Whether, from every living state, texts of each length between the shortest and the longest, or `longest`, are
// accepted. False too where it takes more than `steps_max` to say; `steps` grows by what it took.
bool lengths_have_no_gap(const Dfa& dfa, uint64_t longest, uint64_t steps_max, uint64_t& steps);

}  // namespace lapidary::grammar
