// A vocabulary that cuts JSON at awkward places, and texts judged token by token and byte by byte.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "grammar/constraint.h"
#include "grammar/dice_for_test.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

inline const Tokenizer& test_tokenizer() {
  static const Tokenizer tokenizer = [] {
    std::vector<std::string> pieces;
    Json added = Json::array();
    for (const char* name : {"<pad>", "<eos>", "<bos>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<|\"|>",
                             "<|channel>", "<channel|>"}) {
      added.push_back(Json{{"id", pieces.size()}, {"content", name}, {"special", true}, {"normalized", false}});
      pieces.emplace_back(name);
    }
    for (int i = 0; i < 256; ++i) pieces.push_back(fmt::format("<0x{:02X}>", i));
    for (char c = '!'; c <= '~'; ++c) pieces.emplace_back(1, c);
    for (const char* piece :
         {"▁",    "\n",        "{\"",  "\":",    "\":▁",  "\":▁\"", "\",",     "\",▁\"", "\"}", "\"]",  "}}",
          "]}",   "},▁{\"",    "\\\"", "\\n",    "\\u",   "\\u00",  "\\ud83d", "e\"",    "ab",  "abc",  "a\",",
          "b\":", "na",        "name", "name\"", "true",  "tr",     "false",   "null",   "12",  "1.",   "0.5",
          "-1",   "e5",        "10",   "é",      "日本",  "日",     "🙂",      "▁a",     "▁▁",  "a▁b",  "id",
          "x\"}", "\"a\"",     "\"na", "call",   "call:", ",▁",     "[]",      "{}",     "aa",  "aaaa", "0,",
          "5]",   "\"name\":", "20",   "24-",    "@",     ".com",   "://",     "a\\",    "b\\u"})
      pieces.emplace_back(piece);
    Json vocabulary = Json::object();
    for (size_t id = 0; id < pieces.size(); ++id) vocabulary[pieces[id]] = id;
    Json file = parse_json(R"({
      "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
      "decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
      "model": {"type": "BPE", "byte_fallback": true, "merges": ["▁ ▁", "a b", "ab c", "t r", "n a"]}})",
                           "test")
                    .value();
    file["added_tokens"] = added;
    file["model"]["vocab"] = vocabulary;
    return Tokenizer::from_json(dump(file), "test").value();
  }();
  return tokenizer;
}

inline std::shared_ptr<const TokenTable> test_tokens() {
  static const std::shared_ptr<const TokenTable> tokens = TokenTable::create(test_tokenizer());
  return tokens;
}

inline bool fits(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar, test_tokens());
  return matcher.accept_text(text) && matcher.may_stop();
}

inline std::shared_ptr<const Grammar> schema_grammar(std::string_view schema) {
  auto grammar = Grammar::from_schema(schema, "schema");
  REQUIRE_MESSAGE(grammar.has_value(), (grammar ? "" : grammar.error().text()) << " in " << schema);
  return *grammar;
}

// One text by random tokens out of the masks, every one of which is compared with what the matcher says of each token.
// Stops after `tokens_max`; `ended` says whether the text is complete then.
inline std::string random_text(const std::shared_ptr<const Grammar>& grammar, Dice& dice, size_t tokens_max,
                               bool& ended) {
  const Tokenizer& tokenizer = test_tokenizer();
  const std::vector<int32_t> stops{tokenizer.find("<eos>")};
  Matcher matcher(grammar, test_tokens(), stops);
  std::vector<uint64_t> bits(test_tokens()->words());
  std::string text;
  ended = false;
  for (size_t i = 0; i < tokens_max && !ended; ++i) {
    matcher.mask(bits);
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < tokenizer.size(); ++id) {
      const bool in_mask = (bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
      const bool alone = matcher.allows(id);
      if (in_mask != alone)
        FAIL("after ", text, ": token \"", std::string(tokenizer.piece(id)), "\" mask ", in_mask, ", alone ", alone);
      if (in_mask) allowed.push_back(id);
    }
    if (allowed.empty()) FAIL("a dead end after ", text);
    // The end is taken a little more often, or texts would never end.
    const bool stop = matcher.may_stop() && dice.below(3) == 0;
    const int32_t token = stop ? stops[0] : allowed[dice.below(allowed.size())];
    REQUIRE(matcher.accept(token));
    ended = token == stops[0];
    if (tokenizer.is_special(token)) {
      if (!ended) text += tokenizer.piece(token);
    } else {
      text += tokenizer.piece(token);
    }
  }
  return text;
}

}  // namespace lapidary
