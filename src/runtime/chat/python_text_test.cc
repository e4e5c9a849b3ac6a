#include "chat/python_text.h"

#include <doctest/doctest.h>

namespace lapidary {
namespace {

OrderedJson read(std::string_view text) { return parse_ordered_json(text, "test").value(); }
std::string str(std::string_view json) { return python_str(read(json)); }

}  // namespace

TEST_CASE("python text: numbers as Python prints them") {
  const std::pair<const char*, const char*> numbers[] = {{"0", "0"},
                                                         {"-7", "-7"},
                                                         {"18446744073709551615", "18446744073709551615"},
                                                         {"1.0", "1.0"},
                                                         {"-0.0", "-0.0"},
                                                         {"2.5", "2.5"},
                                                         {"0.1", "0.1"},
                                                         {"1e5", "100000.0"},
                                                         {"1e15", "1000000000000000.0"},
                                                         {"1e16", "1e+16"},
                                                         {"1.5e300", "1.5e+300"},
                                                         {"0.0001", "0.0001"},
                                                         {"0.00001", "1e-05"},
                                                         {"1.25e-7", "1.25e-07"},
                                                         {"123456.789", "123456.789"},
                                                         {"5e-324", "5e-324"},
                                                         {"1.7976931348623157e308", "1.7976931348623157e+308"},
                                                         {"9007199254740993.0", "9007199254740992.0"}};
  for (const auto& [json, text] : numbers) CHECK(str(json) == text);
}

TEST_CASE("python text: other values as Python prints them") {
  CHECK(str("null") == "None");
  CHECK(str("true") == "True");
  CHECK(str(R"("as it is")") == "as it is");
  CHECK(str(R"(["a", 1, null, false, 1.5, ["b"], {"k": "it's", "q": "\"'"}])") ==
        R"(['a', 1, None, False, 1.5, ['b'], {'k': "it's", 'q': '"\''}])");
  CHECK(str(R"(["a\n\t\r\\\u0001\u00a0é"])") == R"(['a\n\t\r\\\x01\xa0é'])");
  CHECK(python_upper(read(R"(["string", null])")) == "['STRING', NONE]");
}

TEST_CASE("python text: what counts as true") {
  for (const char* json : {"null", "false", "0", "0.0", "\"\"", "[]", "{}"}) CHECK(!python_true(read(json)));
  for (const char* json : {"true", "-1", "0.5", "\"0\"", "[0]", "{\"a\":null}"}) CHECK(python_true(read(json)));
}

TEST_CASE("python text: strip takes all Unicode space, and nothing else") {
  CHECK(python_strip(" \t\n\v\f\r\x1c\u0085\u00a0\u3000x y\u2003\u2028 ") == "x y");
  CHECK(python_strip("\u200bx\u200b") == "\u200bx\u200b");  // no white space to Python
  CHECK(python_strip("\xA0x\x85").size() == 3);             // bytes that are no characters stay
  CHECK(python_strip(" \n").empty());
  CHECK(python_strip("").empty());
}

TEST_CASE("python text: members sorted by key, small and capital letters alike") {
  std::string keys;
  const OrderedJson object =
      read(R"({"b":1,"Days":2,"a":3,"A":4,"Über":5,"über":6,"zeit":7,"Ж":8,"г":9,"_":10,"Ŷ":11,"ŵ":12,"Ž":13})");
  for (const auto& [key, value] : sorted_members(object)) keys += std::string(key) + " ";
  CHECK(keys == "_ a A b Days zeit Über über ŵ Ŷ Ž г Ж ");
}

}  // namespace lapidary
