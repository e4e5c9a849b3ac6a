// One turn of a conversation, from messages to events: the main road through the program. Read turn.cc first.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"
#include "chat/render.h"
#include "chat/reply_parser.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/speculation.h"
#include "grammar/constraint.h"

namespace lapidary {

struct TurnOptions {
  SamplerOptions sampler;
  int64_t tokens_max = 0;              // 0: until the model stops or the context is full
  int64_t thinking_tokens_max = 8192;  // a guard against endless thinking: the thought is closed and the answer begins
  std::vector<std::string> stop_strings;
  int32_t image_tokens = 0;  // 0: the model's default
  bool raw = false;          // no chat format: continue the text
  // What the reply has to be, up to the stop token; its thought is free. Nothing: anything. A reply that is cut off
  // (tokens_max, a full context, a stop string) is only the beginning of such a text.
  std::shared_ptr<const Grammar> constraint;
  std::shared_ptr<const TokenTable> constraint_tokens;  // of the model's tokenizer; made for the turn if missing
  bool thought_first = false;                           // a constrained reply may begin with a thought
};

// What happened, in order. Also what `run --json` prints.
struct MediaEvent {
  MediaKind kind = MediaKind::image;
  std::string path;
  int64_t soft_tokens = 0;
  int32_t width = 0, height = 0;  // pictures: as the model gets them
  double seconds = 0;             // sound
  std::string warning;            // "" or why the answer may suffer ("longer than 30 s …")
};
struct PromptEvent {
  int64_t tokens = 0, reused = 0;
  double seconds = 0;
};
enum class StopReason : uint8_t { stop_token, stop_string, length, context, tool_call, interrupted };
struct UsageEvent {
  int64_t prompt_tokens = 0, reused_tokens = 0, reply_tokens = 0, thinking_tokens = 0;
  int64_t drafted_tokens = 0, accepted_tokens = 0;  // guesses that were computed, and those of them that were right
  double load_seconds = 0, prompt_seconds = 0, reply_seconds = 0;
  StopReason reason = StopReason::stop_token;
  std::vector<int32_t> reply_ids;  // stop token included
};
using TurnEvent =
    std::variant<MediaEvent, PromptEvent, ThinkingDelta, TextDelta, ToolCallEvent, BadToolCall, UsageEvent>;
using TurnSink = std::function<void(const TurnEvent&)>;

struct TurnRequest {
  Conversation conversation;
  std::string text;          // with options.raw: the text to continue, instead of the conversation
  std::string media_folder;  // relative media paths start here
  TurnOptions options;
  Progress progress;  // of reading the prompt
  const std::atomic<bool>* interrupted =
      nullptr;                         // set from a signal handler: the reply ends, the session stays usable
  Speculation* speculation = nullptr;  // of the same engine, kept from turn to turn; the reply is the same without
};

// Runs the turn to its end. Events come on the calling thread. The reply as a message, ready to be appended to the
// conversation.
Result<Message> run_turn(Session& session, Engine& engine, const TurnRequest& request, const TurnSink& sink);

// Prompt -> what the model gets: text to ids, each medium's placeholder to begin marker, soft tokens, end marker.
// The number of soft tokens always equals the number of placeholders, else this fails. Media are decoded here.
struct MediaInput {
  MediaKind kind = MediaKind::image;
  std::string path;
};
Result<TokenizedPrompt> prepare_prompt(const Prompt& prompt, const std::string& media_folder, Engine& engine,
                                       int32_t image_tokens, const std::function<void(const MediaEvent&)>& sink);

// The same as ids without a model to compute with: `render --expand`. Only sizes are looked at.
Result<std::vector<int32_t>> expand_prompt(const Prompt& prompt, const std::string& media_folder,
                                           const ModelConfig& config, const Tokenizer& tokenizer, int32_t image_tokens);

}  // namespace lapidary
