#include "grammar/schema_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace lapidary::grammar {
namespace {

constexpr std::array<std::string_view, 12> one_schema = {
    "items",         "additionalItems",  "additionalProperties",  "not",          "if", "then", "else", "contains",
    "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"};
constexpr std::array<std::string_view, 5> schema_lists = {"allOf", "anyOf", "oneOf", "prefixItems", "items"};
constexpr std::array<std::string_view, 6> schema_maps = {"properties",  "patternProperties", "$defs",
                                                         "definitions", "dependentSchemas",  "dependencies"};

template <size_t n>
bool among(const std::array<std::string_view, n>& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

// Resolves a reference without its fragment (RFC 3986, 5.2, without dot segments beyond "./").
std::string join(const std::string& base, std::string_view reference) {
  if (reference.empty()) return base;
  const size_t scheme = reference.find(':');
  if (scheme != std::string_view::npos && reference.find('/') > scheme) return std::string(reference);
  if (reference.starts_with("./")) reference.remove_prefix(2);
  if (reference.starts_with('/')) {
    const size_t authority = base.find("://");
    const size_t path = authority == std::string::npos ? 0 : base.find('/', authority + 3);
    return base.substr(0, path) + std::string(reference);
  }
  const size_t slash = base.rfind('/');
  return base.substr(0, slash == std::string::npos ? 0 : slash + 1) + std::string(reference);
}

std::string decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t value = 0;
    if (text[i] == '%' && i + 2 < text.size() + 0 &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      result += static_cast<char>(value);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

// RFC 6901.
const JsonValue* follow_pointer(const JsonValue* value, std::string_view pointer) {
  while (!pointer.empty() && value != nullptr) {
    pointer.remove_prefix(1);
    const size_t end = std::min(pointer.find('/'), pointer.size());
    std::string step(pointer.substr(0, end));
    pointer.remove_prefix(end);
    for (size_t at = 0; (at = step.find("~1", at)) != std::string::npos; ++at) step.replace(at, 2, "/");
    for (size_t at = 0; (at = step.find("~0", at)) != std::string::npos; ++at) step.replace(at, 2, "~");
    if (value->is(JsonValue::Kind::array)) {
      size_t index = value->items.size();
      std::from_chars(step.data(), step.data() + step.size(), index);
      value = index < value->items.size() ? &value->items[index] : nullptr;
    } else {
      value = value->find(step);
    }
  }
  return value;
}

int draft_of(const JsonValue& root) {
  const JsonValue* named = root.find("$schema");
  if (named == nullptr || !named->is(JsonValue::Kind::string)) return 2020;
  const auto has = [&](std::string_view part) { return named->text.find(part) != std::string::npos; };
  if (has("draft-03") || has("draft-04")) return 4;
  if (has("draft-06")) return 6;
  if (has("draft-07")) return 7;
  return has("2019-09") ? 2019 : 2020;
}

}  // namespace

Result<SchemaDocument> SchemaDocument::create(const JsonValue& root) {
  SchemaDocument document;
  document.root_ = &root;
  document.draft_ = draft_of(root);
  document.visit(root, "", 0);
  document.named_[""] = &root;
  return document;
}

void SchemaDocument::visit(const JsonValue& schema, const std::string& base, uint32_t depth) {
  if (!schema.is(JsonValue::Kind::object) || depth > json_depth_max) return;
  std::string own = base;
  const JsonValue* id = schema.find(draft_ == 4 ? "id" : "$id");
  // Before 2019-09 a schema that is a reference is nothing else.
  if (draft_ < 2019 && schema.find("$ref") != nullptr) id = nullptr;
  if (id != nullptr && id->is(JsonValue::Kind::string)) {
    const size_t hash = id->text.find('#');
    const std::string without = id->text.substr(0, hash);
    if (!without.empty()) {
      own = join(base, without);
      named_.try_emplace(own, &schema);
    }
    if (hash != std::string::npos && hash + 1 < id->text.size())
      named_.try_emplace(own + "#" + id->text.substr(hash + 1), &schema);
  }
  for (const char* anchor : {"$anchor", "$dynamicAnchor"})
    if (const JsonValue* name = schema.find(anchor); name != nullptr && name->is(JsonValue::Kind::string))
      named_.try_emplace(own + "#" + name->text, &schema);
  if (!own.empty()) bases_[&schema] = own;
  for (size_t i = 0; i < schema.items.size(); ++i) visit_keyword(schema.names[i], schema.items[i], own, depth);
}

void SchemaDocument::visit_keyword(const std::string& keyword, const JsonValue& value, const std::string& base,
                                   uint32_t depth) {
  const bool list = value.is(JsonValue::Kind::array), object = value.is(JsonValue::Kind::object);
  if ((list && among(schema_lists, keyword)) || (object && among(schema_maps, keyword))) {
    for (const JsonValue& item : value.items) visit(item, base, depth + 1);
  } else if (object && among(one_schema, keyword)) {
    visit(value, base, depth + 1);
  }
}

Result<const JsonValue*> SchemaDocument::resolve(const JsonValue& from, std::string_view reference) const {
  const auto known = bases_.find(&from);
  const std::string base = known == bases_.end() ? "" : known->second;
  const size_t hash = std::min(reference.find('#'), reference.size());
  const std::string uri = join(base, reference.substr(0, hash));
  const std::string fragment = hash < reference.size() ? decoded(reference.substr(hash + 1)) : "";
  const JsonValue* found = nullptr;
  if (!fragment.empty() && fragment[0] != '/') {
    const auto place = named_.find(uri + "#" + fragment);
    if (place != named_.end()) found = place->second;
  } else if (const auto place = named_.find(uri); place != named_.end()) {
    found = follow_pointer(place->second, fragment);
  }
  if (found != nullptr) return found;
  return fail(
      ErrorKind::unsupported, "$ref",
      fmt::format("\"{}\" leads to nothing in this document (no other document is read)", reference.substr(0, 200)));
}

}  // namespace lapidary::grammar
