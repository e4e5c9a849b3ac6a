#include "chat/tool_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/utf8.h"
#include "chat/python_text.h"

namespace lapidary {
namespace {

constexpr std::string_view quote = "<|\"|>";

// A missing member of anything, and any member of what is no object, is null here: to the template they are alike
// wherever this is used, but for description and name, which are looked at more closely.
const OrderedJson& get(const OrderedJson& object, const char* key) {
  static const OrderedJson nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

// Names are written bare, between marks that the reader of a call goes by.
Result<void> check_name(std::string_view name, std::string_view marks, const std::string& where) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (!name.empty() && name.find_first_of(marks) == std::string_view::npos && !std::ranges::any_of(name, control) &&
      python_strip(name) == name)
    return {};
  return fail(ErrorKind::wrong_use, where,
              fmt::format("the name \"{}\" cannot be written in a call: it must not be empty, begin or end with a "
                          "space, or hold control characters or any of {}",
                          utf8_repair(name.substr(0, 60)), marks));
}

Result<void> check_function_name(std::string_view name, const std::string& where) {
  return check_name(name, "{}", where);
}
Result<void> check_argument_name(std::string_view name, const std::string& where) {
  return check_name(name, "{},:", where);
}

void write_quoted(PromptWriter& out, std::string_view text) {
  out.special(quote);
  out.text(text);
  out.special(quote);
}

// A text inside a call that the model itself wrote. The official format does not escape: the name of the quote token in
// it becomes that token, as there. It can end a string, but no call and no turn; everything else stays text.
void write_argument(PromptWriter& out, std::string_view text) {
  out.special(quote);
  for (size_t at = text.find(quote); at != std::string_view::npos; at = text.find(quote)) {
    out.text(text.substr(0, at));
    out.special(quote);
    text.remove_prefix(at + quote.size());
  }
  out.text(text);
  out.special(quote);
}

enum class Keys : uint8_t { bare, quoted };
enum class Writer : uint8_t { model, others };

void write_value(PromptWriter& out, const OrderedJson& value, Keys keys, Writer writer = Writer::others) {
  if (value.is_null()) {
    out.text("null");
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (writer == Writer::model) {
      write_argument(out, text);
    } else {
      write_quoted(out, text);
    }
  } else if (value.is_boolean()) {
    out.text(value.get<bool>() ? "true" : "false");
  } else if (value.is_object()) {
    out.text("{");
    bool first = true;
    for (const auto& [key, element] : sorted_members(value)) {
      if (!std::exchange(first, false)) out.text(",");
      if (keys == Keys::quoted) {
        write_quoted(out, key);
      } else {
        out.text(key);
      }
      out.text(":");
      write_value(out, *element, keys, writer);
    }
    out.text("}");
  } else if (value.is_array()) {
    out.text("[");
    bool first = true;
    for (const OrderedJson& element : value) {
      if (!std::exchange(first, false)) out.text(",");
      write_value(out, element, keys, writer);
    }
    out.text("]");
  } else {
    out.text(python_str(value));
  }
}

void write_pairs(PromptWriter& out, const OrderedJson& object, Writer writer) {
  bool first = true;
  for (const auto& [key, value] : sorted_members(object)) {
    if (!std::exchange(first, false)) out.text(",");
    out.text(key);
    out.text(":");
    write_value(out, *value, Keys::bare, writer);
  }
}

Result<void> check_argument_names(const OrderedJson& value, const std::string& where) {
  if (value.is_object())
    for (auto it = value.begin(); it != value.end(); ++it) LAPIDARY_CHECK(check_argument_name(it.key(), where));
  if (value.is_structured())
    for (const OrderedJson& element : value) LAPIDARY_CHECK(check_argument_names(element, where));
  return {};
}

// What a template's loop over a value goes through: elements, keys, or characters.
Result<std::vector<OrderedJson>> elements(const OrderedJson& value, const std::string& where) {
  std::vector<OrderedJson> result;
  if (value.is_array()) {
    result.assign(value.begin(), value.end());
  } else if (value.is_object()) {
    for (auto it = value.begin(); it != value.end(); ++it) result.emplace_back(it.key());
  } else if (value.is_string()) {
    std::string_view text = value.get_ref<const std::string&>();
    while (!text.empty()) {
      const size_t length = std::max<size_t>(utf8_length(text), 1);
      result.emplace_back(std::string(text.substr(0, length)));
      text.remove_prefix(length);
    }
  } else if (!value.is_null()) {
    return malformed(where, "a list of names", python_str(value));
  }
  return result;
}

// Writes the schema of one tool. Errors carry the tool's place.
class SchemaWriter {
 public:
  SchemaWriter(PromptWriter& out, std::string where) : out_(out), where_(std::move(where)) {}

