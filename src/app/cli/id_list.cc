#include "cli/id_list.h"

#include <fmt/format.h>

#include "base/json.h"

namespace lapidary {

std::string format_ids(std::span<const int32_t> ids) { return fmt::format("[{}]", fmt::join(ids, ", ")); }

Result<std::vector<int32_t>> parse_ids(std::string_view json, const std::string& where, int32_t vocabulary) {
  JsonLimits limits;
  limits.values_max = json.size() + 1;  // as many as the text can hold
  LAPIDARY_TRY(const Json list, parse_json(json, where, limits));
  if (!list.is_array()) return malformed(where, "a list of ids", dump(list).substr(0, 60));
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& value : list) {
    if (!value.is_number_integer() || value < 0 || value >= vocabulary)
      return malformed(fmt::format("{}: [{}]", where, ids.size()), fmt::format("an id from 0 to {}", vocabulary - 1),
                       dump(value).substr(0, 60));
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

}  // namespace lapidary
