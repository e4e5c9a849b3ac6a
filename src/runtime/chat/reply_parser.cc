#include "chat/reply_parser.h"

#include <utility>

#include "chat/call_parser.h"

namespace lapidary {
namespace {

constexpr std::string_view thought_header = "thought\n";

int32_t special_id(const Tokenizer& tokenizer, std::string_view name) {
  const int32_t id = tokenizer.find(name);
  return tokenizer.is_special(id) ? id : -1;
}

}  // namespace

ReplyParser::ReplyParser(const Tokenizer& tokenizer, ChatFormat format, bool inside_thought)
    : tokenizer_(&tokenizer), decoder_(tokenizer), state_(inside_thought ? State::thought : State::text) {
  if (format != ChatFormat::gemma4) return;
  channel_open_ = special_id(tokenizer, "<|channel>");
  channel_close_ = special_id(tokenizer, "<channel|>");
  call_open_ = special_id(tokenizer, "<|tool_call>");
  call_close_ = special_id(tokenizer, "<tool_call|>");
}

bool ReplyParser::thinking() const { return state_ == State::thought; }
int64_t ReplyParser::thinking_tokens() const { return thinking_tokens_; }

std::vector<ReplyEvent> ReplyParser::push(int32_t id) {
  if (tokenizer_->is_special(id)) return special(id);
  std::vector<ReplyEvent> events;
  if (state_ == State::thought) ++thinking_tokens_;
  if (state_ == State::tool_call) {
    call_ids_.push_back(id);
  } else {
    take_text(decoder_.push(id), events);
  }
  return events;
}

std::vector<ReplyEvent> ReplyParser::finish() {
  std::vector<ReplyEvent> events;
  take_text(decoder_.finish(), events);
  close(events);
  return events;
}

std::vector<ReplyEvent> ReplyParser::special(int32_t id) {
  std::vector<ReplyEvent> events;
  take_text(decoder_.finish(), events);
  if (id == channel_open_) {
    close(events);
    state_ = State::channel_name;
  } else if (id == call_open_) {
    close(events);
    state_ = State::tool_call;
  } else if (state_ == State::tool_call) {
    if (id == call_close_) {
      finish_call(events);
    } else {
      call_ids_.push_back(id);
    }
  } else if (id == channel_close_) {
    close(events);
  }
  return events;  // any other special token means nothing here, and is not shown
}

void ReplyParser::take_text(std::string text, std::vector<ReplyEvent>& events) {
  if (text.empty()) return;
  switch (state_) {
    case State::channel_name:
      return take_channel_name(std::move(text), events);
    case State::thought:
      return take_thought(std::move(text), events);
    default:
      events.push_back(TextDelta{std::move(text)});
  }
}

// Holds the text back while it may become the header of a thought. Another channel's name is text like any other: to
// lose what a model says because it opened a channel by mistake would be worse than to show one word too much.
void ReplyParser::take_channel_name(std::string text, std::vector<ReplyEvent>& events) {
  pending_ += text;
  if (pending_.starts_with(thought_header)) {
    const std::string rest = pending_.substr(thought_header.size());
    pending_.clear();
    state_ = State::thought;
    take_text(rest, events);
  } else if (!thought_header.starts_with(pending_)) {
    state_ = State::text;
    events.push_back(TextDelta{std::exchange(pending_, {})});
  }
}

// Line breaks around a thought are no part of it: those at its beginning are dropped, others held back until text
// follows.
void ReplyParser::take_thought(std::string text, std::vector<ReplyEvent>& events) {
  const size_t begin = thought_begun_ ? 0 : text.find_first_not_of('\n');
  if (begin == std::string::npos) return;
  const size_t last = text.find_last_not_of('\n');
  if (last == std::string::npos) {
    pending_ += text;
    return;
  }
  std::string shown = std::exchange(pending_, text.substr(last + 1));
  shown += text.substr(begin, last + 1 - begin);
  thought_begun_ = true;
  events.push_back(ThinkingDelta{std::move(shown)});
}

void ReplyParser::close(std::vector<ReplyEvent>& events) {
  if (state_ == State::tool_call) {
    events.push_back(BadToolCall{tokenizer_->decode(call_ids_, SpecialParsing::on), "the call is not closed"});
    call_ids_.clear();
  } else if (state_ == State::channel_name && !pending_.empty() && pending_ + "\n" != thought_header) {
    events.push_back(TextDelta{pending_});
  }
  pending_.clear();
  thought_begun_ = false;
  state_ = State::text;
}

void ReplyParser::finish_call(std::vector<ReplyEvent>& events) {
  auto call = parse_call(call_ids_, *tokenizer_);
  if (call) {
    events.push_back(ToolCallEvent{std::move(*call)});
  } else {
    events.push_back(BadToolCall{tokenizer_->decode(call_ids_, SpecialParsing::on), call.error().text()});
  }
  call_ids_.clear();
  state_ = State::text;
}

Result<ToolCall> ReplyParser::parse_call(const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
  return parse_tool_call(ids, tokenizer);
}

}  // namespace lapidary
