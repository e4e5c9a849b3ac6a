// The main road: messages in, events out. Reads top to bottom.
#include "chat/turn.h"

#include <algorithm>

#include "base/system.h"
#include "chat/stop_strings.h"

namespace lapidary {
namespace {

struct Reply {
  Message message;
  UsageEvent usage;
};

bool interrupted(const TurnRequest& request) {
  return request.interrupted != nullptr && request.interrupted->load(std::memory_order_relaxed);
}

// The prompt, and whether it ends inside an open thought.
Result<Prompt> prompt_of(const TurnRequest& request, const Tokenizer& tokenizer, ChatFormat format) {
  if (!request.options.raw) return render(request.conversation, format);
  Prompt prompt;
  if (tokenizer.find("<bos>") >= 0) prompt.push_back({PromptItem::Kind::special, "<bos>"});
  prompt.push_back({PromptItem::Kind::text, request.text});
  return prompt;
}

bool ends_in_thought(const Prompt& prompt) {
  const auto open = std::find_if(prompt.rbegin(), prompt.rend(),
                                 [](const PromptItem& item) { return item.kind == PromptItem::Kind::special; });
  return open != prompt.rend() && open->text == "<|channel>";
}

// Where a later turn's prompt will still agree with this one: before the header of the model's turn, which is rendered
// anew (without the empty thought) once the reply is history. gemma4.md 6.2, rule 7.
int64_t stable_length(const TokenizedPrompt& prompt, const Tokenizer& tokenizer) {
  for (const char* name : {"<|turn>", "<start_of_turn>"}) {
    const int32_t turn = tokenizer.find(name);
    if (turn < 0) continue;
    const auto last = std::find(prompt.ids.rbegin(), prompt.ids.rend(), turn);
    if (last != prompt.ids.rend()) return prompt.ids.rend() - last - 1;
  }
  return -1;
}

// Tokens one by one: sample, parse, emit, until something ends the reply.
class Generation {
 public:
  Generation(Session& session, Engine& engine, const TurnRequest& request, ChatFormat format, bool inside_thought,
             const TurnSink& sink)
      : session_(session),
        tokenizer_(engine.model().tokenizer()),
        config_(engine.config()),
        request_(request),
        sink_(sink),
        sampler_(request.options.sampler),
        parser_(tokenizer_, format, inside_thought),
        stop_strings_(request.options.stop_strings) {}

  Result<Reply> run() {
    const double begin = monotonic_seconds();
    reply_.message.role = "assistant";
    reply_.usage.reason = StopReason::length;
    while (request_.options.tokens_max == 0 || reply_.usage.reply_tokens < request_.options.tokens_max) {
      if (interrupted(request_)) {
        reply_.usage.reason = StopReason::interrupted;
        break;
      }
      const int32_t token = next_token();
      if (token < 0) return fail(ErrorKind::refused, "logits", "no finite value is left: the model file is damaged");
      reply_.usage.reply_ids.push_back(token);
      ++reply_.usage.reply_tokens;
      const auto& stops = config_.generation.stop_tokens;
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
        reply_.usage.reason = StopReason::stop_token;
        break;
      }
      emit(parser_.push(token));
      if (stop_strings_.stopped()) {
        reply_.usage.reason = StopReason::stop_string;
        break;
      }
      if (session_.length() >= session_.context()) {
        reply_.usage.reason = StopReason::context;
        break;
      }
      LAPIDARY_CHECK(session_.append(token));
    }
    emit(parser_.finish());
    if (std::string rest = stop_strings_.finish(); !rest.empty() && !stop_strings_.stopped()) say(std::move(rest));
    if (!reply_.message.tool_calls.empty() && reply_.usage.reason == StopReason::stop_token)
      reply_.usage.reason = StopReason::tool_call;
    reply_.usage.thinking_tokens = parser_.thinking_tokens();
    reply_.usage.reply_seconds = monotonic_seconds() - begin;
    reply_.message.content = text_;
    return std::move(reply_);
  }

 private:
  // A thought without end is closed for the model: pitfalls 37 and 40.
  int32_t next_token() {
    if (parser_.thinking() && request_.options.thinking_tokens_max > 0 &&
        parser_.thinking_tokens() >= request_.options.thinking_tokens_max)
      if (const int32_t close = tokenizer_.find("<channel|>"); close >= 0) return close;
    return sampler_.next(session_.logits());
  }

  void emit(std::vector<ReplyEvent> events) {
    for (ReplyEvent& event : events) {
      if (auto* text = std::get_if<TextDelta>(&event)) {
        say(stop_strings_.push(text->text));
        continue;
      }
      if (auto* thinking = std::get_if<ThinkingDelta>(&event)) {
        reply_.message.reasoning += thinking->text;
        sink_(std::move(*thinking));
      } else if (auto* call = std::get_if<ToolCallEvent>(&event)) {
        reply_.message.tool_calls.push_back(call->call);
        sink_(std::move(*call));
      } else if (auto* bad = std::get_if<BadToolCall>(&event)) {
        sink_(std::move(*bad));
      }
    }
  }

  void say(std::string text) {
    if (text.empty()) return;
    text_ += text;
    sink_(TextDelta{std::move(text)});
  }

  Session& session_;
  const Tokenizer& tokenizer_;
  const ModelConfig& config_;
  const TurnRequest& request_;
  const TurnSink& sink_;
  Sampler sampler_;
  ReplyParser parser_;
  StopStrings stop_strings_;
  std::string text_;
  Reply reply_;
};

}  // namespace

Result<Message> run_turn(Session& session, Engine& engine, const TurnRequest& request, const TurnSink& sink) {
  const Tokenizer& tokenizer = engine.model().tokenizer();
  const ChatFormat format = request.options.raw ? ChatFormat::none : chat_format(tokenizer);
  if (!request.options.raw && format == ChatFormat::none)
    return fail(ErrorKind::unsupported, engine.model().path(),
                "this model has no chat format: continue a text instead (--raw)");

  // 1. Messages -> special tokens, text and media; media -> soft tokens.
  LAPIDARY_TRY(const Prompt rendered, prompt_of(request, tokenizer, format));
  LAPIDARY_TRY(const TokenizedPrompt prompt,
               prepare_prompt(rendered, request.media_folder, engine, request.options.image_tokens,
                              [&](const MediaEvent& event) { sink(event); }));

  // 2. Read the prompt, as far as the session does not know it already.
  const double begin = monotonic_seconds();
  session.checkpoint_at(format == ChatFormat::none ? -1 : stable_length(prompt, tokenizer));
  LAPIDARY_CHECK(session.set_prompt(prompt, [&](int64_t done, int64_t total) {
    return !interrupted(request) && (!request.progress || request.progress(done, total));
  }));
  const PromptEvent read{static_cast<int64_t>(prompt.ids.size()), session.reused(), monotonic_seconds() - begin};
  sink(read);

  // 3. Write the reply.
  Generation generation(session, engine, request, format, ends_in_thought(rendered), sink);
  LAPIDARY_TRY(Reply reply, generation.run());
  reply.usage.prompt_tokens = read.tokens;
  reply.usage.reused_tokens = read.reused;
  reply.usage.prompt_seconds = read.seconds;
  sink(reply.usage);
  return std::move(reply.message);
}

}  // namespace lapidary
