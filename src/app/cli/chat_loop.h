// The chat in a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "chat/turn.h"
#include "cli/console.h"
#include "cli/exit_status.h"
#include "engine/engine.h"

namespace lapidary {

struct ChatSetup {
  TurnOptions turn;
  int64_t context = 0;
  bool context_may_grow = false;  // with the conversation, as far as the memory allows
  bool force = false;
  std::string system;
  std::vector<OrderedJson> tools;
  bool think = false;
  bool draft = true;                        // guess tokens
  std::vector<std::string> images, sounds;  // for the first message
  std::string history_path;                 // "": none
};

// Talks until the user leaves. Standard input and output must be a terminal.
Result<ExitStatus> chat_loop(Engine& engine, ChatSetup setup, Console& console);

// A line of the chat: "/image F" and the like, or a message.
enum class ChatCommandKind : uint8_t { message, image, audio, system, think, tools, clear, help, unknown };
struct ChatCommand {
  ChatCommandKind kind = ChatCommandKind::message;
  std::string argument;  // what follows the command; the whole text of a message, without the marks of a block
};
ChatCommand parse_chat_command(std::string_view line);

// Whether `text` begins a block ("""…) that is not closed yet.
bool block_is_open(std::string_view text);

// A path as terminals paste and people type it: quoted, with "\ " for blanks, with ~/ for the home folder.
std::string typed_path(std::string_view text);

}  // namespace lapidary
