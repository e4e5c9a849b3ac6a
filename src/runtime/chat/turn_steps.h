// The steps of a turn, for callers that drive the engine themselves: run_turn (one sequence) and the service (many).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"
#include "chat/render.h"
#include "chat/reply_parser.h"
#include "chat/stop_strings.h"
#include "chat/turn.h"
#include "engine/engine.h"
#include "engine/penalties.h"
#include "engine/sampler.h"
#include "grammar/constraint.h"
#include "media/audio.h"
#include "media/image.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

// The format that a turn is rendered in: none if it is raw. ErrorKind::unsupported if it is not raw and the model has
// no format; `where` names the model.
Result<ChatFormat> turn_format(const TurnOptions& options, const Tokenizer& tokenizer, const std::string& where);

// The prompt: the conversation in the format, or the raw text after <bos>.
Result<Prompt> turn_prompt(const Conversation& conversation, const std::string& text, ChatFormat format,
                           const Tokenizer& tokenizer);

// Whether the prompt ends inside an open thought.
bool ends_in_thought(const Prompt& prompt);

// Where a later turn's prompt will still agree with this one: before the header of the model's turn, which is rendered
// anew (without the empty thought) once the reply is history. gemma4.md 6.2, rule 7. -1: no turn in it.
int64_t stable_length(std::span<const int32_t> ids, const Tokenizer& tokenizer);

struct MediaTokens {
  int32_t begin = -1, soft = -1, end = -1;
};

// A picture or a sound, decoded, and where its soft tokens stand. Needs no engine: safe on any thread.
struct DecodedMedium {
  MediaEvent event;      // soft_tokens as the model will get them
  MediaTokens tokens;    // the markers around it and its soft token
  ImagePatches patches;  // pictures
  Sound sound;           // sounds
};
Result<DecodedMedium> decode_medium(const PromptItem& item, const std::string& media_folder, const ModelConfig& config,
                                    int32_t image_tokens);
// Its soft tokens; `first` is not set. On the engine's thread.
Result<SoftBlock> embed_medium(const DecodedMedium& medium, Engine& engine);

// The prompt's ids, with each medium's placeholder widened; the media in order, each with the index of its first soft
// token. Needs no engine.
struct DecodedPrompt {
  struct Medium {
    std::shared_ptr<const DecodedMedium> decoded;
    int64_t first = 0;
  };
  std::vector<int32_t> ids;
  std::vector<Medium> media;
};
using MediumDecoder = std::function<Result<std::shared_ptr<const DecodedMedium>>(const PromptItem&)>;
Result<DecodedPrompt> decode_prompt(const Prompt& prompt, const Tokenizer& tokenizer, const MediumDecoder& decode);

// One reply, token by token: logits in, events out. The caller computes the logits.
//
//   while (reply.wants_token()) {
//     token = reply.next(logits);
//     if (!reply.wants_token()) break;   // a stop, or the last of tokens_max
//     logits = append token to the sequence
//   }
//   reply.finish();
class ReplyGeneration {
 public:
  using Sink = std::function<void(TurnEvent&&)>;

  // The references must outlive it.
  ReplyGeneration(const Tokenizer& tokenizer, const ModelConfig& config, const TurnOptions& options, ChatFormat format,
                  bool inside_thought, Sink sink);

  // The prompt, for penalties that look at it (PenaltyOptions::prompt). Once, before the first token.
  void look_at_prompt(std::span<const int32_t> ids);
  // Samples a token (or closes a thought without end) and gives out what it completes. An error if no logit is finite.
  Result<int32_t> next(std::span<const float> logits);
  // Under a constraint: tokens that follow the last one without choice, taken and given out as if they had been
  // sampled. A caller that adds them to the sequence in one step saves the steps between; one that does not ask gets
  // them from next(), one by one.
  std::vector<int32_t> take_forced(int64_t tokens_max);
  // Whether another token is wanted: no stop has been met, and fewer than tokens_max were written.
  bool wants_token() const {
    return !stopped_ && (options_.tokens_max == 0 || usage_.reply_tokens < options_.tokens_max);
  }
  bool stopped() const { return stopped_; }
  // Ends the reply from outside: the context is full, the user stopped it, the time is over.
  void stop(StopReason reason) {
    stopped_ = true;
    usage_.reason = reason;
  }
  // Gives out what is held back. Once, at the end.
  void finish();

  // After finish(): the reply's part of the usage, and the reply as a message.
  UsageEvent& usage() { return usage_; }
  Message& message() { return message_; }
  int64_t tokens() const { return usage_.reply_tokens; }

 private:
  int32_t pick(std::span<const float> logits);
  void take(int32_t token);
  bool is_markup(int32_t token) const;
  bool constrained() const { return matcher_ && !in_thought_; }
  void emit(std::vector<ReplyEvent> events);
  void say(std::string text);

  const Tokenizer& tokenizer_;
  const ModelConfig& config_;
  TurnOptions options_;
  Sink sink_;
  Sampler sampler_;
  Penalties penalties_;
  ReplyParser parser_;
  StopStrings stop_strings_;
  std::optional<Matcher> matcher_;
  std::vector<uint64_t> allowed_;
  int32_t thought_open_ = -1, thought_close_ = -1;
  bool in_thought_ = false;
  bool stopped_ = false;
  double begin_seconds_ = 0;
  std::string text_;
  Message message_;
  UsageEvent usage_;
};

}  // namespace lapidary
