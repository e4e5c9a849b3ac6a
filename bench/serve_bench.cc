// What HTTP and JSON cost a streamed token: a service that only plays tokens, a real server, a client on a socket.
//
//   serve_bench [TOKENS]
//
// "latency_us": from the moment that the service hands out a token until the client has read its chunk, one at a time.
// "throughput_us": of a token among many that are handed out at once: the work alone.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "serve/app.h"
#include "serve/fake_service_for_test.h"
#include "serve/keys.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

class Client {
 public:
  explicit Client(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) std::abort();
    const std::string body = R"({"messages":[{"role":"user","content":"?"}],"stream":true})";
    const std::string request = fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer "
        "0123456789abcdef\r\nContent-Length: {}\r\n\r\n{}",
        port, body.size(), body);
    if (::send(socket_, request.data(), request.size(), 0) != static_cast<ssize_t>(request.size())) std::abort();
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Reads until `count` more events are there, or the stream's end.
  bool read_events(int64_t count) {
    while (count > 0) {
      const ssize_t got = ::recv(socket_, block_, sizeof(block_), 0);
      if (got <= 0) return false;
      const std::string_view text(block_, static_cast<size_t>(got));
      for (size_t at = text.find("data: "); at != std::string_view::npos; at = text.find("data: ", at + 1)) --count;
      if (text.find("[DONE]") != std::string_view::npos) return false;
    }
    return true;
  }

 private:
  int socket_;
  char block_[1 << 16];
};

struct Figures {
  double latency_median_us = 0, latency_p99_us = 0, throughput_us = 0;
};

Figures measure(int64_t tokens) {
  serve_test::FakeService service;
  KeyStore keys({Key{"bench", "0123456789abcdef", Scope::infer, false}});
  GenerateSink sink;
  std::atomic<bool> submitted{false};
  service.script = [&](const GenerateRequest&, const GenerateSink& given) {
    sink = given;
    submitted = true;
  };
  ServeAppOptions options;
  options.port = 0;
  options.limits.queued_bytes_max = 1 << 30;
  auto app = ServeApp::start(options, service, keys);
  if (!app) std::abort();
  std::thread loop([&] { (*app)->run(false); });
  Figures figures;
  {
    Client client((*app)->port());
    while (!submitted) std::this_thread::yield();
    sink(PromptEvent{1, 0, 0});
    client.read_events(1);
    std::vector<double> latencies;
    for (int64_t i = 0; i < tokens; ++i) {
      const auto begin = Clock::now();
      sink(TextDelta{" token"});
      if (!client.read_events(1)) std::abort();
      latencies.push_back(microseconds(Clock::now() - begin));
    }
    std::ranges::sort(latencies);
    figures.latency_median_us = latencies[latencies.size() / 2];
    figures.latency_p99_us = latencies[latencies.size() * 99 / 100];
    const auto begin = Clock::now();
    for (int64_t i = 0; i < tokens; ++i) sink(TextDelta{" token"});
    sink(UsageEvent{});
    while (client.read_events(tokens)) {
    }
    figures.throughput_us = microseconds(Clock::now() - begin) / static_cast<double>(tokens);
  }
  (*app)->stop();
  loop.join();
  sink = nullptr;
  return figures;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  const int64_t tokens = argc > 1 ? std::atoll(argv[1]) : 5000;
  if (tokens < 1) return 2;
  const auto figures = lapidary::measure(tokens);
  fmt::print("{{\"tokens\": {}, \"latency_us\": {{\"median\": {:.1f}, \"p99\": {:.1f}}}, \"throughput_us\": {:.1f}}}\n",
             tokens, figures.latency_median_us, figures.latency_p99_us, figures.throughput_us);
}
