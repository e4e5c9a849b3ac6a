// A complete vocabulary of Gemma 4's kind, small enough to be built by a fuzz target: every byte, the special tokens,
// some letters and words.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace lapidary::fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

// The text of its tokenizer.json.
inline std::string small_tokenizer_json() {
  std::vector<std::string> pieces;
  Json added = Json::array();
  const auto add = [&](const std::string& content, bool special) {
    added.push_back(Json{{"id", pieces.size()}, {"content", content}, {"special", special}, {"normalized", false}});
    pieces.push_back(content);
  };
  for (const char* name : {"<pad>",
                           "<eos>",
                           "<bos>",
                           "<unk>",
                           "<|turn>",
                           "<turn|>",
                           "<|think|>",
                           "<|channel>",
                           "<channel|>",
                           "<|tool>",
                           "<tool|>",
                           "<|tool_call>",
                           "<tool_call|>",
                           "<|tool_response>",
                           "<tool_response|>",
                           "<|\"|>",
                           "<|image|>",
                           "<|audio|>",
                           "<|video|>",
                           "<start_of_turn>",
                           "<end_of_turn>"})
    add(name, true);
  for (size_t i = 1; i <= 4; ++i) add(std::string(i, '\n'), false);
  add("▁▁", false);
  add("<b>", false);
  for (int i = 0; i < 256; ++i) pieces.push_back(fmt::format("<0x{:02X}>", i));
  for (char c = '!'; c <= '~'; ++c) pieces.emplace_back(1, c);
  for (const char* piece : {"▁",  "é",    "日", "本",  "🙂", "日本", "th", "he",      "the",  "▁the", "▁a",
                            "aa", "aaaa", ">▁", ">▁<", "ca", "call", "ll", "thought", "thou", "ght",  "ought"})
    pieces.emplace_back(piece);
  Json vocabulary = Json::object();
  for (size_t id = 0; id < pieces.size(); ++id) vocabulary[pieces[id]] = id;
  Json file = parse_json(R"({
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "byte_fallback": true, "merges": [
      "▁ ▁", "t h", "h e", "th e", "▁ the", "▁ a", "a a", "aa aa", "日 本", "> ▁", ">▁ <", "c a", "l l", "ca ll"]}})",
                         "small")
                  .value();
  file["added_tokens"] = added;
  file["model"]["vocab"] = vocabulary;
  return dump(file);
}

inline const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::from_json(small_tokenizer_json(), "small").value();
  return tokenizer;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace lapidary::fuzz
