// Builds a prompt item by item.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "chat/render.h"

namespace lapidary {

class PromptWriter {
 public:
  void special(std::string_view name) { prompt_.push_back({PromptItem::Kind::special, std::string(name), {}, {}, {}}); }
  // Texts that follow each other are one item.
  void text(std::string_view text) {
    if (text.empty()) return;
    if (prompt_.empty() || prompt_.back().kind != PromptItem::Kind::text)
      prompt_.push_back({PromptItem::Kind::text, {}, {}, {}, {}});
    prompt_.back().text += text;
  }
  void media(std::string_view placeholder, const MediaPart& media) {
    prompt_.push_back({PromptItem::Kind::media, std::string(placeholder), media.kind, media.path, media.bytes});
  }
  Prompt take() { return std::move(prompt_); }

 private:
  Prompt prompt_;
};

}  // namespace lapidary
