// Many at once: every sequence's result is, to the last bit, what it would be alone, whoever comes and goes beside it.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "base/system.h"
#include "sanitized.h"
#include "service/service.h"
#include "service/service_for_test.h"

namespace lapidary {
namespace {

using namespace service_test;

void sleep_milliseconds(int64_t milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

GenerateRequest long_writing(int64_t tokens, const std::string& text = "Once upon a time") {
  GenerateRequest request;
  request.text = text;
  request.options.raw = true;
  request.options.tokens_max = tokens;
  request.options.sampler.greedy = true;
  request.options.sampler.suppress = {1, 50, 106};  // nothing ends it early
  request.top_logprobs = 5;
  return request;
}

GenerateRequest long_reading(size_t words, const std::string& word) {
  GenerateRequest request = long_writing(4, "");
  for (size_t i = 0; i < words; ++i) request.text += word + std::to_string(i) + " ";
  return request;
}

// Spark's samples and some long texts, read and written.
std::vector<GenerateRequest> mixed_requests() {
  std::vector<GenerateRequest> requests;
  for (Sample& sample : samples()) requests.push_back(std::move(sample.request));
  for (size_t i = 0; i < 3; ++i) requests.push_back(long_reading(150 + 50 * i, "word" + std::to_string(i)));
  for (int64_t i = 0; i < 3; ++i) requests.push_back(long_writing(40 + 60 * i, "Number " + std::to_string(i)));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].top_logprobs = 5;
    if (i % 2 == 1) {
      requests[i].options.sampler.greedy = false;
      requests[i].options.sampler.seed = i;
    }
    if (i % 3 == 1)
      requests[i].options.sampler.penalties = {.repeat = 1.1, .presence = 0.5, .last_n = 64, .prompt = i % 2 == 0};
  }
  return requests;
}

}  // namespace

TEST_CASE("staggered, of both classes, some stopped, with pictures and sounds: each as if it were alone") {
  const std::vector<GenerateRequest> requests = mixed_requests();
  std::vector<Alone> expected;
  {
    const auto engine = spark_engine();
    for (const GenerateRequest& request : requests) expected.push_back(alone(*engine, request));
  }
  ServiceOptions options = spark_options();
  options.slots = 3;
  options.queue_max = 1000;
  std::mt19937 random(20261124);
  for (const uint64_t cache : {1ULL, 64ULL << 20}) {  // hardly any prefix cache, and enough
    options.prefix_cache_bytes = cache;
    const auto service = start(options);
    constexpr size_t count = sanitized ? 20 : 60;
    std::vector<Client> clients(count);
    std::vector<Ticket> tickets;
    std::vector<size_t> which;
    std::vector<bool> stopped(count, false);
    for (size_t i = 0; i < count; ++i) {
      which.push_back(random() % requests.size());
      GenerateRequest request = requests[which[i]];
      request.request_class = random() % 2 == 0 ? RequestClass::interactive : RequestClass::background;
      tickets.push_back(std::move(*service->submit(std::move(request), clients[i].sink())));
      if (random() % 2 == 0) sleep_milliseconds(static_cast<int64_t>(random() % 20));
      if (random() % 5 == 0) {
        const size_t victim = random() % (i + 1);
        tickets[victim].cancel();
        stopped[victim] = true;
      }
    }
    size_t whole = 0;
    for (size_t i = 0; i < count; ++i) {
      clients[i].wait();
      CAPTURE(i);
      CAPTURE(which[i]);
      CHECK(same_bits(clients[i], expected[which[i]], stopped[i]));
      whole += clients[i].find<UsageEvent>() != nullptr;
    }
    const ServiceState state = service->state();
    fmt::print("{} requests, {} answered, {} pushed aside, {:.0f} % of prompt tokens reused\n", count, whole,
               state.preempted,
               100.0 * static_cast<double>(state.reused_tokens) /
                   static_cast<double>(std::max<uint64_t>(1, state.prompt_tokens)));
    CHECK(state.running == 0);
    CHECK(whole >= count / 2);
  }
}

TEST_CASE("an interactive request pushes a background one aside, which loses nothing") {
  const GenerateRequest background = [] {
    GenerateRequest request = long_writing(600);
    request.request_class = RequestClass::background;
    return request;
  }();
  const Sample question = samples().front();
  const Alone expected = alone(*spark_engine(), background);
  ServiceOptions options = spark_options();
  options.slots = 1;
  const auto service = start(options);
  Client writer;
  const auto one = service->submit(background, writer.sink());
  writer.wait_for([](const auto& events) { return events.size() > 50; });
  for (int i = 0; i < 3; ++i) {
    Client asker;
    const auto two = service->submit(question.request, asker.sink());
    CHECK(asker.usage().reply_ids == question.reference_ids);
    CHECK_FALSE(writer.ended());
  }
  CHECK(writer.usage().reply_tokens == 600);
  CHECK(same_bits(writer, expected));
  CHECK(service->state().preempted >= 1);
}

