#include "chat/reply_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

namespace lapidary {
namespace {

const OrderedJson* function_of(const OrderedJson& tool) {
  const auto inner = tool.find("function");
  const OrderedJson& function = inner == tool.end() ? tool : *inner;
  const bool named = function.is_object() && function.contains("name") && function["name"].is_string();
  return named ? &function : nullptr;
}

bool names(const std::vector<std::string>& list, const std::string& name) {
  return std::ranges::find(list, name) != list.end();
}

// Keywords under which fewer values here would mean more, or none, of the whole.
constexpr std::array<std::string_view, 10> entangling = {
    "allOf",    "oneOf",       "not",           "if",     "dependentSchemas", "dependencies",
    "contains", "$dynamicRef", "$recursiveRef", "extends"};
// Keywords that say something of properties beside those that are listed.
constexpr std::array<std::string_view, 7> opening = {"additionalProperties",
                                                     "patternProperties",
                                                     "unevaluatedProperties",
                                                     "propertyNames",
                                                     "minProperties",
                                                     "anyOf",
                                                     "$ref"};

bool has_any(const OrderedJson& object, std::span<const std::string_view> keys) {
  return std::ranges::any_of(keys, [&](std::string_view key) { return object.contains(key); });
}

bool is_entangled(const OrderedJson& schema) {
  if (schema.is_object() && has_any(schema, entangling)) return true;
  return schema.is_structured() && std::ranges::any_of(schema, is_entangled);
}

void close_object(OrderedJson& schema) {
  const auto properties = schema.find("properties");
  if (properties == schema.end() || !properties->is_object() || properties->empty() || has_any(schema, opening)) return;
  if (const auto required = schema.find("required"); required != schema.end() && required->is_array())
    for (const OrderedJson& name : *required)
      if (!name.is_string() || !properties->contains(name.get_ref<const std::string&>())) return;
  schema["additionalProperties"] = false;
}

// No deeper than JSON may be that was read.
void close_schema(OrderedJson& schema, bool definitions) {
  if (!schema.is_object() || has_any(schema, entangling)) return;
  for (const auto& [key, value] : schema.items()) {
    if (key == "items" || key == "additionalProperties") close_schema(value, definitions);
    const bool defines = definitions && (key == "$defs" || key == "definitions");
    if ((key == "properties" && value.is_object()) || (defines && value.is_object()) ||
        ((key == "anyOf" || key == "prefixItems" || key == "items") && value.is_array()))
      for (OrderedJson& inner : value) close_schema(inner, definitions);
  }
  close_object(schema);
}

// Those that may be called.
Result<std::vector<ToolDeclaration>> declarations(const ReplyForm& form, const std::vector<OrderedJson>& tools) {
  std::vector<ToolDeclaration> declared;
  for (const OrderedJson& tool : tools) {
    const OrderedJson* function = function_of(tool);
    if (function == nullptr) continue;
    const std::string name = (*function)["name"].get<std::string>();
    if (!form.callable.empty() && !names(form.callable, name)) continue;
    const auto parameters = function->find("parameters");
    // A function without parameters takes none.
    const bool none = parameters == function->end() || parameters->is_null();
    declared.push_back(
        {name, none ? R"({"type": "object", "additionalProperties": false})" : dump(closed_schema(*parameters))});
  }
  for (const std::string& name : form.callable)
    if (std::ranges::none_of(declared, [&](const ToolDeclaration& tool) { return tool.name == name; }))
      return fail(ErrorKind::wrong_use, "tools", fmt::format("no tool \"{}\" is declared", name.substr(0, 60)));
  return declared;
}

Result<std::shared_ptr<const Grammar>> compile_text(const ReplyForm& form) {
  switch (form.kind) {
    case ReplyForm::Kind::any:
      break;
    case ReplyForm::Kind::schema:
      return Grammar::from_schema(form.text, form.where);
    case ReplyForm::Kind::regex:
      return Grammar::from_regex(form.text, form.where);
    case ReplyForm::Kind::gbnf:
      return Grammar::from_gbnf(form.text, form.where);
  }
  return std::shared_ptr<const Grammar>();
}

Result<ReplyGrammar> compile_calls(const ReplyForm& form, std::vector<ToolDeclaration> tools) {
  ReplyGrammar result;
  ToolOptions options;
  options.choice = form.tool_choice;
  options.parallel = form.parallel_calls;
  LAPIDARY_TRY(options.answer, compile_text(form));
  for (ToolDeclaration& tool : tools)
    tool.strict = form.tool_choice != ToolChoice::automatic || form.strict_calls || names(form.strict, tool.name);
  LAPIDARY_TRY(result.grammar, Grammar::from_tools(tools, options, &result.warnings));
  return result;
}

Result<ReplyGrammar> compile(const ReplyForm& form, const std::vector<OrderedJson>& tools) {
  LAPIDARY_TRY(std::vector<ToolDeclaration> declared, declarations(form, tools));
  if (!declared.empty() || form.tool_choice == ToolChoice::required) return compile_calls(form, std::move(declared));
  LAPIDARY_TRY(auto grammar, compile_text(form));
  return ReplyGrammar{std::move(grammar), {}};
}

void add_part(std::string& key, std::string_view part) {
  fmt::format_to(std::back_inserter(key), "{}:{}", part.size(), part);
}

}  // namespace

OrderedJson closed_schema(const OrderedJson& schema) {
  OrderedJson closed = schema;
  close_schema(closed, !is_entangled(schema));
  return closed;
}

Result<ReplyGrammar> compile_form(const ReplyForm& form, const std::vector<OrderedJson>& tools) {
  auto compiled = compile(form, tools);
  if (!compiled && compiled.error().kind == ErrorKind::limit) {
    // What is beyond the budgets cannot be enforced; the caller's own limits are others.
    Error error = std::move(compiled).error();
    error.kind = ErrorKind::unsupported;
    return std::unexpected(std::move(error));
  }
  return compiled;
}

std::string form_key(const ReplyForm& form, const std::vector<OrderedJson>& tools) {
  std::string key = fmt::format("{} {} {} {} {} {} ", static_cast<int>(form.kind), static_cast<int>(form.tool_choice),
                                form.parallel_calls, form.strict_calls, form.callable.size(), form.strict.size());
  add_part(key, form.text);
  for (const std::string& name : form.callable) add_part(key, name);
  for (const std::string& name : form.strict) add_part(key, name);
  for (const OrderedJson& tool : tools)
    if (const OrderedJson* function = function_of(tool)) {
      add_part(key, (*function)["name"].get_ref<const std::string&>());
      const auto parameters = function->find("parameters");
      add_part(key, parameters == function->end() ? "null" : dump(*parameters));
    }
  return key;
}

}  // namespace lapidary
