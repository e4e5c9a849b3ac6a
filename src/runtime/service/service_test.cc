// The service's contract, with Spark: answers, refusals, limits, cancelling, ending.
#include "service/service.h"

#include <doctest/doctest.h>

#include "service/service_for_test.h"

namespace lapidary {
namespace {

using namespace service_test;

GenerateRequest endless_request() {
  GenerateRequest request;
  request.text = "Once upon a time";
  request.options.raw = true;
  request.options.sampler.greedy = true;
  // No token may end it: only the context, or somebody who stops it.
  request.options.sampler.suppress = {1, 50, 106};
  return request;
}

}  // namespace

TEST_CASE("Spark's samples, submitted at once, are answered as the reference does") {
  const auto service = start(spark_options());
  const std::vector<Sample> all = samples();
  std::vector<Client> clients(all.size());
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < all.size(); ++i) {
    auto ticket = service->submit(all[i].request, clients[i].sink());
    REQUIRE(ticket.has_value());
    tickets.push_back(std::move(*ticket));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    CAPTURE(all[i].id);
    CHECK(clients[i].usage().reply_ids == all[i].reference_ids);
    CHECK(clients[i].usage().prompt_tokens == all[i].prompt_tokens);
    REQUIRE(clients[i].find<PromptEvent>() != nullptr);
    CHECK(clients[i].find<PromptEvent>()->tokens == all[i].prompt_tokens);
  }
  const ServiceState state = service->state();
  CHECK(state.requests == all.size());
  CHECK(state.running == 0);
  CHECK(state.waiting == 0);
}

TEST_CASE("names of models: alias, file name, default, unknown") {
  ServiceOptions options = spark_options();
  options.models[0].name = "small";
  {
    const auto service = start(options);
    for (const char* name : {"", "default", "small", "spark"}) CHECK(service->model(name).has_value());
    const auto unknown = service->model("gpt-4");
    REQUIRE_FALSE(unknown.has_value());
    CHECK(unknown.error().kind == ErrorKind::not_found);
    CHECK(unknown.error().message.find("small") != std::string::npos);
    GenerateRequest request = request_of(conversation(R"([{"role":"user","content":"Hello"}])"));
    request.model = "gpt-4";
    Client client;
    const auto refused = service->submit(std::move(request), client.sink());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::not_found);
    CHECK(client.events().empty());
    const ModelInfo info = *service->model("small");
    CHECK(info.name == "small");
    CHECK(info.is_default);
    CHECK(info.sees);
    CHECK(info.hears);
    CHECK(info.context == 2048);
    CHECK(info.context_trained == 8192);
    CHECK(info.modified_seconds > 1'600'000'000);
  }
  options.any_model = true;
  CHECK(start(options)->model("gpt-4").has_value());
}

TEST_CASE("a medium without bytes is refused: local paths never") {
  const auto service = start(spark_options());
  GenerateRequest request = request_of(conversation(
      R"([{"role":"user","content":[{"type":"image","path":"models/spark/samples/shapes.png"},{"type":"text","text":"What?"}]}])"));
  Client client;
  const auto ticket = service->submit(request, client.sink());
  REQUIRE(ticket.has_value());
  client.wait();
  REQUIRE(client.find<Error>() != nullptr);
  CHECK(client.find<Error>()->kind == ErrorKind::refused);
  CHECK_FALSE(service->prompt_ids(request).has_value());
}

TEST_CASE("a prompt longer than the context says how long it is; the oldest turns go if they may") {
  ServiceOptions options = spark_options();
  options.context = 256;
  const auto service = start(options);
  Conversation chat;
  chat.messages.push_back(message("system", "You are Spark."));
  for (int turn = 0; turn < 30; ++turn) {
    chat.messages.push_back(message("user", "Tell me about the number " + std::to_string(turn)));
    chat.messages.push_back(message("assistant", "It is a number."));
  }
  chat.messages.push_back(message("user", "Hello"));
  GenerateRequest request = request_of(chat);
  request.options.tokens_max = 16;
  Client refused;
  const auto one = service->submit(request, refused.sink());
  refused.wait();
  REQUIRE(refused.find<Error>() != nullptr);
  CHECK(refused.find<Error>()->kind == ErrorKind::limit);
  const auto ids = service->prompt_ids(request);
  REQUIRE(ids.has_value());
  CHECK(refused.find<Error>()->message.find(std::to_string(ids->size())) != std::string::npos);
  CHECK(refused.find<Error>()->message.find("256") != std::string::npos);

  request.drop_oldest_turns = true;
  Client answered;
  const auto two = service->submit(request, answered.sink());
  CHECK(answered.usage().prompt_tokens <= 256 - 16);
  REQUIRE(answered.find<TruncatedEvent>() != nullptr);
  CHECK(answered.find<TruncatedEvent>()->messages > 0);
  CHECK(answered.find<TruncatedEvent>()->messages % 2 == 0);
}

