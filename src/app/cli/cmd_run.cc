// run: a prompt answered, or a chat.
#include <fmt/format.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "base/system.h"
#include "base/terminal.h"
#include "chat/turn.h"
#include "cli/chat_loop.h"
#include "cli/commands.h"
#include "cli/constraint_choice.h"
#include "cli/history.h"
#include "cli/json_events.h"
#include "cli/open_model.h"
#include "cli/printer.h"
#include "cli/progress.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t text_bytes_max = 256 << 20;
constexpr int64_t reply_room_tokens = 1024;  // kept free for an answer when the context grows with the prompt

// What is asked, before any model is open.
struct Question {
  bool chat = false;  // nothing: a chat is wanted
  std::string text;   // prompt and what was piped in
  Conversation conversation;
  std::string media_folder;
};

// PROMPT, a blank line, what is piped in.
Result<std::string> complete_prompt(const RunOptions& options) {
  std::string piped;
  if (!is_terminal(Stream::input)) {
    LAPIDARY_TRY(piped, read_standard_input(text_bytes_max));
  }
  if (!options.prompt) return piped;
  return piped.empty() ? *options.prompt : *options.prompt + "\n\n" + piped;
}

// Pictures before the text, sound after it.
Message user_message(const RunOptions& options, std::string text, bool absolute_paths) {
  const auto place = [&](const std::string& path) { return absolute_paths ? fs::absolute(path).string() : path; };
  Message message;
  message.role = "user";
  if (options.images.empty() && options.sounds.empty()) {
    message.content = std::move(text);
    return message;
  }
  std::vector<ContentPart> parts;
  for (const std::string& path : options.images) parts.emplace_back(MediaPart{MediaKind::image, place(path)});
  if (!text.empty()) parts.emplace_back(TextPart{std::move(text)});
  for (const std::string& path : options.sounds) parts.emplace_back(MediaPart{MediaKind::audio, place(path)});
  message.content = std::move(parts);
  return message;
}

void set_system(Conversation& conversation, const std::string& text) {
  Message message;
  message.role = "system";
  message.content = text;
  if (!conversation.messages.empty() && conversation.messages.front().role == "system")
    conversation.messages.front() = std::move(message);
  else
    conversation.messages.insert(conversation.messages.begin(), std::move(message));
}

Result<Question> read_question(const RunOptions& options, const Console& console) {
  Question question;
  const bool media = !options.images.empty() || !options.sounds.empty();
  if (!options.chat_file.empty()) {
    LAPIDARY_TRY(const std::string json, read_file(options.chat_file, text_bytes_max));
    LAPIDARY_TRY(question.conversation, parse_conversation(json, options.chat_file));
    question.media_folder = fs::path(options.chat_file).parent_path().string();
    if (options.prompt || media)
      question.conversation.messages.push_back(user_message(options, options.prompt.value_or(""), true));
  } else if (!options.prompt && is_terminal(Stream::input)) {
    if (!console.output_is_terminal() || options.json || options.raw)
      return fail(ErrorKind::wrong_use, "run", "no prompt: name one, or pipe one in");
    question.chat = true;
  } else {
    LAPIDARY_TRY(question.text, complete_prompt(options));
    if (question.text.empty() && !media && !options.prompt)
      return fail(ErrorKind::wrong_use, "run", "no prompt: name one, or pipe one in");
    question.conversation.messages.push_back(user_message(options, question.text, false));
  }
  if (!options.tools_file.empty()) {
    LAPIDARY_TRY(const std::string json, read_file(options.tools_file, text_bytes_max));
    LAPIDARY_TRY(question.conversation.tools, parse_tools(json, options.tools_file));
  }
  if (!options.system.empty()) set_system(question.conversation, options.system);
  question.conversation.think = question.conversation.think || options.think;
  return question;
}

Result<int64_t> tokens_needed(const Question& question, const TurnOptions& turn, const Engine& engine) {
  const Tokenizer& tokenizer = engine.model().tokenizer();
  int64_t tokens = 0;
  if (turn.raw) {
    tokens = static_cast<int64_t>(tokenizer.encode(question.text, SpecialParsing::off).size()) + 1;
  } else {
    LAPIDARY_TRY(const Prompt prompt, render(question.conversation, chat_format(tokenizer)));
    LAPIDARY_TRY(const auto ids,
                 expand_prompt(prompt, question.media_folder, engine.config(), tokenizer, turn.image_tokens));
    tokens = static_cast<int64_t>(ids.size());
  }
  return tokens + (turn.tokens_max > 0 ? turn.tokens_max : reply_room_tokens);
}

