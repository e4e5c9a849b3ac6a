// What the tests of the service share: requests made of Spark's samples, and a client that waits for its answer.
#pragma once

#include <doctest/doctest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "chat/turn_steps.h"
#include "engine/engine.h"
#include "service/log_probability.h"
#include "service/service.h"

namespace lapidary::service_test {

// Everything that a request's sink was given.
class Client {
 public:
  GenerateSink sink() {
    // A request that was cancelled may still give events when its client is gone.
    return [state = state_](GenerateEvent&& event) {
      const std::scoped_lock lock(state->mutex);
      state->late_event = state->late_event || state->ended;
      state->ended = std::holds_alternative<UsageEvent>(event) || std::holds_alternative<Error>(event);
      state->events.push_back(std::move(event));
      state->changed.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [this] { return state_->ended; });
    REQUIRE_FALSE(state_->late_event);
  }
  template <typename Condition>
  void wait_for(const Condition& condition) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->ended || condition(state_->events); });
  }
  bool ended() {
    const std::scoped_lock lock(state_->mutex);
    return state_->ended;
  }
  template <typename Event>
  const Event* find() const {
    for (const GenerateEvent& event : state_->events)
      if (const auto* found = std::get_if<Event>(&event)) return found;
    return nullptr;
  }
  const UsageEvent& usage() {
    wait();
    const auto* error = find<Error>();
    REQUIRE_MESSAGE(error == nullptr, (error != nullptr ? error->text() : ""));
    return *find<UsageEvent>();
  }
  std::string text() {
    wait();
    std::string all;
    for (const GenerateEvent& event : state_->events)
      if (const auto* delta = std::get_if<TextDelta>(&event)) all += delta->text;
    return all;
  }
  const std::vector<GenerateEvent>& events() const { return state_->events; }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<GenerateEvent> events;
    bool ended = false, late_event = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Gives every medium of the conversation its bytes, read from `folder`.
inline void fetch_media(Conversation& conversation, const std::string& folder) {
  for (Message& message : conversation.messages)
    if (auto* parts = std::get_if<std::vector<ContentPart>>(&message.content))
      for (ContentPart& part : *parts)
        if (auto* media = std::get_if<MediaPart>(&part))
          media->bytes = std::make_shared<const std::string>(read_file(folder + media->path, 1 << 26).value());
}

inline Conversation conversation(const std::string& json) {
  auto parsed = parse_conversation(json, "chat");
  REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  return std::move(*parsed);
}

inline Message message(const std::string& role, const std::string& text) {
  Message made;
  made.role = role;
  made.content = text;
  return made;
}

// Greedy, as Spark's samples are meant.
inline GenerateRequest request_of(Conversation conversation) {
  GenerateRequest request;
  request.conversation = std::move(conversation);
  request.options.image_tokens = 70;
  request.options.tokens_max = 256;
  request.options.sampler.greedy = true;
  return request;
}

struct Sample {
  std::string id, reference;
  GenerateRequest request;
  int64_t prompt_tokens = 0;
  std::vector<int32_t> reference_ids;
};

inline std::vector<Sample> samples() {
  const std::string folder = "models/spark/samples/";
  std::vector<Sample> all;
  const Json items = parse_json(read_file(folder + "samples.json", 1 << 24).value(), "samples").value()["items"];
  for (const Json& item : items) {
    Json chat = {{"messages", item["messages"]}};
    if (item.contains("tools") && !item["tools"].is_null()) chat["tools"] = item["tools"];
    Sample sample;
    sample.id = item["id"].get<std::string>();
    sample.reference_ids = item["reference_ids"].get<std::vector<int32_t>>();
    sample.prompt_tokens = item["prompt_tokens"].get<int64_t>();
    sample.request = request_of(conversation(dump(chat)));
    fetch_media(sample.request.conversation, folder);
    all.push_back(std::move(sample));
  }
  return all;
}

// A request computed alone, by a session of its own, from nothing: what the service has to give.
struct Alone {
  std::vector<int32_t> reply_ids;
  std::vector<TokenEvent> tokens;  // with the five best: so much that equal ones mean equal bits
  StopReason reason = StopReason::length;
};

inline std::unique_ptr<Engine> spark_engine() {
  EngineOptions options;
  options.threads = 2;
  return std::move(Engine::create(std::move(LoadedModel::open("models/spark").value()), options).value());
}

constexpr int64_t forced_tokens_max = 16;  // as the scheduler's: what is forced draws no number

inline Alone alone(Engine& engine, const GenerateRequest& request, int64_t context = 2048) {
  const Tokenizer& tokenizer = engine.model().tokenizer();
  const ChatFormat format = turn_format(request.options, tokenizer, "").value();
  const Prompt rendered = turn_prompt(request.conversation, request.text, format, tokenizer).value();
  const TokenizedPrompt prompt = prepare_prompt(rendered, "", engine, request.options.image_tokens, {}).value();
  Session session(engine, context);
  REQUIRE(session.set_prompt(prompt).has_value());
  TurnOptions options = request.options;
  const auto& suppress = engine.config().generation.suppress_tokens;
  options.sampler.suppress.insert(options.sampler.suppress.end(), suppress.begin(), suppress.end());
  ReplyGeneration reply(tokenizer, engine.config(), options, format, ends_in_thought(rendered), [](TurnEvent&&) {});
  reply.look_at_prompt(prompt.ids);
  Alone result;
  while (reply.wants_token()) {
    const int32_t token = reply.next(session.logits()).value();
    result.tokens.push_back(token_event(session.logits(), token, 5, tokenizer));
    if (!reply.stopped() && session.length() >= session.context()) reply.stop(StopReason::context);
    std::vector<int32_t> tokens{token};
    for (const int32_t forced : reply.take_forced(forced_tokens_max)) tokens.push_back(forced);
    if (reply.wants_token()) REQUIRE(session.append(tokens).has_value());
  }
  reply.finish();
  result.reply_ids = reply.usage().reply_ids;
  result.reason = reply.usage().reason;
  return result;
}

inline bool same(const TokenProbability& a, const TokenProbability& b) {
  return a.token == b.token && a.bytes == b.bytes && a.log_probability == b.log_probability;
}

// Whether the client was given exactly this, or the beginning of it; the request had top_logprobs = 5.
inline bool same_bits(const Client& client, const Alone& expected, bool beginning = false) {
  size_t count = 0;
  for (const GenerateEvent& event : client.events())
    if (const auto* token = std::get_if<TokenEvent>(&event)) {
      if (count >= expected.tokens.size()) return false;
      const TokenEvent& other = expected.tokens[count++];
      if (!same(token->chosen, other.chosen) || token->best.size() != other.best.size()) return false;
      for (size_t i = 0; i < token->best.size(); ++i)
        if (!same(token->best[i], other.best[i])) return false;
    }
  const auto* usage = client.find<UsageEvent>();
  return beginning || (count == expected.tokens.size() && usage != nullptr && usage->reason == expected.reason &&
                       usage->reply_ids == expected.reply_ids);
}

inline ServiceOptions spark_options() {
  ServiceOptions options;
  options.models = {{"", "models/spark", ""}};
  options.context = 2048;
  options.threads = 2;
  options.prefix_cache_bytes = 64 << 20;
  return options;
}

inline std::unique_ptr<Service> start(ServiceOptions options) {
  auto service = Service::start(std::move(options));
  REQUIRE_MESSAGE(service.has_value(), (service ? "" : service.error().text()));
  return std::move(*service);
}

}  // namespace lapidary::service_test
