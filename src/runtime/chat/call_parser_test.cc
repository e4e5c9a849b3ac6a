#include "chat/call_parser.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "chat/chat_for_test.h"

namespace lapidary {
namespace {

using chat_test::ids_of;
using chat_test::tokenizer;

std::string parsed(std::string_view text) {
  const auto call = parse_tool_call(ids_of(text), tokenizer());
  return call ? call->name + " " + dump(call->arguments) : "error: " + call.error().text();
}

// Random arguments, as a model might give them.
class Arguments {
 public:
  explicit Arguments(uint32_t seed) : random_(seed) {}

  OrderedJson object(int depth) {
    OrderedJson result = OrderedJson::object();
    for (uint32_t i = below(4); i > 0; --i) result[key()] = value(depth);
    return result;
  }

 private:
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }

  std::string key() {
    constexpr const char* keys[] = {"a",   "City",  "x_1",  "with space", "umlaut-ä", "日",
                                    "[0]", "\"q\"", "true", "1",          "<turn|>",  "call"};
    return keys[below(std::size(keys))];
  }

  // Not the whole name of the quote token, which the format does not escape: see write_argument.
  std::string text() {
    constexpr const char* parts[] = {"",   " ",     "\n",           "{",    "}",    "[",  "]",  ",", ":",
                                     "\"", "<|\"|", "<tool_call|>", "null", "日本", "🙂", "\\", "é", "x"};
    std::string result;
    for (uint32_t i = below(6); i > 0; --i) result += parts[below(std::size(parts))];
    return result;
  }

  OrderedJson value(int depth) {
    switch (below(depth > 0 ? 9 : 7)) {
      case 0:
        return nullptr;
      case 1:
        return below(2) == 0;
      case 2:
        return static_cast<int64_t>(random_()) - (int64_t{1} << 31);
      case 3:
        return uint64_t{random_()} << 32 | random_();
      case 4:
        return std::ldexp(static_cast<double>(random_()) - 2e9, static_cast<int>(below(200)) - 100);
      case 5:
      case 6:
        return text();
      case 7:
        return object(depth - 1);
      default: {
        OrderedJson list = OrderedJson::array();
        for (uint32_t i = below(4); i > 0; --i) list.push_back(value(depth - 1));
        return list;
      }
    }
  }

  std::mt19937 random_;
};

}  // namespace

TEST_CASE("call: every kind of value") {
  CHECK(parsed("call:f{}") == "f {}");
  CHECK(parsed("call:f{s:<|\"|>x<|\"|>,e:<|\"|><|\"|>,t:true,f:false,n:null}") ==
        R"(f {"s":"x","e":"","t":true,"f":false,"n":null})");
  CHECK(parsed("call:f{a:0,b:-7,c:1.5,d:-1e-5,e:2E+3,g:18446744073709551615,h:-9223372036854775808,i:"
               "36893488147419103232}") == R"(f {"a":0,"b":-7,"c":1.5,"d":-1e-05,"e":2000.0,"g":18446744073709551615,)"
                                           R"("h":-9223372036854775808,"i":3.6893488147419103e+19})");
  CHECK(parsed("call:f{l:[],m:[1,<|\"|>two<|\"|>,[{k:[]}]],o:{a:{b:{}},c:2}}") ==
        R"(f {"l":[],"m":[1,"two",[{"k":[]}]],"o":{"a":{"b":{}},"c":2}})");
}

TEST_CASE("call: odd keys, quoted keys, repeated keys and space between the parts") {
  CHECK(parsed("call:f{my-key.x/y:1,[0]:2,two words:3,<|\"|>a:{b}<|\"|>:4}") ==
        R"(f {"my-key.x/y":1,"[0]":2,"two words":3,"a:{b}":4})");
  CHECK(parsed("call:f{a:1,a:2}") == R"(f {"a":2})");
  CHECK(parsed("\n call: my.tool { a : 1 ,\n <|\"|>b<|\"|> : [ 1 , <|\"|> s <|\"|> ] }\n") ==
        R"(my.tool {"a":1,"b":[1," s "]})");
}

TEST_CASE("call: what is no call is refused with its place") {
  for (const char* text : {"",
                           "f{}",
                           "call:{}",
                           "call:f",
                           "call:f}",
                           "call:f{",
                           "call:f{}x",
                           "call:f{}<|\"|>",
                           "call:f{a}",
                           "call:f{:1}",
                           "call:f{a:}",
                           "call:f{a:1,}",
                           "call:f{,}",
                           "call:f{a:[1,]}",
                           "call:f{a:[1}",
                           "call:f{a:1]",
                           "call:f{a:[1}]",
                           "call:f{a:1 b:2}",
                           "call:f{a:x}",
                           "call:f{a:\"x\"}",
                           "call:f{a:01}",
                           "call:f{a:1.}",
                           "call:f{a:.5}",
                           "call:f{a:1e}",
                           "call:f{a:-}",
                           "call:f{a:+1}",
                           "call:f{a:NaN}",
                           "call:f{a:1e999}",
                           "call:f{a:<|\"|>x}",
                           "call:f{a:<|\"|>x<|\"|>y}",
                           "call:f{a:1<|\"|>x<|\"|>}",
                           "call:f{<|\"|>a}",
                           "call:f{<|\"|>a<|\"|>}",
                           "call:f{a<|\"|>b<|\"|>:1}",
                           "ca<|\"|>ll:f{}",
                           "<|\"|>call:f{}",
                           "call:f<|\"|>{}",
                           "call:f{a:<|image|>1}",
                           "call:f{{}:1}"}) {
    INFO(text);
    CHECK(parsed(text).starts_with("error: "));
  }
  CHECK(parsed("call:f{a:{} b:2}") == "error: byte 12: expected a comma or }, found \"b:2}\"");
}

TEST_CASE("call: nesting and size are limited, not the stack") {
  const auto nested = [](size_t depth) {
    return "call:f{a:" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  CHECK(parsed(nested(127)).starts_with("f "));
  CHECK(parsed(nested(128)).find("nested deeper") != std::string::npos);
  CHECK(parsed("call:f{a:" + std::string(100'000, '[')).find("nested deeper") != std::string::npos);
  std::string many = "call:f{";
  for (int i = 0; i < 5'000; ++i) many += "k" + std::to_string(i) + ":0,";
  CHECK(parsed(many + "z:0}").find("4000 members") != std::string::npos);
}

TEST_CASE("call: whatever is rendered, tokenised and read comes back as it was") {
  const int32_t begin = tokenizer().find("<|tool_call>"), end = tokenizer().find("<tool_call|>");
  for (uint32_t seed = 0; seed < 500; ++seed) {
    INFO("seed: ", seed);
    Conversation chat;
    chat.messages.push_back({.role = "assistant", .tool_calls = {{"", "tool_1", Arguments(seed).object(4)}}});
    const OrderedJson& arguments = chat.messages[0].tool_calls[0].arguments;
    const auto ids = prompt_ids(render(chat, ChatFormat::gemma4).value(), tokenizer()).value();
    const auto first = std::ranges::find(ids, begin) + 1, last = std::ranges::find(ids, end);
    REQUIRE(first <= last);
    const auto call = parse_tool_call(std::vector<int32_t>(first, last), tokenizer());
    REQUIRE_MESSAGE(call.has_value(), (call ? "" : call.error().text()));
    CHECK(call->name == "tool_1");
    CHECK(Json(Json::parse(dump(call->arguments))) ==
          Json(Json::parse(dump(arguments))));  // the order of keys is the format's
  }
}

}  // namespace lapidary
