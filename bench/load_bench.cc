// A service under load, with a real model: how long a typed question waits, and what several streams give together.
//
//   load_bench MODEL [QUESTIONS] [TOKENS] [DOCUMENT] [PAUSE_MS]
//
// "idle" and "loaded": time to the first token of QUESTIONS questions of 64 tokens, alone and while a background prompt
// of DOCUMENT tokens is read and two background replies are written, PAUSE_MS after each other. "taken_up_ms" is the
// part of it until the engine has let go of what it was doing: the preemption. "background": what got on meanwhile;
// "lost" has to be 0. "streams": tokens/s of one reply of TOKENS tokens and of four together, while all are being
// written; twice in turn.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/system.h"
#include "service/service.h"

namespace lapidary {
namespace {

constexpr size_t question_tokens = 64;
constexpr int32_t stream_count = 4;

[[noreturn]] void end(const std::string& why) {
  fmt::print(stderr, "load_bench: {}\n", why);
  std::exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) end(result.error().text());
  return std::move(*result);
}

// When a request was taken up, and when each of its tokens came.
class Client {
 public:
  GenerateSink sink() {
    return [state = state_](GenerateEvent&& event) {
      const double now = monotonic_seconds();
      const std::scoped_lock lock(state->mutex);
      if (std::holds_alternative<ProgressEvent>(event) && state->taken_up == 0) state->taken_up = now;
      if (std::holds_alternative<TokenEvent>(event)) state->tokens.push_back(now);
      if (std::holds_alternative<UsageEvent>(event)) state->ended = true;
      if (const auto* error = std::get_if<Error>(&event)) {
        if (error->kind != ErrorKind::cancelled) end(error->text());
        state->ended = true;
      }
      state->changed.notify_all();
    };
  }
  void wait_for_tokens(size_t count) {
    wait([count](const State& state) { return state.tokens.size() >= count; });
  }
  void wait_until_taken_up() {
    wait([](const State& state) { return state.taken_up > 0; });
  }
  void wait_for_end() {
    wait([](const State&) { return false; });
  }
  double taken_up() const { return state_->taken_up; }
  const std::vector<double>& tokens() const { return state_->tokens; }  // after the end

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    double taken_up = 0;
    std::vector<double> tokens;
    bool ended = false;
  };
  template <typename Condition>
  void wait(const Condition& condition) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->ended || condition(*state_); });
  }
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// A prompt of exactly `count` tokens that begins like no other.
GenerateRequest prompt_of(Service& service, size_t count, int64_t tokens_max) {
  static int64_t number = 1000;
  std::string text = fmt::format("{}", number);
  GenerateRequest request;
  while (request.ids.size() < count) {
    for (size_t i = 0; i < count; ++i) text += fmt::format(" {}", (number + static_cast<int64_t>(i * i)) % 997);
    request.ids = value_of(service.tokenize("", text, false));
  }
  number += 7919;
  request.ids.resize(count);
  request.options.raw = true;
  request.options.tokens_max = tokens_max;
  request.options.sampler.greedy = true;
  request.options.sampler.suppress = {1, 50, 106};  // nothing ends it early
  request.top_logprobs = 0;
  return request;
}

struct Times {
  std::vector<double> first_token_ms, taken_up_ms;
};

void ask(Service& service, Times& times) {
  GenerateRequest request = prompt_of(service, question_tokens, 1);
  Client client;
  const double begin = monotonic_seconds();
  const Ticket ticket = value_of(service.submit(std::move(request), client.sink()));
  client.wait_for_end();
  times.taken_up_ms.push_back(1e3 * (client.taken_up() - begin));
  times.first_token_ms.push_back(1e3 * (client.tokens().at(0) - begin));
}

// Tokens read and written by the slots at work in the background: the document's, and the writers'.
std::vector<int64_t> background_progress(Service& service) {
  std::vector<int64_t> done;
  for (const auto& slot : service.state().slot_states)
    done.push_back(slot.busy && slot.request_class == RequestClass::background ? slot.prompt_done + slot.reply_tokens
                                                                               : 0);
  return done;
}

struct Loaded {
  Times times;
  int64_t gained = 0, lost = 0;
  bool all_the_time = false;
};

