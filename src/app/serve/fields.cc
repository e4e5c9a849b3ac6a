#include "serve/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary {
namespace {

constexpr size_t tool_name_max = 128;

// Members of a schema whose values are schemas, lists of schemas, or schemas by name.
constexpr const char* inner_schemas[] = {
    "items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"};
constexpr const char* schema_lists[] = {"anyOf", "oneOf", "allOf", "prefixItems"};
constexpr const char* schema_maps[] = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"};

struct Pending {
  const OrderedJson* schema;
  std::string where;
};

Result<void> check_members(const OrderedJson& schema, const std::string& where) {
  const auto of_type = [&](const char* key, bool (*good)(const OrderedJson&), const char* expected) -> Result<void> {
    const auto found = schema.find(key);
    if (found == schema.end() || good(*found)) return {};
    return malformed(fmt::format("{}.{}", where, key), expected, shown(*found));
  };
  const auto texts = [](const OrderedJson& value) {
    return value.is_array() && std::ranges::all_of(value, [](const OrderedJson& item) { return item.is_string(); });
  };
  LAPIDARY_CHECK(of_type(
      "type",
      [](const OrderedJson& value) {
        return value.is_string() || (value.is_array() && std::ranges::all_of(value, [](const OrderedJson& item) {
                                       return item.is_string();
                                     }));
      },
      "a type's name, or a list of them"));
  for (const char* key : {"pattern", "format", "description", "title", "$ref"})
    LAPIDARY_CHECK(of_type(key, [](const OrderedJson& value) { return value.is_string(); }, "a text"));
  LAPIDARY_CHECK(of_type("enum", [](const OrderedJson& value) { return value.is_array(); }, "a list"));
  for (const char* key :
       {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum"})
    LAPIDARY_CHECK(of_type(key, [](const OrderedJson& value) { return value.is_number(); }, "a number"));
  return of_type("required", texts, "a list of names");
}

}  // namespace

std::string shown(const OrderedJson& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = dump(value);
  if (text.size() > 60) {
    text.resize(57);
    text += "…";
  }
  return text;
}

std::string json_text(const std::string& text) { return dump(Json(text)); }

Result<OrderedJson> parse_body(const std::string& body) {
  JsonLimits limits;
  limits.depth_max = 128;
  limits.values_max = 1'000'000;
  LAPIDARY_TRY(OrderedJson root, parse_ordered_json(body, "body", limits));
  if (!root.is_object()) return malformed("body", "a JSON object", shown(root));
  return root;
}

Result<Fields> Fields::of(const OrderedJson& value, const std::string& where) {
  if (!value.is_object()) return malformed(where, "an object", shown(value));
  return Fields(value, where);
}

const OrderedJson* Fields::find(const char* key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

Result<std::optional<int64_t>> Fields::integer(const char* key, int64_t min, int64_t max) const {
  const OrderedJson* value = find(key);
  if (value == nullptr) return std::optional<int64_t>();
  std::optional<int64_t> whole;
  if (value->is_number_unsigned()) {
    if (value->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      whole = value->get<int64_t>();
  } else if (value->is_number_integer()) {
    whole = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double number = value->get<double>();
    if (std::abs(number) < 9e15 && number == std::trunc(number)) whole = static_cast<int64_t>(number);
  }
  if (!whole || *whole < min || *whole > max)
    return malformed(place(key), fmt::format("a whole number from {} to {}", min, max), shown(*value));
  return whole;
}

Result<std::optional<double>> Fields::number(const char* key, double min, double max) const {
  const OrderedJson* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (number >= min && number <= max) return number;  // also refuses NaN
  }
  return malformed(place(key), fmt::format("a number from {} to {}", min, max), shown(*value));
}

Result<std::optional<bool>> Fields::boolean(const char* key) const {
  const OrderedJson* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return malformed(place(key), "true or false", shown(*value));
  return value->get<bool>();
}

Result<std::optional<std::string>> Fields::text(const char* key) const {
  const OrderedJson* value = find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return malformed(place(key), "a text", shown(*value));
  return value->get<std::string>();
}

Result<std::string> Fields::required_text(const char* key) const {
  LAPIDARY_TRY(std::optional<std::string> value, text(key));
  if (!value) return malformed(place(key), "a text", "nothing");
  return std::move(*value);
}

Result<const OrderedJson*> Fields::list(const char* key) const {
  const OrderedJson* value = find(key);
  if (value != nullptr && !value->is_array()) return malformed(place(key), "a list", shown(*value));
  return value;
}

Result<const OrderedJson*> Fields::object(const char* key) const {
  const OrderedJson* value = find(key);
  if (value != nullptr && !value->is_object()) return malformed(place(key), "an object", shown(*value));
  return value;
}

Result<std::vector<std::string>> Fields::texts(const char* key, size_t count_max) const {
  std::vector<std::string> result;
  const OrderedJson* value = find(key);
  if (value == nullptr) return result;
  if (value->is_string()) {
    result.push_back(value->get<std::string>());
  } else if (value->is_array()) {
    for (const OrderedJson& item : *value) {
      if (!item.is_string()) return malformed(place(key), "texts", shown(item));
      result.push_back(item.get<std::string>());
    }
  } else {
    return malformed(place(key), "a text or a list of texts", shown(*value));
  }
  if (result.size() > count_max)
    return malformed(place(key), fmt::format("at most {}", count_max), std::to_string(result.size()));
  return result;
}

Result<void> check_schema(const OrderedJson& schema, const std::string& where) {
  std::vector<Pending> pending = {{&schema, where}};
  while (!pending.empty()) {
    const Pending next = std::move(pending.back());
    pending.pop_back();
    if (next.schema->is_boolean()) continue;
    if (!next.schema->is_object()) return malformed(next.where, "a schema (an object)", shown(*next.schema));
    LAPIDARY_CHECK(check_members(*next.schema, next.where));
    for (const char* key : inner_schemas)
      if (const auto found = next.schema->find(key); found != next.schema->end() && !found->is_array())
        pending.push_back({&*found, fmt::format("{}.{}", next.where, key)});
    for (const char* key : schema_lists) {
      const auto found = next.schema->find(key);
      if (found == next.schema->end()) continue;
      if (!found->is_array())
        return malformed(fmt::format("{}.{}", next.where, key), "a list of schemas", shown(*found));
      for (const OrderedJson& inner : *found) pending.push_back({&inner, fmt::format("{}.{}", next.where, key)});
    }
    for (const char* key : schema_maps) {
      const auto found = next.schema->find(key);
      if (found == next.schema->end()) continue;
      if (!found->is_object())
        return malformed(fmt::format("{}.{}", next.where, key), "schemas by name", shown(*found));
      for (const auto& [name, inner] : found->items())
        pending.push_back({&inner, fmt::format("{}.{}.{}", next.where, key, name.substr(0, 40))});
    }
  }
  return {};
}

Result<OrderedJson> make_tool(const std::string& name, const std::string& description, const OrderedJson* parameters,
                              const std::string& where) {
  const bool good = !name.empty() && name.size() <= tool_name_max && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ':';
  });
  if (!good)
    return malformed(where + ".name", "1 to 128 letters, digits, _ - . :", fmt::format("\"{}\"", name.substr(0, 60)));
  OrderedJson function = {{"name", name}};
  if (!description.empty()) function["description"] = description;
  if (parameters != nullptr) {
    if (!parameters->is_object())
      return malformed(where + ".parameters", "an object (a JSON schema)", shown(*parameters));
    LAPIDARY_CHECK(check_schema(*parameters, where + ".parameters"));
    function["parameters"] = *parameters;
  }
  return OrderedJson{{"type", "function"}, {"function", std::move(function)}};
}

}  // namespace lapidary