  enum class SchemaWords : uint8_t { are_fields, are_skipped };
  Result<void> fields(const OrderedJson& properties, SchemaWords words);
  Result<void> names(const OrderedJson& list);

 private:
  Result<void> field(std::string_view key, const OrderedJson& schema);
  Result<void> object_field(const OrderedJson& schema);
  Result<void> items(const OrderedJson& schema);
  Result<void> item_member(std::string_view key, const OrderedJson& value);

  PromptWriter& out_;
  const std::string where_;
};

// [a,b,…], each quoted.
Result<void> SchemaWriter::names(const OrderedJson& list) {
  LAPIDARY_TRY(const std::vector<OrderedJson> values, elements(list, where_ + ": required"));
  out_.text("[");
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out_.text(",");
    write_quoted(out_, python_str(values[i]));
  }
  out_.text("]");
  return {};
}

Result<void> SchemaWriter::fields(const OrderedJson& properties, SchemaWords words) {
  if (!properties.is_object())
    return malformed(where_ + ": properties", "an object", python_str(properties).substr(0, 60));
  constexpr std::array<std::string_view, 5> schema_words = {"description", "type", "properties", "required",
                                                            "nullable"};
  bool first = true;
  for (const auto& [key, schema] : sorted_members(properties)) {
    if (words == SchemaWords::are_skipped && std::ranges::find(schema_words, key) != schema_words.end()) continue;
    if (!std::exchange(first, false)) out_.text(",");
    LAPIDARY_CHECK(check_argument_name(key, where_));
    LAPIDARY_CHECK(field(key, *schema));
  }
  return {};
}

Result<void> SchemaWriter::field(std::string_view key, const OrderedJson& schema) {
  const bool typed = schema.is_object() && schema.contains("type");
  const std::string kind = typed ? python_upper(schema["type"]) : "";
  out_.text(key);
  out_.text(":{");
  if (const OrderedJson& description = get(schema, "description"); python_true(description)) {
    out_.text("description:");
    write_quoted(out_, python_str(description));
    out_.text(",");
  }
  if (const OrderedJson& values = get(schema, "enum"); kind == "STRING" && python_true(values)) {
    out_.text("enum:");
    write_value(out_, values, Keys::quoted);
    out_.text(",");
  }
  if (const OrderedJson& element = get(schema, "items"); kind == "ARRAY" && element.is_object() && !element.empty()) {
    out_.text("items:{");
    LAPIDARY_CHECK(items(element));
    out_.text("},");
  }
  if (python_true(get(schema, "nullable"))) out_.text("nullable:true,");
  if (kind == "OBJECT") LAPIDARY_CHECK(object_field(schema));
  out_.text("type:");
  write_quoted(out_, kind);
  out_.text("}");
  return {};
}

Result<void> SchemaWriter::object_field(const OrderedJson& schema) {
  const OrderedJson& properties = get(schema, "properties");
  out_.text("properties:{");
  if (properties.is_object()) {
    LAPIDARY_CHECK(fields(properties, SchemaWords::are_fields));
  } else {
    LAPIDARY_CHECK(fields(schema, SchemaWords::are_skipped));  // fields given without "properties" around them
  }
  out_.text("},");
  if (const OrderedJson& required = get(schema, "required"); python_true(required)) {
    out_.text("required:");
    LAPIDARY_CHECK(names(required));
    out_.text(",");
  }
  return {};
}

// The schema of an array's elements.
Result<void> SchemaWriter::items(const OrderedJson& schema) {
  bool first = true;
  for (const auto& [key, value] : sorted_members(schema)) {
    if (value->is_null()) continue;
    if (!std::exchange(first, false)) out_.text(",");
    LAPIDARY_CHECK(item_member(key, *value));
  }
  return {};
}

Result<void> SchemaWriter::item_member(std::string_view key, const OrderedJson& value) {
  out_.text(key);
  out_.text(":");
  if (key == "properties") {
    out_.text("{");
    if (value.is_object()) LAPIDARY_CHECK(fields(value, SchemaWords::are_fields));
    out_.text("}");
  } else if (key == "required") {
    LAPIDARY_CHECK(names(value));
  } else if (key == "type" && value.is_string()) {
    write_quoted(out_, python_upper(value));
  } else if (key == "type") {
    const OrderedJson none =
        OrderedJson::array();  // of false and 0 too: "map" begins by asking whether there is anything
    LAPIDARY_TRY(const std::vector<OrderedJson> types, elements(python_true(value) ? value : none, where_ + ": type"));
    OrderedJson upper = OrderedJson::array();
    for (const OrderedJson& type : types) upper.push_back(python_upper(type));
    write_value(out_, upper, Keys::quoted);
  } else {
    write_value(out_, value, Keys::quoted);
  }
  return {};
}

Result<void> write_parameters(PromptWriter& out, const OrderedJson& parameters, const std::string& where) {
  SchemaWriter schema(out, where);
  out.text(",parameters:{");
  if (const OrderedJson& properties = get(parameters, "properties"); python_true(properties)) {
    out.text("properties:{");
    LAPIDARY_CHECK(schema.fields(properties, SchemaWriter::SchemaWords::are_fields));
    out.text("},");
  }
  if (const OrderedJson& required = get(parameters, "required"); python_true(required)) {
    out.text("required:");
    LAPIDARY_CHECK(schema.names(required));
    out.text(",");
  }
  if (const OrderedJson& type = get(parameters, "type"); python_true(type)) {
    out.text("type:");
    write_quoted(out, python_upper(type));
    out.text("}");  // without a type the brace stays open: so the official template has it
  }
  return {};
}

void write_declared_response(PromptWriter& out, const OrderedJson& response) {
  out.text(",response:{");
  if (const OrderedJson& description = get(response, "description"); python_true(description)) {
    out.text("description:");
    write_quoted(out, python_str(description));
    out.text(",");
  }
  if (python_upper(get(response, "type")) == "OBJECT") {
    out.text("type:");
    write_quoted(out, "OBJECT");
    out.text("}");
  }
}

}  // namespace

