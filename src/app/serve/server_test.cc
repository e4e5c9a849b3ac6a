// Clients that leave, do not read, or do not stop.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <random>
#include <thread>

#include "serve/running_server_for_test.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Client {
  asio::io_context context;
  tcp::socket socket{context};
  explicit Client(uint16_t port) { socket.connect({asio::ip::address_v4::loopback(), port}); }
  void send(const std::string& bytes) { asio::write(socket, asio::buffer(bytes)); }
  std::string read_some() {
    std::string bytes(4096, '\0');
    boost::system::error_code error;
    bytes.resize(socket.read_some(asio::buffer(bytes), error));
    return bytes;
  }
};

}  // namespace

TEST_CASE("whoever leaves, at whatever byte, ends the work") {
  Running server;
  std::mt19937 random(1);
  const std::string whole = server.request(true);
  int complete = 0;
  for (int i = 0; i < 300; ++i) {
    Client client(server.app->port());
    const size_t bytes = i % 3 == 0 ? whole.size() : random() % (whole.size() + 1);
    complete += bytes == whole.size();
    client.send(whole.substr(0, bytes));
    if (i % 2 == 0) client.socket.shutdown(tcp::socket::shutdown_send);
    if (i % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (i % 7 == 0) client.socket.set_option(asio::socket_base::linger(true, 0));
  }
  // A request that was reset before the server read it may never have been one; every one that was, was cancelled.
  CHECK(soon(
      [&] { return server.service.submitted > complete / 2 && server.service.cancelled == server.service.submitted; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(server.service.cancelled == server.service.submitted);
  CHECK(server.service.submitted <= complete);
}

TEST_CASE("who does not read is dropped, and nothing piles up") {
  HttpLimits limits;
  limits.queued_bytes_max = 64 << 10;
  Running server(limits);
  GenerateSink sink;
  std::atomic<bool> ready{false};
  server.service.script = [&](GenerateSink given) {
    sink = std::move(given);
    ready = true;
  };
  Client client(server.app->port());
  client.send(server.request(true));
  REQUIRE(soon([&] { return ready.load(); }));
  const std::string text(1000, 'a');
  for (int i = 0; i < 100'000 && server.service.cancelled == 0; ++i) {
    sink(TextDelta{text});
    if (i % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(soon([&] { return server.service.cancelled == 1; }));
  sink = nullptr;
}

TEST_CASE("too many connections push out the one that waits longest, not one that works") {
  HttpLimits limits;
  limits.connections_max = 8;
  Running server(limits);
  Client busy(server.app->port());
  busy.send(server.request(true));
  REQUIRE(soon([&] { return server.service.submitted == 1; }));
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 40; ++i) idle.push_back(std::make_unique<Client>(server.app->port()));
  Client last(server.app->port());
  last.send(fmt::format("GET /health HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", server.app->port()));
  CHECK(last.read_some().starts_with("HTTP/1.1 200"));
  CHECK(idle.front()->read_some().empty());
  CHECK(server.service.cancelled == 0);
}

TEST_CASE("requests that follow each other on one connection are answered in order") {
  Running server;
  server.service.script = [](const GenerateSink& sink) {
    sink(TextDelta{"hello"});
    sink(UsageEvent{});
  };
  Client client(server.app->port());
  client.send(server.request(false) + server.request(true) +
              "GET /health HTTP/1.0\r\nHost: 127.0.0.1:" + std::to_string(server.app->port()) + "\r\n\r\n");
  std::string all;
  for (std::string part = client.read_some(); !part.empty(); part = client.read_some()) all += part;
  CHECK(all.find("\"content\":\"hello\"") < all.find("[DONE]"));
  CHECK(all.find("[DONE]") < all.find("\"status\":\"ok\""));
  CHECK(server.service.cancelled == 2);  // a ticket goes when its request has ended
}

TEST_CASE("a body is asked for once its head is let in") {
  Running server;
  Client client(server.app->port());
  const std::string head =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.app->port()) +
      "\r\nContent-Length: 2\r\nExpect: 100-continue\r\n";
  client.send(head + "x-api-key: 0123456789abcdef\r\n\r\n");
  CHECK(client.read_some().starts_with("HTTP/1.1 100"));
  client.send("{}");
  CHECK(client.read_some().starts_with("HTTP/1.1 400"));
  Client stranger(server.app->port());
  stranger.send(head + "\r\n");
  CHECK(stranger.read_some().starts_with("HTTP/1.1 401"));
}

}  // namespace lapidary
