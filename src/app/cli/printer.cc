#include "cli/printer.h"

#include <fmt/format.h>

#include "cli/screen_text.h"

namespace lapidary {

std::string format_call(const ToolCall& call) {
  return fmt::format("{}({})", call.name, call.arguments.is_null() ? "{}" : dump(call.arguments));
}

std::string format_usage(const UsageEvent& usage, const SamplerOptions& sampler) {
  std::string text =
      fmt::format("{} tokens read in {:.2f} s", usage.prompt_tokens - usage.reused_tokens, usage.prompt_seconds);
  if (usage.reply_tokens > 0 && usage.reply_seconds > 0)
    text += fmt::format(", {} written at {:.1f} a second", usage.reply_tokens,
                        static_cast<double>(usage.reply_tokens) / usage.reply_seconds);
  return sampler.greedy || sampler.temperature == 0 ? text : text + fmt::format(", seed {}", sampler.seed);
}

void ReplyPrinter::print(const TurnEvent& event) {
  if (const auto* text = std::get_if<TextDelta>(&event)) {
    end_thinking();
    console_.print_safe(text->text);
    if (!text->text.empty()) line_open_ = !text->text.ends_with('\n');
  } else if (const auto* thought = std::get_if<ThinkingDelta>(&event)) {
    thinking(thought->text);
  } else if (const auto* call = std::get_if<ToolCallEvent>(&event)) {
    end_thinking();
    end_line();
    console_.print(console_.output_style().bold);
    console_.print_safe(format_call(call->call));
    console_.print(fmt::format("{}\n", console_.output_style().off));
  } else if (const auto* bad = std::get_if<BadToolCall>(&event)) {
    end_thinking();
    end_line();
    bad_call_ = true;
    console_.warn(fmt::format("a tool call that cannot be read ({}): {}", bad->reason, bad->raw));
  } else if (const auto* media = std::get_if<MediaEvent>(&event); media != nullptr && !media->warning.empty()) {
    console_.warn(fmt::format("{}: {}", media->path, media->warning));
  }
}

void ReplyPrinter::thinking(std::string_view text) {
  const bool to_output = console_.output_is_terminal();
  const Style& style = to_output ? console_.output_style() : console_.error_style();
  const std::string_view bar = style.dim.empty() ? "| " : "";
  std::string shown = std::string(style.dim);
  for (const char c : to_output || console_.error_is_terminal() ? safe_text(text) : std::string(text)) {
    if (thinking_line_begins_) shown += bar;
    shown += c;
    thinking_line_begins_ = c == '\n';
  }
  shown += style.off;
  thinking_ = true;
  if (to_output)
    console_.print(shown);
  else
    console_.print_error(shown);
}

// A blank line between the thought and what comes after it.
void ReplyPrinter::end_thinking() {
  if (!thinking_) return;
  const std::string_view gap = thinking_line_begins_ ? "\n" : "\n\n";
  if (console_.output_is_terminal())
    console_.print(gap);
  else
    console_.print_error(gap);
  thinking_ = false;
  thinking_line_begins_ = true;
}

void ReplyPrinter::end_line() {
  if (line_open_ && !(exact_ && !console_.output_is_terminal())) console_.print("\n");
  line_open_ = false;
}

void ReplyPrinter::finish() {
  end_thinking();
  end_line();
}

}  // namespace lapidary