Result<TurnOptions> turn_options(const RunOptions& options, const Conversation& conversation, const Engine& engine,
                                 Console& console) {
  TurnOptions turn;
  turn.sampler = sampler_options(options.sampling, engine.config().generation);
  turn.tokens_max = options.tokens_max;
  turn.stop_strings = options.stop_strings;
  turn.image_tokens = options.image_tokens;
  turn.raw = options.raw || chat_format(engine.model().tokenizer()) == ChatFormat::none;
  LAPIDARY_CHECK(set_constraint(options.constraint, conversation, engine.model().tokenizer(), turn, console));
  return turn;
}

// One turn, printed. The status is that of a turn that came to its end.
Result<ExitStatus> answer(const RunOptions& options, const Question& question, OpenedEngine& opened, Console& console) {
  Engine& engine = *opened.engine;
  TurnRequest request;
  LAPIDARY_TRY(request.options, turn_options(options, question.conversation, engine, console));
  if (request.options.raw && !options.raw &&
      (!options.chat_file.empty() || question.conversation.messages.size() != 1 || !options.images.empty() ||
       !options.sounds.empty()))
    return fail(ErrorKind::unsupported, engine.model().path(),
                "this model has no chat format: it can only continue a text");
  int64_t needed = 0;
  if (options.context == context_default) {
    LAPIDARY_TRY(needed, tokens_needed(question, request.options, engine));
  }
  LAPIDARY_TRY(const int64_t context, plan_context(engine, options.context, needed, options.engine.force));

  Session session(engine, context);
  ProgressLine progress(console, !options.json);
  request.conversation = question.conversation;
  request.text = question.text;
  request.media_folder = question.media_folder;
  request.interrupted = &interrupt_flag();
  Speculation speculation(engine);
  if (options.draft != "off") request.speculation = &speculation;
  request.progress = [&](int64_t done, int64_t total) {
    progress.show("reading", done, total);
    return true;
  };
  ReplyPrinter printer(console, request.options.raw);
  UsageEvent usage;
  const uint64_t seed = request.options.sampler.seed;
  const auto reply = run_turn(session, engine, request, [&](const TurnEvent& event) {
    progress.clear();
    if (const auto* end = std::get_if<UsageEvent>(&event)) {
      usage = *end;
      usage.load_seconds = opened.load_seconds;
      if (options.json) console.print(json_event(usage, seed));
    } else if (options.json) {
      console.print(json_event(event, seed));
      printer.note_bad_call(event);
    } else {
      printer.print(event);
    }
    if (console.output_ended()) interrupt_flag() = true;  // nobody reads on
  });
  if (!options.json) printer.finish();
  if (console.output_ended()) return ExitStatus::done;
  if (!reply) return std::unexpected(reply.error());
  if (usage.reason == StopReason::interrupted) return ExitStatus::interrupted;
  if (usage.reason == StopReason::context)
    console.warn(fmt::format("the context of {} tokens is full: the answer ends here", context));
  if (!options.json && !request.options.raw) console.remark(format_usage(usage, request.options.sampler));
  return printer.bad_call() ? ExitStatus::failed : ExitStatus::done;
}

Result<ExitStatus> chat(const RunOptions& options, Question question, OpenedEngine& opened, Console& console) {
  Engine& engine = *opened.engine;
  ChatSetup setup;
  LAPIDARY_TRY(setup.turn, turn_options(options, question.conversation, engine, console));
  if (setup.turn.raw)
    return fail(ErrorKind::unsupported, engine.model().path(),
                "this model has no chat format: it can only continue a text; give it one");
  LAPIDARY_TRY(setup.context, plan_context(engine, options.context, 0, options.engine.force));
  setup.context_may_grow = options.context == context_default;
  setup.force = options.engine.force;
  setup.system = options.system;
  setup.tools = std::move(question.conversation.tools);
  setup.think = options.think;
  setup.images = options.images;
  setup.sounds = options.sounds;
  setup.draft = options.draft != "off";
  setup.history_path = options.no_history ? "" : History::default_path();
  return chat_loop(engine, std::move(setup), console);
}

}  // namespace

ExitStatus run_command(const RunOptions& options, Console& console) {
  const auto refuse = [&](const Error& error) {
    if (options.json) console.print(json_event(error));
    return error.kind == ErrorKind::cancelled ? ExitStatus::interrupted : console.fail(error);
  };
  auto question = read_question(options, console);
  if (!question) return refuse(question.error());
  auto opened = open_engine(options.model, options.engine, console);
  if (!opened) return refuse(opened.error());
  if (const auto chosen = choose_drafter(options.draft, *opened->engine); !chosen) return refuse(chosen.error());
  const auto status = question->chat ? chat(options, std::move(*question), *opened, console)
                                     : answer(options, *question, *opened, console);
  return status ? *status : refuse(status.error());
}

}  // namespace lapidary
