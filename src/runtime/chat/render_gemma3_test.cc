#include "chat/chat_for_test.h"

namespace lapidary {
namespace {

std::string rendered(std::string_view json) { return chat_test::rendered(json, ChatFormat::gemma3); }

}  // namespace

TEST_CASE("gemma 3: turns, with the system text before the first user's") {
  CHECK(rendered(R"([{"role": "user", "content": " Hi \n"}])") ==
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n");
  CHECK(
      rendered(
          R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "a"}]},
                    {"role": "assistant", "content": "b"}, {"role": "user", "content": null}])") ==
      "<bos><start_of_turn>user\nBe brief.\n\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n"
      "<start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n");
  CHECK(rendered(R"({"messages": [{"role": "user", "content": "a"}], "generation_prompt": false})") ==
        "<bos><start_of_turn>user\na<end_of_turn>\n");
}

TEST_CASE("gemma 3: what its format has no words for is refused") {
  CHECK(rendered(R"([{"role": "user", "content": [{"type": "image"}]}])").starts_with("error: messages[0].content[0]"));
  CHECK(rendered(R"([{"role": "tool", "content": "x"}])").starts_with("error: messages[0]"));
  CHECK(rendered(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}])")
            .starts_with("error: messages[0]"));
  CHECK(rendered(R"([{"role": "user"}, {"role": "system", "content": "x"}])").starts_with("error: messages[1]"));
  CHECK(rendered(R"({"messages": [{"role": "user"}], "think": true})").starts_with("error: think"));
  CHECK(rendered(R"({"messages": [{"role": "user"}], "tools": [{"function": {"name": "f"}}]})")
            .starts_with("error: tools"));
}

}  // namespace lapidary