TEST_CASE("while the background reads and writes, a question is answered soon; what was read is not read twice") {
  ServiceOptions options = spark_options();
  options.context = 8192;
  const auto service = start(options);
  const auto ask = [&](size_t i) {
    GenerateRequest request = long_writing(8, "Question " + std::to_string(i) + ": how are you today?");
    Client client;
    const double begin = monotonic_seconds();
    double first = 0;
    auto ticket = service->submit(request, [&, sink = client.sink()](GenerateEvent&& event) {
      if (first == 0 && std::holds_alternative<TokenEvent>(event)) first = monotonic_seconds() - begin;
      sink(std::move(event));
    });
    client.wait();
    return first;
  };
  std::vector<double> idle, loaded;
  ask(0);
  for (size_t i = 1; i <= (sanitized ? 3 : 20); ++i) idle.push_back(ask(i));

  std::vector<Client> background(3);
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < background.size(); ++i) {
    GenerateRequest request =
        i == 0 ? long_reading(sanitized ? 150 : 800, "document") : long_writing(7000, "Story " + std::to_string(i));
    request.request_class = RequestClass::background;
    tickets.push_back(std::move(*service->submit(request, background[i].sink())));
  }
  background[2].wait_for([](const auto& events) { return events.size() > 10; });
  for (size_t i = 21; i <= (sanitized ? 25 : 60) && !background[1].ended(); ++i) {
    loaded.push_back(ask(i));
    sleep_milliseconds(5);
  }
  const bool all_the_time = !background[1].ended() && !background[2].ended();
  tickets.resize(1);
  const UsageEvent& read = background[0].usage();
  CHECK(read.prompt_tokens > (sanitized ? 1000 : 5000));
  CHECK(background[0].find<PromptEvent>()->reused < 10);
  if (!sanitized) CHECK(all_the_time);
  std::ranges::sort(idle);
  std::ranges::sort(loaded);
  fmt::print("first token of a question: idle median {:.1f} ms, loaded median {:.1f} ms, p95 {:.1f} ms\n",
             1e3 * idle[idle.size() / 2], 1e3 * loaded[loaded.size() / 2], 1e3 * loaded[loaded.size() * 95 / 100]);
  if (!sanitized) CHECK(loaded[loaded.size() / 2] < 0.1 + 4 * idle[idle.size() / 2]);
}

TEST_CASE("a request that is stopped while its prompt is read ends within a layer; what was read is kept") {
  ServiceOptions options = spark_options();
  options.context = 8192;
  const auto service = start(options);
  const GenerateRequest request = long_reading(sanitized ? 150 : 800, "document");
  Client client;
  auto ticket = service->submit(request, client.sink());
  client.wait_for([](const auto& events) {
    return std::ranges::any_of(events, [](const GenerateEvent& event) {
      const auto* progress = std::get_if<ProgressEvent>(&event);
      return progress != nullptr && progress->done > 300;
    });
  });
  const double begin = monotonic_seconds();
  ticket->cancel();
  client.wait();
  CHECK(monotonic_seconds() - begin < (sanitized ? 2.0 : 0.2));
  REQUIRE(client.find<Error>() != nullptr);
  CHECK(client.find<Error>()->kind == ErrorKind::cancelled);
  Client again;
  const auto second = service->submit(request, again.sink());
  CHECK(again.usage().reused_tokens > 300);
}

TEST_CASE("the same prompt several times at once is read once") {
  ServiceOptions options = spark_options();
  const auto service = start(options);
  const GenerateRequest request = long_reading(250, "shared");
  std::vector<Client> clients(4);
  std::vector<Ticket> tickets;
  for (Client& client : clients) tickets.push_back(std::move(*service->submit(request, client.sink())));
  int64_t computed = 0;
  for (Client& client : clients) computed += client.usage().prompt_tokens - client.usage().reused_tokens;
  CHECK(computed <= clients[0].usage().prompt_tokens + 3 * 64);
}

TEST_CASE("many clients on few slots: all are answered, none waits much longer than the others") {
  ServiceOptions options = spark_options();
  options.slots = 2;
  const auto service = start(options);
  constexpr size_t client_count = 16;
  std::vector<double> seconds(client_count);
  std::vector<std::thread> threads;
  for (size_t c = 0; c < client_count; ++c)
    threads.emplace_back([&, c] {
      const double begin = monotonic_seconds();
      for (size_t i = 0; i < 6; ++i) {
        Client client;
        GenerateRequest request = long_writing(8, fmt::format("Client {} asks {}", c, i));
        if (c % 4 == 3) request.request_class = RequestClass::background;
        const auto ticket = service->submit(request, client.sink());
        client.wait();
        if (client.find<UsageEvent>() == nullptr) seconds[c] = 1e9;
      }
      seconds[c] += monotonic_seconds() - begin;
    });
  for (std::thread& thread : threads) thread.join();
  std::vector<double> interactive;
  for (size_t c = 0; c < client_count; ++c) {
    CHECK(seconds[c] < 1e6);
    if (c % 4 != 3) interactive.push_back(seconds[c]);
  }
  std::ranges::sort(interactive);
  CHECK(interactive.back() < 2 * interactive[interactive.size() / 2]);
}

TEST_CASE("a background request grows old: then it comes before interactive ones that came later") {
  for (const double ageing : {0.05, 1000.0}) {
    ServiceOptions options = spark_options();
    options.slots = 1;
    options.ageing_seconds = ageing;
    const auto service = start(options);
    Client writer, waiter;
    std::vector<Client> others(4);
    std::vector<Ticket> tickets;
    tickets.push_back(std::move(*service->submit(long_writing(500), writer.sink())));
    GenerateRequest request = long_writing(5, "I can wait");
    request.request_class = RequestClass::background;
    tickets.push_back(std::move(*service->submit(request, waiter.sink())));
    for (Client& other : others) tickets.push_back(std::move(*service->submit(long_writing(100), other.sink())));
    writer.wait();
    waiter.wait();
    CHECK(others.back().ended() == (ageing > 1));
    others.back().wait();
  }
}

}  // namespace lapidary
