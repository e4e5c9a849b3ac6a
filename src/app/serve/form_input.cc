#include "serve/form_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string_view>
#include <utility>

namespace lapidary {
namespace {

constexpr size_t names_max = 2'000;

std::unexpected<ApiError> wrong(const std::string& where, std::string_view expected, const std::string& found) {
  ApiError error(400, fmt::format("{}: expected {}, found {}", where, expected, found));
  error.where = where;
  return std::unexpected(std::move(error));
}

ApiResult<void> check_declared(const std::vector<std::string>& names, const std::string& where,
                               const Conversation& conversation) {
  for (const std::string& name : names)
    if (std::ranges::none_of(conversation.tools,
                             [&](const OrderedJson& tool) { return tool["function"]["name"] == name; }))
      return wrong(where, "the name of one of the tools", fmt::format("\"{}\"", name.substr(0, 60)));
  return {};
}

// {"type": "function", "function": {"name": …}} (chat) or {"type": "function", "name": …} (Responses)
ApiResult<std::string> function_name(const Fields& choice) {
  LAPIDARY_TRY(const std::string type, choice.required_text("type"));
  if (type != "function") return wrong(choice.place("type"), "function", fmt::format("\"{}\"", type.substr(0, 60)));
  LAPIDARY_TRY(const OrderedJson* inner, choice.object("function"));
  LAPIDARY_TRY(const std::string name, inner != nullptr ? Fields(*inner, choice.place("function")).required_text("name")
                                                        : choice.required_text("name"));
  return name;
}

ApiResult<void> read_allowed_tools(const Fields& choice, const Conversation& conversation, ReplyForm& form) {
  LAPIDARY_TRY(const OrderedJson* inner, choice.object("allowed_tools"));
  const Fields allowed = inner != nullptr ? Fields(*inner, choice.place("allowed_tools")) : choice;
  LAPIDARY_TRY(const std::string mode, allowed.required_text("mode"));
  LAPIDARY_TRY(const OrderedJson* tools, allowed.list("tools"));
  if (tools == nullptr || tools->empty() || tools->size() > names_max)
    return wrong(allowed.place("tools"), "a list of tools", tools == nullptr ? "nothing" : "none, or too many");
  std::vector<std::string> names;
  for (size_t i = 0; i < tools->size(); ++i) {
    LAPIDARY_TRY(const Fields one, Fields::of((*tools)[i], fmt::format("{}[{}]", allowed.place("tools"), i)));
    LAPIDARY_TRY(std::string name, function_name(one));
    names.push_back(std::move(name));
  }
  if (mode == "required") return require_calls(std::move(names), allowed.place("tools"), conversation, form);
  if (mode == "auto") return allow_calls(std::move(names), allowed.place("tools"), conversation, form);
  return wrong(allowed.place("mode"), "auto or required", fmt::format("\"{}\"", mode.substr(0, 60)));
}

}  // namespace

ApiResult<void> set_schema(const OrderedJson& schema, const std::string& where, ReplyForm& form) {
  if (!schema.is_object()) return wrong(where, "a JSON schema (an object)", shown(schema));
  form.kind = ReplyForm::Kind::schema;
  form.text = dump(closed_schema(schema));
  form.where = where;
  return {};
}

void set_json_value(const std::string& where, ReplyForm& form) {
  form.kind = ReplyForm::Kind::schema;
  form.text = "{}";
  form.where = where;
}

void set_json_object(const std::string& where, ReplyForm& form) {
  set_json_value(where, form);
  form.text = R"({"type": "object"})";
}

ApiResult<void> read_openai_format(const OrderedJson* format, const std::string& where, ReplyForm& form) {
  if (format == nullptr) return {};
  LAPIDARY_TRY(const Fields fields, Fields::of(*format, where));
  LAPIDARY_TRY(const std::string type, fields.required_text("type"));
  if (type == "text") return {};
  if (type == "json_object") {
    // llama-server's and others' addition: a schema here too.
    if (const OrderedJson* schema = fields.find("schema")) return set_schema(*schema, fields.place("schema"), form);
    set_json_object(where, form);
    return {};
  }
  if (type != "json_schema")
    return wrong(fields.place("type"), "text, json_object or json_schema", fmt::format("\"{}\"", type.substr(0, 60)));
  LAPIDARY_TRY(const OrderedJson* inner, fields.object("json_schema"));
  const Fields holder = inner != nullptr ? Fields(*inner, fields.place("json_schema")) : fields;
  LAPIDARY_TRY(const auto strict, holder.boolean("strict"));
  static_cast<void>(strict);  // a schema is enforced or refused, whatever is said here
  const OrderedJson* schema = holder.find("schema");
  if (schema == nullptr) return wrong(holder.place("schema"), "a JSON schema", "nothing");
  return set_schema(*schema, holder.place("schema"), form);
}

ApiResult<void> read_openai_tool_choice(const Fields& fields, Conversation& conversation, ReplyForm& form) {
  const OrderedJson* choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return {};
  if (*choice == "none") {
    conversation.tools.clear();
    return {};
  }
  if (*choice == "required") return require_calls({}, "tool_choice", conversation, form);
  if (!choice->is_object())
    return wrong("tool_choice", "auto, none, required, a function or allowed_tools", shown(*choice));
  const Fields inner(*choice, "tool_choice");
  LAPIDARY_TRY(const std::string type, inner.required_text("type"));
  if (type == "allowed_tools") return read_allowed_tools(inner, conversation, form);
  if (type != "function")
    return wrong("tool_choice.type", "function or allowed_tools", fmt::format("\"{}\"", type.substr(0, 60)));
  LAPIDARY_TRY(std::string name, function_name(inner));
  return require_calls({std::move(name)}, "tool_choice", conversation, form);
}

void read_strict(const Fields& fields, ReplyForm& form) {
  const OrderedJson* tools = fields.find("tools");
  if (tools == nullptr || !tools->is_array()) return;
  for (const OrderedJson& tool : *tools) {
    if (!tool.is_object()) continue;
    const auto inner = tool.find("function");
    const OrderedJson& function = inner == tool.end() ? tool : *inner;
    if (!function.is_object() || !function.contains("strict") || function["strict"] != true) continue;
    if (function.contains("name") && function["name"].is_string())
      form.strict.push_back(function["name"].get<std::string>());
  }
}

ApiResult<void> require_calls(std::vector<std::string> names, const std::string& where,
                              const Conversation& conversation, ReplyForm& form) {
  if (conversation.tools.empty()) return wrong(where, "tools that can be called", "none");
  form.tool_choice = ToolChoice::required;
  return allow_calls(std::move(names), where, conversation, form);
}

ApiResult<void> allow_calls(std::vector<std::string> names, const std::string& where, const Conversation& conversation,
                            ReplyForm& form) {
  LAPIDARY_CHECK(check_declared(names, where, conversation));
  form.callable = std::move(names);
  return {};
}

ApiResult<void> read_llama_form(const Fields& fields, ReplyForm& form) {
  LAPIDARY_TRY(const auto lazy, fields.boolean("grammar_lazy"));
  if (lazy.value_or(false)) return wrong("grammar_lazy", "false: a grammar holds from the first token on", "true");
  LAPIDARY_TRY(const auto grammar, fields.text("grammar"));
  const OrderedJson* schema = fields.find("json_schema");
  const bool both = grammar && !grammar->empty() && schema != nullptr;
  if (both || (form.kind != ReplyForm::Kind::any && ((grammar && !grammar->empty()) || schema != nullptr)))
    return wrong(schema != nullptr ? "json_schema" : "grammar", "one form of the reply", "several");
  if (schema != nullptr) return set_schema(*schema, "json_schema", form);
  if (!grammar || grammar->empty()) return {};
  form.kind = ReplyForm::Kind::gbnf;
  form.text = *grammar;
  form.where = "grammar";
  return {};
}

ApiResult<void> refuse_foreign_forms(const Fields& fields) {
  for (const char* key :
       {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "regex", "ebnf"})
    if (fields.has(key)) {
      ApiError error(400, fmt::format("{}: is not available; use response_format, grammar or json_schema", key),
                     "unsupported_parameter");
      error.where = key;
      return std::unexpected(std::move(error));
    }
  return {};
}

void set_choice(const std::vector<std::string>& values, const std::string& where, ReplyForm& form) {
  form.kind = ReplyForm::Kind::regex;
  form.where = where;
  form.text.clear();
  constexpr std::string_view marks = R"(\^$.|?*+()[]{}/)";
  for (const std::string& value : values) {
    if (&value != &values.front()) form.text += '|';
    for (const char c : value) {
      if (marks.find(c) != std::string_view::npos) form.text += '\\';
      form.text += c;
    }
  }
}

// --- Gemini's schemas ------------------------------------------------------------------------------------------------

namespace {

// Google's documents write max_items as well as maxItems.
std::string camel(std::string_view key) {
  std::string result;
  for (size_t i = 0; i < key.size(); ++i) {
    const bool joint = key[i] == '_' && i > 0 && i + 1 < key.size() && key[i + 1] >= 'a' && key[i + 1] <= 'z';
    result += joint ? static_cast<char>(key[++i] - 'a' + 'A') : key[i];
  }
  return result;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bool is_one_of(std::string_view key, std::span<const std::string_view> list) {
  return std::ranges::find(list, key) != list.end();
}

constexpr std::array<std::string_view, 6> counts = {"minItems",  "maxItems",      "minLength",
                                                    "maxLength", "minProperties", "maxProperties"};
constexpr std::array<std::string_view, 3> inner_schemas = {"items", "additionalProperties", "not"};
constexpr std::array<std::string_view, 4> schema_lists = {"anyOf", "oneOf", "allOf", "prefixItems"};
constexpr std::array<std::string_view, 3> schema_maps = {"properties", "$defs", "defs"};
// Said to people and to the order of the output, and not to what is valid.
constexpr std::array<std::string_view, 3> dropped = {"nullable", "propertyOrdering", "example"};

// Counts are 64-bit integers, which Google's JSON writes as texts.
Result<OrderedJson> count_of(const OrderedJson& value, const std::string& where) {
  if (!value.is_string()) return value;
  const auto& text = value.get_ref<const std::string&>();
  uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size())
    return malformed(where, "a whole number", shown(value));
  return OrderedJson(number);
}

Result<OrderedJson> type_of(const OrderedJson& value, const std::string& where) {
  if (value.is_string()) return OrderedJson(lower(value.get<std::string>()));
  if (!value.is_array()) return malformed(where, "a type's name", shown(value));
  OrderedJson list = OrderedJson::array();
  for (const OrderedJson& one : value) {
    if (!one.is_string()) return malformed(where, "types' names", shown(one));
    list.push_back(lower(one.get<std::string>()));
  }
  return list;
}

void allow_null(OrderedJson& schema) {
  if (const auto type = schema.find("type"); type != schema.end() && type->is_string())
    *type = OrderedJson::array({*type, "null"});
  else if (type != schema.end() && std::ranges::find(*type, OrderedJson("null")) == type->end())
    type->push_back("null");
  if (const auto list = schema.find("enum"); list != schema.end() && list->is_array()) list->push_back(nullptr);
  if (const auto list = schema.find("anyOf"); list != schema.end() && list->is_array())
    list->push_back({{"type", "null"}});
}

}  // namespace

// No deeper than a request's JSON may be.
Result<OrderedJson> schema_from_gemini(const OrderedJson& schema, const std::string& where) {
  if (schema.is_boolean()) return schema;
  if (!schema.is_object()) return malformed(where, "a schema (an object)", shown(schema));
  OrderedJson result = OrderedJson::object();
  bool nullable = false;
  for (const auto& [written, value] : schema.items()) {
    const std::string key = camel(written), place = fmt::format("{}.{}", where, written.substr(0, 60));
    if (key == "nullable") nullable = value == true;
    if (value.is_null() || is_one_of(key, dropped)) continue;
    if (key == "type") {
      if (value == "TYPE_UNSPECIFIED") continue;
      LAPIDARY_TRY(result[key], type_of(value, place));
    } else if (is_one_of(key, counts)) {
      LAPIDARY_TRY(result[key], count_of(value, place));
    } else if (is_one_of(key, inner_schemas) && !value.is_array()) {
      LAPIDARY_TRY(result[key], schema_from_gemini(value, place));
    } else if (is_one_of(key, schema_lists)) {
      if (!value.is_array()) return malformed(place, "a list of schemas", shown(value));
      OrderedJson& list = result[key] = OrderedJson::array();
      for (const OrderedJson& one : value) {
        LAPIDARY_TRY(OrderedJson translated, schema_from_gemini(one, place));
        list.push_back(std::move(translated));
      }
    } else if (is_one_of(key, schema_maps)) {
      if (!value.is_object()) return malformed(place, "schemas by name", shown(value));
      OrderedJson& map = result[key == "defs" ? "$defs" : key] = OrderedJson::object();
      for (const auto& [name, one] : value.items()) {
        LAPIDARY_TRY(map[name], schema_from_gemini(one, fmt::format("{}.{}", place, name.substr(0, 60))));
      }
    } else if (key == "ref") {
      result["$ref"] =
          value.is_string()
              ? OrderedJson("#/$defs/" + value.get<std::string>().substr(value.get<std::string>().rfind('/') + 1))
              : value;
    } else {
      result[key] = value;
    }
  }
  if (nullable) allow_null(result);
  return result;
}

}  // namespace lapidary