Loaded under_load(Service& service, int32_t questions, size_t document, std::chrono::milliseconds pause) {
  std::vector<Client> clients(3);
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < clients.size(); ++i) {
    GenerateRequest request = prompt_of(service, i < 2 ? 16 : document, i < 2 ? 100'000 : 1);
    request.request_class = RequestClass::background;
    tickets.push_back(value_of(service.submit(std::move(request), clients[i].sink())));
    if (i < 2) clients[i].wait_for_tokens(3);
  }
  clients[2].wait_until_taken_up();
  Loaded loaded;
  std::vector<int64_t> before = background_progress(service);
  for (int32_t i = 0; i < questions; ++i) {
    std::this_thread::sleep_for(pause);
    ask(service, loaded.times);
    const std::vector<int64_t> now = background_progress(service);
    for (size_t slot = 0; slot < now.size() && slot < before.size(); ++slot) {
      loaded.gained += std::max<int64_t>(0, now[slot] - before[slot]);
      loaded.lost += std::max<int64_t>(0, before[slot] - now[slot]);
    }
    before = now;
  }
  loaded.all_the_time = std::ranges::count_if(before, [](int64_t done) { return done > 0; }) == 3;
  return loaded;
}

// Tokens/s of all together, from the moment that all write until the first has ended.
double streams(Service& service, int32_t count, int64_t tokens) {
  std::vector<Client> clients(static_cast<size_t>(count));
  std::vector<Ticket> tickets;
  for (Client& client : clients)
    tickets.push_back(value_of(service.submit(prompt_of(service, 16, tokens), client.sink())));
  for (Client& client : clients) client.wait_for_end();
  double begin = 0, finish = 1e300;
  for (const Client& client : clients) {
    begin = std::max(begin, client.tokens().front());
    finish = std::min(finish, client.tokens().back());
  }
  int64_t between = 0;
  for (const Client& client : clients)
    between += std::ranges::count_if(client.tokens(), [&](double at) { return at > begin && at <= finish; });
  return static_cast<double>(between) / (finish - begin);
}

std::string summary(const std::vector<double>& values) {
  std::vector<double> sorted = values;
  std::ranges::sort(sorted);
  const auto at = [&](size_t percent) { return sorted[(sorted.size() * percent + 99) / 100 - 1]; };  // by nearest rank
  return fmt::format("{{\"median\": {:.1f}, \"p95\": {:.1f}, \"each\": [{:.0f}]}}", at(50), at(95),
                     fmt::join(values, ", "));
}

void print_times(const char* name, const Times& times) {
  fmt::print("\"{}\": {{\"first_token_ms\": {}, \"taken_up_ms\": {}}}, ", name, summary(times.first_token_ms),
             summary(times.taken_up_ms));
}

void measure(const std::string& model, int32_t questions, int64_t tokens, size_t document,
             std::chrono::milliseconds pause) {
  ServiceOptions options;
  options.models.push_back({"", model, ""});
  options.context = static_cast<int64_t>(document) + 4096;
  options.slots = stream_count;
  const auto service = value_of(Service::start(std::move(options)));
  Times warm, idle;
  ask(*service, warm);
  std::vector<double> one, four;
  for (int i = 0; i < 2; ++i) {
    one.push_back(streams(*service, 1, tokens));
    four.push_back(streams(*service, stream_count, tokens));
  }
  for (int32_t i = 0; i < questions; ++i) ask(*service, idle);
  const Loaded loaded = under_load(*service, questions, document, pause);
  fmt::print("{{\"questions\": {}, ", questions);
  print_times("idle", idle);
  print_times("loaded", loaded.times);
  fmt::print("\"background\": {{\"tokens\": {}, \"lost\": {}, \"all_the_time\": {}}}, ", loaded.gained, loaded.lost,
             loaded.all_the_time);
  fmt::print("\"streams\": {{\"one\": [{:.2f}, {:.2f}], \"four\": [{:.2f}, {:.2f}], \"ratio\": {:.2f}}}}}\n", one[0],
             one[1], four[0], four[1], (four[0] + four[1]) / (one[0] + one[1]));
  if (loaded.lost > 0) end("background work was lost");
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  const auto number = [&](int at, int64_t otherwise) { return argc > at ? std::atoll(argv[at]) : otherwise; };
  const int64_t questions = number(2, 20), tokens = number(3, 32), document = number(4, 4096), pause = number(5, 1000);
  if (argc < 2 || questions < 1 || tokens < 2 || document < 1 || pause < 0) {
    fmt::print(stderr, "usage: load_bench MODEL [QUESTIONS] [TOKENS] [DOCUMENT] [PAUSE_MS]\n");
    return 2;
  }
  lapidary::measure(argv[1], static_cast<int32_t>(questions), tokens, static_cast<size_t>(document),
                    std::chrono::milliseconds(pause));
}
