// Reading a request's JSON: each member with its type and range, and errors that name it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace lapidary {

// A view of an object; absent members and null are the same.
class Fields {
 public:
  // `where`: "" for the request itself, else the path to this object ("messages[2]").
  Fields(const OrderedJson& object, std::string where) : object_(&object), where_(std::move(where)) {}

  // An object, or an error.
  static Result<Fields> of(const OrderedJson& value, const std::string& where);

  const OrderedJson* find(const char* key) const;
  bool has(const char* key) const { return find(key) != nullptr; }
  std::string place(const char* key) const { return where_.empty() ? key : where_ + "." + key; }
  const std::string& where() const { return where_; }

  // A whole number, also written as 4.0.
  Result<std::optional<int64_t>> integer(const char* key, int64_t min, int64_t max) const;
  Result<std::optional<double>> number(const char* key, double min, double max) const;
  Result<std::optional<bool>> boolean(const char* key) const;
  Result<std::optional<std::string>> text(const char* key) const;
  Result<std::string> required_text(const char* key) const;
  Result<const OrderedJson*> list(const char* key) const;    // null if absent
  Result<const OrderedJson*> object(const char* key) const;  // null if absent
  // One text, or a list of texts.
  Result<std::vector<std::string>> texts(const char* key, size_t count_max) const;

 private:
  const OrderedJson* object_;
  std::string where_;
};

// Enough of a value for an error message.
std::string shown(const OrderedJson& value);

// A body that has to be a JSON object.
Result<OrderedJson> parse_body(const std::string& body);

// "abc" with its quotes and escapes.
std::string json_text(const std::string& text);

// A JSON schema as the description of a tool's parameters: refuses what is none ("type": 5, "pattern": {}), so that
// nothing behind meets it. It is only shown to the model, never run.
Result<void> check_schema(const OrderedJson& schema, const std::string& where);

// A function as all dialects describe them, in the form of chat/conversation.h.
Result<OrderedJson> make_tool(const std::string& name, const std::string& description, const OrderedJson* parameters,
                              const std::string& where);

}  // namespace lapidary
