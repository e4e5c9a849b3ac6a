// A real server on a real port, with a service that plays a script.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "serve/app.h"
#include "serve/keys.h"

namespace lapidary {

// Counts what runs; replies come from `script`, on the submitting thread or later.
class CountingService final : public Service {
 public:
  std::atomic<int> submitted{0}, cancelled{0};
  std::function<void(GenerateSink)> script = [](const GenerateSink&) {};

  Result<Ticket> submit(GenerateRequest, GenerateSink sink, double*) override {
    ++submitted;
    script(std::move(sink));
    return Ticket([this] { ++cancelled; });
  }
  Result<std::vector<int32_t>> prompt_ids(const GenerateRequest&) override { return std::vector<int32_t>(); }
  Result<std::string> prompt_text(const GenerateRequest&) override { return ""; }
  Result<std::vector<int32_t>> tokenize(const std::string&, std::string_view, bool) override {
    return std::vector<int32_t>();
  }
  Result<std::string> detokenize(const std::string&, const std::vector<int32_t>&) override { return ""; }
  std::vector<ModelInfo> models() override { return {}; }
  Result<ModelInfo> model(const std::string&) override { return ModelInfo{}; }
  ServiceState state() override { return {}; }
  void drain(double) override {}
};

struct Running {
  CountingService service;
  KeyStore keys{{Key{"test", "0123456789abcdef", Scope::infer, false}}};
  std::unique_ptr<ServeApp> app;
  std::thread loop;

  explicit Running(HttpLimits limits = {}, std::shared_ptr<const TlsIdentity> tls = nullptr) {
    ServeAppOptions options;
    options.port = 0;
    options.limits = limits;
    options.tls = std::move(tls);
    auto started = ServeApp::start(options, service, keys);
    REQUIRE_MESSAGE(started.has_value(), (started ? "" : started.error().text()));
    app = std::move(*started);
    loop = std::thread([this] { app->run(false); });
  }
  ~Running() {
    app->stop();
    loop.join();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  std::string request(bool stream) const {
    const std::string body =
        fmt::format(R"({{"messages":[{{"role":"user","content":"?"}}],"stream":{}}})", stream ? "true" : "false");
    return fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nx-api-key: 0123456789abcdef\r\nContent-Length: "
        "{}\r\n\r\n{}",
        app->port(), body.size(), body);
  }
};

template <typename Condition>
bool soon(const Condition& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

}  // namespace lapidary
