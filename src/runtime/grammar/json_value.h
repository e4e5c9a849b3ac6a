// JSON as a schema's compiler needs it: numbers as they are spelled, members in order, and limits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace lapidary::grammar {

struct JsonValue {
  enum class Kind : uint8_t { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  bool truth = false;
  std::string text;              // a string's characters, a number's spelling
  std::vector<JsonValue> items;  // of an array; of an object, one a name
  std::vector<std::string> names;

  bool is(Kind wanted) const { return kind == wanted; }
  // A member of an object, or nullptr: no object, no such member. The last of several with one name counts.
  const JsonValue* find(std::string_view name) const;
};

inline constexpr uint32_t json_depth_max = 200;

// Strict JSON. Errors name `where` and the byte.
Result<JsonValue> parse_json_value(std::string_view text, const std::string& where, uint64_t values_max = 2'000'000);

// As JSON, compact; members and spellings as they are.
std::string write_json(const JsonValue& value);

// The same as JSON Schema means it: numbers by value, members in any order.
bool same_value(const JsonValue& a, const JsonValue& b);

}  // namespace lapidary::grammar
