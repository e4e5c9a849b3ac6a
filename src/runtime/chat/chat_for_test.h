// What the tests of the chat format share.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "chat/conversation.h"
#include "chat/render.h"
#include "tokenizer/tokenizer.h"

namespace lapidary::chat_test {

inline const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::from_json_file("tests/golden/unified/model/tokenizer.json").value();
  return loaded;
}

inline std::vector<int32_t> ids_of(std::string_view text) { return tokenizer().encode(text, SpecialParsing::on); }

inline Conversation conversation(std::string_view json) {
  auto parsed = parse_conversation(json, "chat");
  REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  return std::move(*parsed);
}

inline std::string rendered(std::string_view json, ChatFormat format = ChatFormat::gemma4) {
  const auto prompt = render(conversation(json), format);
  return prompt ? prompt_text(*prompt) : "error: " + prompt.error().text();
}

}  // namespace lapidary::chat_test
