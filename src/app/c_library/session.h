// A session: what has been said so far, as the service is asked with it. Nothing computed is kept here; that is what
// the service's prefix cache is for.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "c_library/model.h"
#include "chat/conversation.h"
#include "chat/render.h"
#include "lapidary.h"

namespace lapidary {

struct SessionContent {
  enum class Kind : uint8_t { empty, text, conversation } kind = Kind::empty;
  Prompt prompt;              // text
  Conversation conversation;  // conversation
  bool turn_open = false;     // what is appended belongs to the last message
};

// Shared by a session's handle and its generation, which appends the reply on the model's thread.
struct SessionState {
  std::mutex mutex;  // guards what follows
  SessionContent content;
  bool generating = false;
};

// Appending. Each leaves the content as it was on an error.
Result<void> begin_turn(SessionContent& content, const std::string& role);
Result<void> append_text(SessionContent& content, std::string_view text);
Result<void> append_tokens(SessionContent& content, std::vector<int32_t> ids);
Result<void> append_medium(SessionContent& content, MediaPart medium);
// `folder` as in lapidary_session_append_json.
Result<void> append_json(SessionContent& content, std::string_view json, const char* folder);

}  // namespace lapidary

struct lapidary_session {
  std::shared_ptr<lapidary::SharedService> service;
  lapidary::ModelInfo model;
  std::shared_ptr<lapidary::SessionState> state;
};
