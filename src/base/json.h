// JSON, read with limits. The parser is nlohmann's; this adds what untrusted input needs: a depth limit, a limit on
// members, and errors with the byte where it went wrong. Never throws.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lapidary {

using Json = nlohmann::json;                 // keys in byte order, logarithmic look-up
using OrderedJson = nlohmann::ordered_json;  // keys as written, linear look-up: for what people write (chats, tools)

struct JsonLimits {
  uint32_t depth_max = 256;
  uint64_t values_max = 4'000'000;  // values in the whole document
  uint64_t members_max = 4'000;     // members of one object; applies to OrderedJson, whose insertion is linear
};

// Strict JSON in UTF-8. `where` names the source in errors ("config.json").
Result<Json> parse_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});
Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});

// The value of an optional member. Absent and null give `fallback`; another type or a number out of range is an error.
Result<int64_t> json_integer(const Json& object, const char* key, int64_t fallback, int64_t min, int64_t max,
                             std::string_view where);
Result<double> json_number(const Json& object, const char* key, double fallback, std::string_view where);
Result<bool> json_bool(const Json& object, const char* key, bool fallback, std::string_view where);
Result<std::string> json_string(const Json& object, const char* key, std::string_view fallback, std::string_view where);

// Compact text; bytes that are not UTF-8 become U+FFFD instead of an exception.
std::string dump(const Json& value);
std::string dump(const OrderedJson& value);

}  // namespace lapidary
