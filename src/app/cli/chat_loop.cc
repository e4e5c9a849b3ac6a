#include "cli/chat_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/mapped_file.h"
#include "base/system.h"
#include "base/terminal.h"
#include "cli/line_editor.h"
#include "cli/open_model.h"
#include "cli/printer.h"
#include "cli/progress.h"

namespace lapidary {
namespace {

constexpr const char* help_text =
    R"(  /image F     a picture for the next message      /system [TEXT|off]  the system prompt
  /audio F     a sound for the next message        /think [on|off]     let the model think first
  /clear       forget the conversation             /tools [F|off]      tools the model may call
Several lines: """ at the beginning and the end, or Alt-Enter. Up, Down: what you wrote before; Ctrl-R searches it.
Ctrl-C stops an answer. Ctrl-D, or Ctrl-C twice, leaves.
)";
constexpr std::string_view block_mark = "\"\"\"";
constexpr uint64_t tools_bytes_max = 16 << 20;
constexpr int64_t reply_room_tokens = 1024;

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

class Chat {
 public:
  Chat(Engine& engine, ChatSetup setup, Console& console)
      : engine_(engine),
        setup_(std::move(setup)),
        console_(console),
        history_(setup_.history_path),
        editor_(screen_),
        session_(std::make_unique<Session>(engine, setup_.context)),
        speculation_(engine) {}

  ExitStatus run() {
    on_second_interrupt(SecondInterrupt::ignored);
    // Never normal in between: there, the terminal itself would take Ctrl-D that is typed ahead.
    const TerminalGuard guard(TerminalMode::answering);
    console_.remark(
        fmt::format("{}, {} tokens of context. /help lists the commands.", engine_.config().name, setup_.context));
    for (const std::string& path : setup_.images) attach(MediaKind::image, path);
    for (const std::string& path : setup_.sounds) attach(MediaKind::audio, path);
    bool leaving = false;  // Ctrl-C came at an empty line
    while (!console_.output_ended()) {
      const Line line = read_line(">>> ", "... ", &history_);
      if (line.end == LineEnd::closed) break;
      if (line.end == LineEnd::interrupted) {
        if (leaving) break;
        leaving = line.text.empty();
        if (leaving) say("Ctrl-C once more, or Ctrl-D, leaves.");
        continue;
      }
      leaving = false;
      if (trim(line.text).empty()) continue;
      if (const auto added = history_.add(line.text); !added && !history_warned_) {
        history_warned_ = true;
        console_.complain(added.error());
      }
      perform(parse_chat_command(line.text));
    }
    return ExitStatus::done;
  }

 private:
  Line read_line(std::string prompt, std::string continuation, History* history) {
    const TerminalGuard guard(TerminalMode::editing);
    LineRequest request;
    request.prompt = std::move(prompt);
    request.continuation = std::move(continuation);
    request.style_on = console_.output_style().bold;
    request.style_off = console_.output_style().off;
    request.history = history;
    request.wants_more = block_is_open;
    interrupt_flag() = false;
    return editor_.read(request);
  }

  void say(std::string_view text) {
    console_.print(console_.output_style().dim);
    console_.print_safe(text);
    console_.print(fmt::format("{}\n", console_.output_style().off));
  }

  void perform(const ChatCommand& command) {
    switch (command.kind) {
      case ChatCommandKind::message:
        converse(command.argument);
        break;
      case ChatCommandKind::image:
        attach(MediaKind::image, typed_path(command.argument));
        break;
      case ChatCommandKind::audio:
        attach(MediaKind::audio, typed_path(command.argument));
        break;
      case ChatCommandKind::system:
        set_system(command.argument);
        break;
      case ChatCommandKind::think:
        setup_.think = command.argument.empty() ? !setup_.think : command.argument == "on";
        say(setup_.think ? "The model thinks first." : "The model answers at once.");
        break;
      case ChatCommandKind::tools:
        set_tools(command.argument);
        break;
      case ChatCommandKind::clear:
        messages_.clear();
        attached_.clear();
        say("The conversation is forgotten.");
        break;
      case ChatCommandKind::help:
        console_.print(help_text);
        break;
      case ChatCommandKind::unknown:
        say(fmt::format("No command /{}; /help lists them.", command.argument));
        break;
    }
  }

  void set_system(const std::string& text) {
    if (!text.empty()) setup_.system = text == "off" ? "" : text;
    say(setup_.system.empty() ? "No system prompt." : "System prompt: " + setup_.system);
  }

  void set_tools(const std::string& argument) {
    if (argument == "off") {
      setup_.tools.clear();
    } else if (!argument.empty()) {
      const std::string path = typed_path(argument);
      const auto text = read_file(path, tools_bytes_max);
      if (!text) return console_.complain(text.error());
      auto tools = parse_tools(*text, path);
      if (!tools) return console_.complain(tools.error());
      setup_.tools = std::move(*tools);
    }
    std::string names;
    for (const OrderedJson& tool : setup_.tools)
      if (tool.is_object() && tool.contains("function") && tool["function"].is_object() &&
          tool["function"].contains("name"))
        names +=
            (names.empty() ? "" : ", ") +
            (tool["function"]["name"].is_string() ? tool["function"]["name"].get<std::string>() : std::string("?"));
    say(names.empty() ? "No tools." : "Tools: " + names);
  }

  // Looks at the file at once, so that a wrong one is noticed before the message is written.
  void attach(MediaKind kind, const std::string& path) {
    const bool image = kind == MediaKind::image;
    if (path.empty()) return say(image ? "Which picture? /image F" : "Which sound? /audio F");
    if (image ? !engine_.config().vision : !engine_.config().audio)
      return say(fmt::format("{} cannot {}.", engine_.config().name, image ? "see" : "hear"));
    const auto file = MappedFile::open(path);
    if (!file) return console_.complain(file.error());
    if (image) {
      const auto picture = decode_image((*file)->bytes(), path);
      if (!picture) return console_.complain(picture.error());
      say(fmt::format("{}: {} x {} pixels, for the next message", path, picture->width, picture->height));
    } else {
      const auto sound = decode_sound((*file)->bytes(), path);
      if (!sound) return console_.complain(sound.error());
      say(fmt::format("{}: {:.1f} s, for the next message", path, sound->seconds()));
    }
    attached_.push_back({kind, path});
  }

  Message user_message(const std::string& text) {
    Message message;
    message.role = "user";
    if (attached_.empty()) {
      message.content = text;
      return message;
    }
    std::vector<ContentPart> parts;
    for (const MediaPart& media : attached_)
      if (media.kind == MediaKind::image) parts.emplace_back(media);
    parts.emplace_back(TextPart{text});
    for (const MediaPart& media : attached_)
      if (media.kind == MediaKind::audio) parts.emplace_back(media);
    message.content = std::move(parts);
    return message;
  }

  // A message and all turns until the model has nothing more to call. If it fails, the message never was.
  void converse(const std::string& text) {
    const size_t messages_before = messages_.size();
    messages_.push_back(user_message(text));
    const std::vector<MediaPart> attached = std::exchange(attached_, {});
    while (true) {
      auto reply = answer();
      if (!reply) {
        messages_.resize(messages_before);
        attached_ = attached;
        if (reply.error().kind == ErrorKind::cancelled)
          say("(stopped)");
        else
          console_.complain(reply.error());
        return;
      }
      messages_.push_back(*reply);
      if (interrupt_flag() || reply->tool_calls.empty()) return;
      if (!ask_for_results(reply->tool_calls)) return;
    }
  }

  Result<Message> answer() {
    TurnRequest request;
    request.options = setup_.turn;
    request.conversation.messages = messages_;
    request.conversation.tools = setup_.tools;
    request.conversation.think = setup_.think;
    if (!setup_.system.empty()) {
      Message system;
      system.role = "system";
      system.content = setup_.system;
      request.conversation.messages.insert(request.conversation.messages.begin(), std::move(system));
    }
    LAPIDARY_CHECK(make_room(request.conversation));

    interrupt_flag() = false;
    ProgressLine progress(console_, true);
    request.interrupted = &interrupt_flag();
    if (setup_.draft) request.speculation = &speculation_;
    request.progress = [&](int64_t done, int64_t total) {
      progress.show("reading", done, total);
      return true;
    };
    ReplyPrinter printer(console_, false);
    UsageEvent usage;
    auto reply = run_turn(*session_, engine_, request, [&](const TurnEvent& event) {
      progress.clear();
      if (const auto* end = std::get_if<UsageEvent>(&event))
        usage = *end;
      else
        printer.print(event);
      if (console_.output_ended()) interrupt_flag() = true;
    });
    progress.clear();
    printer.finish();
    if (!reply) return reply;
    if (usage.reason == StopReason::context)
      console_.warn(fmt::format("the context of {} tokens is full; /clear begins anew", session_->context()));
    console_.remark((usage.reason == StopReason::interrupted ? "stopped; " : "") +
                    format_usage(usage, setup_.turn.sampler));
    ++setup_.turn.sampler.seed;  // else the same dice fall in every turn
    return reply;
  }

  // A longer context if the conversation needs it and may have it. It is read anew then.
  Result<void> make_room(const Conversation& conversation) {
    if (!setup_.context_may_grow) return {};
    const Tokenizer& tokenizer = engine_.model().tokenizer();
    LAPIDARY_TRY(const Prompt prompt, render(conversation, chat_format(tokenizer)));
    LAPIDARY_TRY(const auto ids, expand_prompt(prompt, "", engine_.config(), tokenizer, setup_.turn.image_tokens));
    const auto needed = static_cast<int64_t>(ids.size()) + reply_room_tokens;
    if (needed <= session_->context() || session_->context() >= engine_.config().context_max) return {};
    const auto context = plan_context(engine_, context_default, 2 * needed, setup_.force);
    if (context) session_ = std::make_unique<Session>(engine_, *context);
    return {};  // where the memory does not suffice, what there is has to
  }

  // The user plays the tools. False: the user does not want to.
  bool ask_for_results(const std::vector<ToolCall>& calls) {
    bool given = true;
    for (const ToolCall& call : calls) {
      Message result;
      result.role = "tool";
      result.name = call.name;
      result.tool_call_id = call.id;
      Line line;
      if (given) line = read_line(fmt::format("result of {}: ", call.name), "... ", nullptr);
      given = given && line.end == LineEnd::entered;
      if (!given) {
        result.content = std::string("no result: the user stopped the call");
      } else if (auto json = parse_ordered_json(line.text, "result"); json && !json->is_string() && !json->is_null()) {
        result.content = std::move(*json);
      } else {
        result.content = std::string(trim(line.text));
      }
      messages_.push_back(std::move(result));
    }
    return given;
  }

  Engine& engine_;
  ChatSetup setup_;
  Console& console_;
  History history_;
  bool history_warned_ = false;
  StandardScreen screen_;
  LineEditor editor_;
  std::unique_ptr<Session> session_;
  Speculation speculation_;
  std::vector<Message> messages_;  // without the system prompt
  std::vector<MediaPart> attached_;
};

}  // namespace

Result<ExitStatus> chat_loop(Engine& engine, ChatSetup setup, Console& console) {
  return Chat(engine, std::move(setup), console).run();
}

bool block_is_open(std::string_view text) {
  text = trim(text);
  return text.starts_with(block_mark) && (text.size() < 2 * block_mark.size() || !text.ends_with(block_mark));
}

ChatCommand parse_chat_command(std::string_view line) {
  const std::string_view text = trim(line);
  if (text.starts_with(block_mark) && !block_is_open(text))
    return {ChatCommandKind::message,
            std::string(trim(text.substr(block_mark.size(), text.size() - 2 * block_mark.size())))};
  if (!text.starts_with('/')) return {ChatCommandKind::message, std::string(text)};
  size_t end = 1;
  while (end < text.size() && text[end] >= 'a' && text[end] <= 'z') ++end;
  // "/usr/bin is full" is no command.
  if (end < text.size() && text[end] != ' ' && text[end] != '\t' && text[end] != '\n')
    return {ChatCommandKind::message, std::string(text)};
  const std::string_view name = text.substr(1, end - 1);
  const std::string argument(trim(text.substr(end)));
  if (name == "image") return {ChatCommandKind::image, argument};
  if (name == "audio") return {ChatCommandKind::audio, argument};
  if (name == "system") return {ChatCommandKind::system, argument};
  if (name == "think") return {ChatCommandKind::think, argument};
  if (name == "tools") return {ChatCommandKind::tools, argument};
  if (name == "clear") return {ChatCommandKind::clear, argument};
  if (name == "help") return {ChatCommandKind::help, argument};
  return {ChatCommandKind::unknown, std::string(name)};
}

std::string typed_path(std::string_view text) {
  text = trim(text);
  std::error_code error;
  if (std::filesystem::exists(std::string(text), error)) return std::string(text);
  if (text.size() >= 2 && (text.front() == '\'' || text.front() == '"') && text.back() == text.front())
    return std::string(text.substr(1, text.size() - 2));
  std::string path;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    path += text[i];
  }
  if (path.starts_with("~/")) path = environment("HOME").value_or("~") + path.substr(1);
  return path;
}

}  // namespace lapidary
