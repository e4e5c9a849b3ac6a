#include "chat/reply_form.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <vector>

namespace lapidary {
namespace {

OrderedJson tool(const char* name, const OrderedJson& parameters) {
  OrderedJson function = {{"name", name}};
  if (!parameters.is_null()) function["parameters"] = parameters;
  return {{"type", "function"}, {"function", std::move(function)}};
}

const OrderedJson sound = {{"type", "object"}, {"properties", {{"a", {{"type", "integer"}}}}}};
const OrderedJson dynamic = {{"type", "object"}, {"$dynamicRef", "#x"}};

ErrorKind kind_of(const ReplyForm& form, const std::vector<OrderedJson>& tools) {
  const auto made = compile_form(form, tools);
  REQUIRE_FALSE(made.has_value());
  return made.error().kind;
}

}  // namespace

TEST_CASE("nothing that is asked for is no grammar; tools are one") {
  CHECK(compile_form({}, {}).value().grammar == nullptr);
  CHECK(compile_form({}, {tool("f", sound), tool("g", nullptr)}).value().grammar != nullptr);
}

TEST_CASE("a tool that cannot be held to its schema is named, or an error where it must be held") {
  const std::vector<OrderedJson> tools = {tool("f", sound), tool("g", dynamic)};
  const ReplyGrammar loose = compile_form({}, tools).value();
  REQUIRE(loose.warnings.size() == 1);
  CHECK(loose.warnings[0].find("tool g: ") == 0);
  CHECK(loose.warnings[0].find("$dynamicRef") != std::string::npos);
  ReplyForm form;
  form.strict = {"f"};
  CHECK(compile_form(form, tools).value().warnings.size() == 1);
  form.strict = {"g"};
  CHECK(kind_of(form, tools) == ErrorKind::unsupported);
  form.strict = {};
  form.strict_calls = true;
  CHECK(kind_of(form, tools) == ErrorKind::unsupported);
  form.callable = {"f"};
  CHECK(compile_form(form, tools).value().warnings.empty());
  form = {};
  form.tool_choice = ToolChoice::required;
  CHECK(kind_of(form, tools) == ErrorKind::unsupported);
}

TEST_CASE("objects are closed where nothing is said of other properties, and nothing else comes of it") {
  const auto closed = [](const char* text) { return dump(closed_schema(parse_ordered_json(text, "schema").value())); };
  CHECK(
      closed(R"({"properties":{"a":{"items":{"properties":{"b":{}}}}},"required":["a"]})") ==
      R"({"properties":{"a":{"items":{"properties":{"b":{}},"additionalProperties":false}}},"required":["a"],"additionalProperties":false})");
  CHECK(
      closed(R"({"anyOf":[{"$ref":"#/$defs/x"},{"type":"null"}],"$defs":{"x":{"properties":{"a":{}}}}})") ==
      R"({"anyOf":[{"$ref":"#/$defs/x"},{"type":"null"}],"$defs":{"x":{"properties":{"a":{}},"additionalProperties":false}}})");
  for (
      const char* same :
      {R"({"type":"object"})", R"({"properties":{}})", R"({"properties":{"a":{}},"additionalProperties":true})",
       R"({"properties":{"a":{}},"patternProperties":{"^x":{}}})", R"({"properties":{"a":{}},"required":["b"]})",
       R"({"properties":{"a":{}},"anyOf":[{"required":["b"]}]})",
       R"({"properties":{"a":{}},"allOf":[{"properties":{"b":{}}}]})",
       R"({"oneOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]})", R"({"not":{"properties":{"a":{}}}})",
       R"({"properties":{"a":{"$ref":"#/$defs/x"}},"additionalProperties":false,"$defs":{"x":{"properties":{"b":{}}},"y":{"allOf":[]}}})"})
    CHECK(closed(same) == same);
}

TEST_CASE("very many costly tools are given up together") {
  std::vector<OrderedJson> tools;
  for (int i = 0; i < 400; ++i)
    tools.push_back(tool(fmt::format("f{}", i).c_str(),
                         {{"properties", {{"a", {{"pattern", fmt::format("^[ab]*a[ab]{{9}}{}$", i)}}}}}}));
  const ReplyGrammar loose = compile_form({}, tools).value();
  CHECK(loose.warnings.size() > 100);
  CHECK(loose.warnings.size() < 400);
  ReplyForm form;
  form.strict_calls = true;
  CHECK(kind_of(form, tools) == ErrorKind::unsupported);
}

TEST_CASE("calls of tools that are not there are wrong") {
  ReplyForm form;
  form.callable = {"h"};
  CHECK(kind_of(form, {tool("f", sound)}) == ErrorKind::wrong_use);
  form.callable = {};
  form.tool_choice = ToolChoice::required;
  CHECK(kind_of(form, {}) == ErrorKind::wrong_use);
  form.tool_choice = ToolChoice::automatic;
  CHECK(kind_of(form, {tool("f", sound), tool("f", sound)}) == ErrorKind::wrong_use);
}

TEST_CASE("what is beyond the budgets cannot be enforced; errors say where") {
  ReplyForm form{ReplyForm::Kind::regex, "((a{1,100}){1,100}){1,100}", "field", {}, {}, true, false, {}};
  const auto made = compile_form(form, {});
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().kind == ErrorKind::unsupported);
  CHECK(made.error().text().find("field") == 0);
}

TEST_CASE("the key is everything that the grammar depends on") {
  const std::vector<OrderedJson> tools = {tool("f", sound)};
  const ReplyForm plain{ReplyForm::Kind::schema, "{}", "x", {}, {}, true, false, {}};
  std::vector<ReplyForm> forms(8, plain);
  forms[1].kind = ReplyForm::Kind::regex;
  forms[2].text = "{} ";
  forms[3].tool_choice = ToolChoice::required;
  forms[4].callable = {"f"};
  forms[5].parallel_calls = false;
  forms[6].strict_calls = true;
  forms[7].strict = {"f"};
  for (size_t i = 0; i < forms.size(); ++i)
    for (size_t j = 0; j < forms.size(); ++j)
      CHECK((form_key(forms[i], tools) == form_key(forms[j], tools)) == (i == j));
  CHECK(form_key(plain, tools) != form_key(plain, {}));
  CHECK(form_key(plain, tools) != form_key(plain, {tool("g", sound)}));
  CHECK(form_key(plain, tools) != form_key(plain, {tool("f", dynamic)}));
  CHECK(form_key(plain, {tool("f", sound), tool("g", sound)}) != form_key(plain, {tool("g", sound), tool("f", sound)}));
}

}  // namespace lapidary
