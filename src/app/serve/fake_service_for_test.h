// A service that plays a script instead of running a model, and an exchange that takes down what it is given.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/http_message.h"
#include "service/service.h"

namespace lapidary::serve_test {

class FakeService final : public Service {
 public:
  // What submit() does with a request's sink, on the caller's thread.
  std::function<void(const GenerateRequest&, const GenerateSink&)> script;
  std::vector<GenerateRequest> requests;
  int cancelled = 0;
  bool full = false;

  Result<Ticket> submit(GenerateRequest request, GenerateSink sink, double* retry_after_seconds) override {
    if (full) {
      if (retry_after_seconds != nullptr) *retry_after_seconds = 7;
      return fail(ErrorKind::limit, "service", "busy");
    }
    requests.push_back(std::move(request));
    script(requests.back(), sink);
    return Ticket([this] { ++cancelled; });
  }
  Result<std::vector<int32_t>> prompt_ids(const GenerateRequest& request) override {
    return std::vector<int32_t>(10 * request.conversation.messages.size());
  }
  Result<std::string> prompt_text(const GenerateRequest&) override { return "prompt"; }
  Result<std::vector<int32_t>> tokenize(const std::string&, std::string_view text, bool) override {
    return std::vector<int32_t>(text.begin(), text.end());
  }
  Result<std::string> detokenize(const std::string&, const std::vector<int32_t>& ids) override {
    return std::string(ids.begin(), ids.end());
  }
  std::vector<ModelInfo> models() override { return {model("").value()}; }
  Result<ModelInfo> model(const std::string& name) override {
    if (!name.empty() && name != "fake")
      return fail(ErrorKind::not_found, "model", "no \"" + name + "\" here, but: fake");
    ModelInfo info;
    info.name = "fake";
    info.context = 1000;
    return info;
  }
  ServiceState state() override { return {}; }
  void drain(double) override {}
};

class FakeExchange final : public Exchange {
 public:
  explicit FakeExchange(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  // As the real one: once it is answered, or the client has gone, it lets go of whoever waited for that.
  void reply(HttpReply reply) override {
    answer = std::move(reply);
    gone_ = nullptr;
  }
  void begin_stream(HttpReply head) override { answer = std::move(head); }
  void send(std::string bytes) override { answer.body += bytes; }
  void end_stream() override {
    ended = true;
    gone_ = nullptr;
  }
  void on_gone(std::function<void()> gone) override { gone_ = std::move(gone); }
  void leave() {
    if (const auto gone = std::exchange(gone_, nullptr)) gone();
  }
  void post(std::function<void()> work) override { loop.push_back(std::move(work)); }
  void run() {
    while (!loop.empty()) {
      const auto work = std::move(loop.front());
      loop.pop_front();
      work();
    }
  }

  HttpReply answer;
  bool ended = false;
  std::deque<std::function<void()>> loop;

 private:
  HttpRequest request_;
  std::function<void()> gone_;
};

}  // namespace lapidary::serve_test