TEST_CASE("cancelling: while writing the reply is interrupted; destroying the ticket is enough") {
  const auto service = start(spark_options());
  Client client;
  {
    auto ticket = service->submit(endless_request(), client.sink());
    REQUIRE(ticket.has_value());
    client.wait_for([](const auto& events) { return events.size() > 10; });
  }
  CHECK(client.usage().reason == StopReason::interrupted);
  CHECK(client.usage().reply_tokens < 2000);
  CHECK(service->state().cancelled == 1);
}

TEST_CASE("the context ends a reply, and so does a deadline") {
  ServiceOptions options = spark_options();
  options.context = 128;
  {
    const auto service = start(options);
    Client client;
    const auto ticket = service->submit(endless_request(), client.sink());
    CHECK(client.usage().reason == StopReason::context);
    CHECK(client.usage().prompt_tokens + client.usage().reply_tokens == 129);  // the last token is not read again
  }
  options.context = 8192;
  const auto service = start(options);
  Client client;
  GenerateRequest request = endless_request();
  request.deadline_seconds = 0.2;
  const auto ticket = service->submit(request, client.sink());
  CHECK(client.usage().reason == StopReason::length);
  CHECK(client.usage().reply_tokens < 8000);
}

TEST_CASE("log probabilities: of the chosen token and the best, before the text they give") {
  const auto service = start(spark_options());
  GenerateRequest request = samples().front().request;
  request.top_logprobs = 3;
  Client client;
  const auto ticket = service->submit(request, client.sink());
  const UsageEvent& usage = client.usage();
  std::vector<int32_t> chosen;
  for (const GenerateEvent& event : client.events())
    if (const auto* token = std::get_if<TokenEvent>(&event)) {
      chosen.push_back(token->chosen.token);
      REQUIRE(token->best.size() == 3);
      CHECK(token->best[0].log_probability <= 0);
      CHECK(token->best[0].log_probability >= token->best[1].log_probability);
      CHECK(token->best[1].log_probability >= token->best[2].log_probability);
      CHECK(token->chosen.log_probability == token->best[0].log_probability);  // greedy
    }
  CHECK(chosen == usage.reply_ids);
}

TEST_CASE("the queue has an end, and says when to come again") {
  ServiceOptions options = spark_options();
  options.slots = 1;
  options.queue_max = 2;
  const auto service = start(options);
  Client running;
  auto ticket = service->submit(endless_request(), running.sink());
  running.wait_for([](const auto& events) { return events.size() > 3; });
  std::vector<Client> waiting(3);
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < 2; ++i) tickets.push_back(std::move(*service->submit(endless_request(), waiting[i].sink())));
  double retry = 0;
  const auto refused = service->submit(endless_request(), waiting[2].sink(), &retry);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::limit);
  CHECK(retry >= 1);
  CHECK(service->state().refused == 1);
  CHECK(service->state().waiting == 2);
  tickets.clear();
  ticket->cancel();
  for (size_t i = 0; i < 2; ++i) {
    waiting[i].wait();
    CHECK(waiting[i].find<Error>() != nullptr);
    CHECK(waiting[i].find<Error>()->kind == ErrorKind::cancelled);
  }
  running.wait();
}

TEST_CASE("draining ends what runs; ending the service gives every request its last event") {
  Client one, two, three;
  auto service = start(spark_options());
  const auto first = service->submit(endless_request(), one.sink());
  one.wait_for([](const auto& events) { return events.size() > 5; });
  service->drain(0.1);
  CHECK(one.usage().reason != StopReason::stop_token);
  CHECK_FALSE(service->submit(endless_request(), two.sink()).has_value());
  service = start(spark_options());
  const auto second = service->submit(endless_request(), two.sink());
  const auto third = service->submit(endless_request(), three.sink());
  service.reset();
  two.wait();
  three.wait();
}

TEST_CASE("tokens, text, and a prompt given as ids") {
  const auto service = start(spark_options());
  const auto ids = service->tokenize("", "Hello world", false);
  REQUIRE(ids.has_value());
  CHECK(*service->detokenize("", *ids) == "Hello world");
  const Sample sample = samples().front();
  CHECK(static_cast<int64_t>(service->prompt_ids(sample.request)->size()) == sample.prompt_tokens);
  CHECK(service->prompt_text(sample.request)->find("<|image|>") != std::string::npos);

  const std::string chat = R"([{"role":"user","content":"What is 2 plus 3?"}])";
  Client by_text, by_ids;
  const auto one = service->submit(request_of(conversation(chat)), by_text.sink());
  GenerateRequest request = request_of({});
  request.ids = *service->prompt_ids(request_of(conversation(chat)));
  const auto two = service->submit(request, by_ids.sink());
  CHECK(by_ids.usage().reply_ids == by_text.usage().reply_ids);
  request.ids.push_back(1'000'000);
  Client wrong;
  const auto three = service->submit(request, wrong.sink());
  wrong.wait();
  REQUIRE(wrong.find<Error>() != nullptr);
  CHECK(wrong.find<Error>()->kind == ErrorKind::wrong_use);
}

}  // namespace lapidary
