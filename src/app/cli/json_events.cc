#include "cli/json_events.h"

namespace lapidary {
namespace {

const char* media_name(MediaKind kind) {
  switch (kind) {
    case MediaKind::image:
      return "image";
    case MediaKind::audio:
      return "audio";
    case MediaKind::video:
      return "video";
  }
  return "";
}

OrderedJson to_json(const MediaEvent& media) {
  OrderedJson json = {
      {"type", "media"}, {"kind", media_name(media.kind)}, {"path", media.path}, {"soft_tokens", media.soft_tokens}};
  if (media.kind == MediaKind::audio) {
    json["seconds"] = media.seconds;
  } else {
    json["width"] = media.width;
    json["height"] = media.height;
  }
  if (!media.warning.empty()) json["warning"] = media.warning;
  return json;
}

OrderedJson to_json(const PromptEvent& prompt) {
  return {{"type", "prompt"}, {"tokens", prompt.tokens}, {"reused", prompt.reused}, {"seconds", prompt.seconds}};
}

OrderedJson to_json(const ThinkingDelta& thinking) { return {{"type", "thinking"}, {"text", thinking.text}}; }
OrderedJson to_json(const TextDelta& text) { return {{"type", "text"}, {"text", text.text}}; }

OrderedJson to_json(const ToolCallEvent& event) {
  return {{"type", "tool_call"},
          {"name", event.call.name},
          {"arguments", event.call.arguments.is_null() ? OrderedJson::object() : event.call.arguments}};
}

OrderedJson to_json(const BadToolCall& bad) {
  return {{"type", "error"}, {"text", "a tool call that cannot be read: " + bad.reason}, {"raw", bad.raw}};
}

OrderedJson to_json(const UsageEvent& usage) {
  return {{"type", "usage"},
          {"prompt_tokens", usage.prompt_tokens},
          {"reused_tokens", usage.reused_tokens},
          {"reply_tokens", usage.reply_tokens},
          {"thinking_tokens", usage.thinking_tokens},
          {"drafted_tokens", usage.drafted_tokens},
          {"accepted_tokens", usage.accepted_tokens},
          {"load_seconds", usage.load_seconds},
          {"prompt_seconds", usage.prompt_seconds},
          {"reply_seconds", usage.reply_seconds},
          {"stop", stop_name(usage.reason)},
          {"reply_ids", usage.reply_ids}};
}

}  // namespace

const char* stop_name(StopReason reason) {
  switch (reason) {
    case StopReason::stop_token:
      return "stop_token";
    case StopReason::stop_string:
      return "stop_string";
    case StopReason::length:
      return "length";
    case StopReason::context:
      return "context";
    case StopReason::tool_call:
      return "tool_call";
    case StopReason::interrupted:
      return "interrupted";
  }
  return "";
}

std::string json_event(const TurnEvent& event, uint64_t seed) {
  OrderedJson json = std::visit([](const auto& e) { return to_json(e); }, event);
  if (std::holds_alternative<UsageEvent>(event)) json["seed"] = seed;
  return dump(json) + "\n";
}

std::string json_event(const Error& error) {
  return dump(OrderedJson{{"type", "error"}, {"text", error.text()}}) + "\n";
}

}  // namespace lapidary
