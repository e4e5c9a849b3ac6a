// The main road: messages in, events out. Reads top to bottom; the steps are in turn_steps.cc and prepare.cc.
#include "chat/turn.h"

#include "base/system.h"
#include "chat/turn_steps.h"

namespace lapidary {
namespace {

bool interrupted(const TurnRequest& request) {
  return request.interrupted != nullptr && request.interrupted->load(std::memory_order_relaxed);
}

}  // namespace

Result<Message> run_turn(Session& session, Engine& engine, const TurnRequest& request, const TurnSink& sink) {
  const Tokenizer& tokenizer = engine.model().tokenizer();
  LAPIDARY_TRY(const ChatFormat format, turn_format(request.options, tokenizer, engine.model().path()));

  // 1. Messages -> special tokens, text and media; media -> soft tokens.
  LAPIDARY_TRY(const Prompt rendered, turn_prompt(request.conversation, request.text, format, tokenizer));
  LAPIDARY_TRY(const TokenizedPrompt prompt,
               prepare_prompt(rendered, request.media_folder, engine, request.options.image_tokens,
                              [&](const MediaEvent& event) { sink(event); }));

  // 2. Read the prompt, as far as the session does not know it already.
  const double begin = monotonic_seconds();
  session.checkpoint_at(format == ChatFormat::none ? -1 : stable_length(prompt.ids, tokenizer));
  LAPIDARY_CHECK(session.set_prompt(prompt, [&](int64_t done, int64_t total) {
    return !interrupted(request) && (!request.progress || request.progress(done, total));
  }));
  const PromptEvent read{static_cast<int64_t>(prompt.ids.size()), session.reused(), monotonic_seconds() - begin};
  sink(read);

  // 3. Write the reply, token by token, until something ends it. Guesses only make it faster.
  ReplyGeneration reply(tokenizer, engine.config(), request.options, format, ends_in_thought(rendered),
                        [&](TurnEvent&& event) { sink(event); });
  reply.look_at_prompt(prompt.ids);
  if (request.speculation != nullptr) request.speculation->begin(prompt.ids, read.tokens - read.reused, read.seconds);
  LAPIDARY_CHECK(write_tokens(session, request.speculation,
                              [&](std::span<const float> logits, int64_t room) -> Result<std::vector<int32_t>> {
                                std::vector<int32_t> tokens;
                                if (interrupted(request)) {
                                  reply.stop(StopReason::interrupted);
                                  return tokens;
                                }
                                LAPIDARY_TRY(const int32_t token, reply.next(logits));
                                if (!reply.stopped() && room <= 0) reply.stop(StopReason::context);
                                if (!reply.wants_token()) return tokens;
                                tokens.push_back(token);
                                for (const int32_t forced : reply.take_forced(room - 1)) tokens.push_back(forced);
                                if (!reply.wants_token()) tokens.clear();
                                return tokens;
                              }));
  reply.finish();
  UsageEvent& usage = reply.usage();
  usage.prompt_tokens = read.tokens;
  usage.reused_tokens = read.reused;
  usage.prompt_seconds = read.seconds;
  if (request.speculation != nullptr) {
    usage.drafted_tokens = request.speculation->counts().drafted;
    usage.accepted_tokens = request.speculation->counts().accepted;
  }
  sink(usage);
  return std::move(reply.message());
}

}  // namespace lapidary
