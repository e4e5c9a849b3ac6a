// A schema document: its subschemas, where they are, and what their references mean. Draft 2020-12 and 7, and what is
// common in 4 and 6.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "grammar/json_value.h"

namespace lapidary::grammar {

class SchemaDocument {
 public:
  // `root` has to outlive this.
  static Result<SchemaDocument> create(const JsonValue& root);

  const JsonValue& root() const { return *root_; }
  int draft() const { return draft_; }  // 4, 6, 7, 2019, 2020
  // What `reference`, written in `from`, leads to.
  Result<const JsonValue*> resolve(const JsonValue& from, std::string_view reference) const;

 private:
  void visit(const JsonValue& schema, const std::string& base, uint32_t depth);
  void visit_keyword(const std::string& keyword, const JsonValue& value, const std::string& base, uint32_t depth);

  const JsonValue* root_ = nullptr;
  int draft_ = 2020;
  std::unordered_map<const JsonValue*, std::string> bases_;  // of subschemas whose base is not ""
  std::unordered_map<std::string, const JsonValue*> named_;  // by URI, fragment included
};

}  // namespace lapidary::grammar
