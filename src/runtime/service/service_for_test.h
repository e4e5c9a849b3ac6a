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
#include "chat/turn.h"
#include "service/service.h"

namespace lapidary::service_test {

// Everything that a request's sink was given.
class Client {
 public:
  GenerateSink sink() {
    return [this](GenerateEvent&& event) {
      const std::scoped_lock lock(mutex_);
      CHECK_FALSE(ended_);
      ended_ = std::holds_alternative<UsageEvent>(event) || std::holds_alternative<Error>(event);
      events_.push_back(std::move(event));
      changed_.notify_all();
    };
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
  }
  template <typename Condition>
  void wait_for(const Condition& condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || condition(events_); });
  }
  template <typename Event>
  const Event* find() const {
    for (const GenerateEvent& event : events_)
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
    for (const GenerateEvent& event : events_)
      if (const auto* delta = std::get_if<TextDelta>(&event)) all += delta->text;
    return all;
  }
  const std::vector<GenerateEvent>& events() const { return events_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GenerateEvent> events_;
  bool ended_ = false;
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
