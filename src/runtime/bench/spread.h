// What repeated measurements come to.
#pragma once

#include <algorithm>
#include <vector>

namespace lapidary {

struct Spread {
  double median = 0, min = 0, max = 0;
};

// Of at least one value; zeros of none. The median of an even number of values is the mean of the middle two.
inline Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

}  // namespace lapidary