Result<void> write_declaration(PromptWriter& out, const OrderedJson& tool, const std::string& where) {
  const OrderedJson& function = get(tool, "function");
  const std::string place = where + ".function";
  if (!get(function, "name").is_string())
    return malformed(place + ".name", "a text", python_str(get(function, "name")).substr(0, 60));
  const auto& name = get(function, "name").get_ref<const std::string&>();
  LAPIDARY_CHECK(check_function_name(name, place + ".name"));
  out.special("<|tool>");
  out.text("declaration:");
  out.text(name);
  out.text("{description:");
  write_quoted(out, function.contains("description") ? python_str(function["description"]) : "");
  if (const OrderedJson& parameters = get(function, "parameters"); python_true(parameters))
    LAPIDARY_CHECK(write_parameters(out, parameters, place + ".parameters"));
  if (function.contains("response")) write_declared_response(out, function["response"]);
  out.text("}");
  out.special("<tool|>");
  return {};
}

Result<void> write_call(PromptWriter& out, const ToolCall& call, const std::string& where) {
  LAPIDARY_CHECK(check_function_name(call.name, where + ".function.name"));
  if (!call.arguments.is_null() && !call.arguments.is_object())
    return malformed(where + ".function.arguments", "an object", python_str(call.arguments).substr(0, 60));
  LAPIDARY_CHECK(check_argument_names(call.arguments, where + ".function.arguments"));
  out.special("<|tool_call>");
  out.text("call:");
  out.text(call.name);
  out.text("{");
  if (call.arguments.is_object()) write_pairs(out, call.arguments, Writer::model);
  out.text("}");
  out.special("<tool_call|>");
  return {};
}

void write_response(PromptWriter& out, std::string_view name, const OrderedJson& body) {
  out.special("<|tool_response>");
  out.text("response:");
  out.text(name);
  out.text("{");
  if (body.is_object()) {
    write_pairs(out, body, Writer::others);
  } else {
    out.text("value:");
    write_value(out, body, Keys::bare);
  }
  out.text("}");
  out.special("<tool_response|>");
}

}  // namespace lapidary
