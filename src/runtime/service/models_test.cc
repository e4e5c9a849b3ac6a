// Several models in one service: loaded on first use, leaving again, waiting for each other's memory.
#include <doctest/doctest.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "engine/memory_plan.h"
#include "service/service.h"
#include "service/service_for_test.h"

namespace lapidary {
namespace {

using namespace service_test;

// Spark under two names: two models, as far as the service can know.
ServiceOptions two_models() {
  ServiceOptions options = spark_options();
  options.models = {{"one", "models/spark", ""}, {"two", "models/spark", ""}};
  options.prefix_cache_bytes = 8 << 20;
  return options;
}

uint64_t bytes_of_one(const ServiceOptions& options) {
  const auto model = LoadedModel::open("models/spark").value();
  const KvType kv = select_kernels({}).value()->quantize_row == nullptr ? KvType::f32 : KvType::f16;
  const MemoryPlan plan = plan_memory(model->config(), model->file_bytes(), kv, options.context);
  return plan.weights_bytes + plan.working_bytes + options.prefix_cache_bytes +
         plan.kv_bytes * static_cast<uint64_t>(options.slots);
}

GenerateRequest ask(const std::string& model, const std::string& text, int64_t tokens) {
  GenerateRequest request;
  request.model = model;
  request.text = text;
  request.options.raw = true;
  request.options.tokens_max = tokens;
  request.options.sampler.greedy = true;
  request.options.sampler.suppress = {1, 50, 106};
  request.top_logprobs = 5;
  return request;
}

class Notices {
 public:
  std::function<void(const std::string&)> take() {
    return [this](const std::string& text) {
      const std::scoped_lock lock(mutex_);
      all_ += text + "\n";
    };
  }
  std::string all() {
    const std::scoped_lock lock(mutex_);
    return all_;
  }

 private:
  std::mutex mutex_;
  std::string all_;
};

void wait_until_left(Service& service, const std::string& model) {
  for (int i = 0; i < 500 && service.model(model)->loaded; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

}  // namespace

TEST_CASE("a model is loaded by its first request and leaves when it was not used for long enough") {
  ServiceOptions options = two_models();
  options.keep_alive_seconds = 100;
  Notices notices;
  options.notice = notices.take();
  const auto service = start(options);
  CHECK_FALSE(service->model("one")->loaded);
  Client client;
  GenerateRequest request = ask("one", "Hello", 3);
  request.keep_alive_seconds = 0.2;
  const auto ticket = service->submit(request, client.sink());
  client.usage();
  CHECK(service->model("one")->loaded);
  CHECK(service->model("one")->memory_bytes > 0);
  CHECK_FALSE(service->model("two")->loaded);
  wait_until_left(*service, "one");
  CHECK_FALSE(service->model("one")->loaded);
  CHECK(notices.all() == "one loaded\none left: it was not used\n");
  Client again;  // and it comes back, for as long as the service says
  const auto second = service->submit(ask("one", "Hello", 3), again.sink());
  CHECK(again.usage().reply_ids == client.usage().reply_ids);
  CHECK(service->model("one")->expires_seconds > 90);
}

TEST_CASE("both fit: both stay, and work side by side") {
  ServiceOptions options = two_models();
  options.memory_limit_bytes = 2 * bytes_of_one(options);
  const auto engine = spark_engine();
  const auto service = start(options);
  std::vector<Client> clients(8);
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < clients.size(); ++i)
    tickets.push_back(std::move(
        *service->submit(ask(i % 2 == 0 ? "one" : "two", "Text " + std::to_string(i), 30), clients[i].sink())));
  for (size_t i = 0; i < clients.size(); ++i) {
    clients[i].wait();
    CHECK(same_bits(clients[i], alone(*engine, ask("", "Text " + std::to_string(i), 30))));
  }
  CHECK(service->model("one")->loaded);
  CHECK(service->model("two")->loaded);
}

TEST_CASE("only one fits: a request for the other waits in line and breaks nothing; then the first model goes") {
  ServiceOptions options = two_models();
  options.memory_limit_bytes = bytes_of_one(options) * 3 / 2;
  options.slots = 2;
  Notices notices;
  options.notice = notices.take();
  const auto engine = spark_engine();
  const auto service = start(options);
  Client first, other, later, background;
  GenerateRequest aside = ask("one", "Background", 300);
  aside.request_class = RequestClass::background;
  const auto zero = service->submit(aside, background.sink());
  const auto one = service->submit(ask("one", "Long", 500), first.sink());
  first.wait_for([](const auto& events) { return events.size() > 20; });
  const auto two = service->submit(ask("two", "Short", 3), other.sink());
  const auto three = service->submit(ask("one", "Later", 3), later.sink());
  for (Client* client : {&first, &other, &later, &background}) client->wait();
  CHECK(same_bits(first, alone(*engine, ask("", "Long", 500))));
  CHECK(same_bits(background, alone(*engine, ask("", "Background", 300))));
  CHECK(same_bits(other, alone(*engine, ask("", "Short", 3))));
  CHECK(same_bits(later, alone(*engine, ask("", "Later", 3))));
  // Whether "Later" was read before "Short", and so came before it, is chance.
  CHECK(notices.all().starts_with("one loaded\none left: another model needs its memory\ntwo loaded\n"));
}

TEST_CASE("one that does not fit at all says what it needs") {
  ServiceOptions options = two_models();
  options.memory_limit_bytes = bytes_of_one(options) / 2;
  const auto service = start(options);
  Client client;
  const auto ticket = service->submit(ask("one", "Hello", 3), client.sink());
  client.wait();
  REQUIRE(client.find<Error>() != nullptr);
  CHECK(client.find<Error>()->kind == ErrorKind::out_of_memory);
  CHECK(client.find<Error>()->message.find("GB") != std::string::npos);
}

TEST_CASE("a context that nobody names is the largest that the memory bears for all slots") {
  ServiceOptions options = spark_options();
  options.context = 0;
  CHECK(start(options)->model("")->context == 8192);
  options.memory_limit_bytes = bytes_of_one(spark_options());
  const int64_t context = start(options)->model("")->context;
  CHECK(context >= 2048);
  CHECK(context < 8192);
}

TEST_CASE("what cannot be opened is an error at once; two models cannot have one name") {
  ServiceOptions options = spark_options();
  options.models.push_back({"", "models/nothing", ""});
  CHECK_FALSE(Service::start(options).has_value());
  options.models.back() = {"spark", "tests/golden/unified/model", ""};
  CHECK_FALSE(Service::start(options).has_value());
  options.models.clear();
  CHECK_FALSE(Service::start(options).has_value());
}

}  // namespace lapidary
