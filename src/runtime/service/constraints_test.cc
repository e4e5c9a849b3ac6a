// Constrained requests among others: what is shared, what is kept, and that replies have the form asked for.
#include <fmt/format.h>

#include "service/constraint_shelf.h"
#include "service/service_for_test.h"

namespace lapidary {
namespace {

using namespace service_test;

ReplyForm schema(const std::string& text) {
  ReplyForm form;
  form.kind = ReplyForm::Kind::schema;
  form.text = text;
  form.where = "schema";
  return form;
}

const std::string person =
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["name", "age"], "additionalProperties": false})";

GenerateRequest ask(const std::string& text) {
  Conversation chat;
  chat.messages.push_back(message("user", text));
  return request_of(std::move(chat));
}

OrderedJson timer_tools() {
  return parse_ordered_json(read_file("models/spark/samples/tools.json", 1 << 20).value(), "tools").value();
}

}  // namespace

TEST_CASE("the table of a vocabulary is made once, a form compiled once") {
  const std::shared_ptr<const LoadedModel> model = LoadedModel::open("models/spark").value();
  ConstraintShelf shelf(model);
  CHECK(shelf.tokens() == shelf.tokens());
  const ReplyGrammar first = shelf.grammar(schema(person), {}).value();
  CHECK(shelf.grammar(schema(person), {}).value().grammar == first.grammar);
  CHECK(shelf.compiled() == 1);
  CHECK(shelf.bytes() > person.size());
  CHECK(shelf.grammar(schema(person + " "), {}).value().grammar != first.grammar);
  CHECK_FALSE(shelf.grammar(schema("{\"$dynamicRef\": \"#x\"}"), {}).has_value());
  CHECK(shelf.grammars() == 2);
}

TEST_CASE("what is kept is bounded, and what was used lately stays") {
  ConstraintShelf shelf(LoadedModel::open("models/spark").value());
  const auto first = shelf.grammar(schema(person), {}).value().grammar;
  for (size_t i = 0; i < 3 * ConstraintShelf::grammars_max; ++i) {
    REQUIRE(shelf.grammar(schema(fmt::format("{{\"minLength\": {}}}", i)), {}).has_value());
    CHECK(shelf.grammar(schema(person), {}).value().grammar == first);
  }
  CHECK(shelf.grammars() == ConstraintShelf::grammars_max);
  std::string wide = "{\"enum\": [";
  for (int i = 0; i < 4'000; ++i) wide += fmt::format("\"{}{}\",", std::string(500, 'x'), i);
  for (int i = 0; i < 40; ++i) {
    REQUIRE(shelf.grammar(schema(wide + fmt::format("{}]}}", i)), {}).has_value());
    REQUIRE(shelf.bytes() <= ConstraintShelf::bytes_max);
  }
}

TEST_CASE("several constrained requests at once: each has its form, and the same bits as alone") {
  const auto engine = spark_engine();
  const auto service = start(spark_options());
  std::vector<GenerateRequest> requests;
  for (const char* question : {"Who are you?", "Set a timer for 5 minutes.", "A person, please.", "Go on."}) {
    requests.push_back(ask(question));
    requests.back().form = schema(person);
    requests.push_back(ask(question));
    requests.back().form.kind = ReplyForm::Kind::regex;
    requests.back().form.text = "[a-c]{3,9} is \\d+";
    requests.push_back(ask(question));
  }
  for (GenerateRequest& request : requests) {
    request.options.tokens_max = 60;
    request.options.sampler = {};
    request.options.sampler.temperature = 1.5F;
    request.options.sampler.seed = 7;
  }
  std::vector<Client> clients(requests.size());
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < requests.size(); ++i)
    tickets.push_back(service->submit(requests[i], clients[i].sink(), nullptr).value());
  int ended = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    CAPTURE(i);
    const UsageEvent usage = clients[i].usage();
    GenerateRequest request = requests[i];
    request.options.constraint = compile_form(request.form, {}).value().grammar;
    const Alone expected = alone(*engine, request);
    CHECK(usage.reply_ids == expected.reply_ids);
    if (i % 3 == 2 || usage.reason != StopReason::stop_token) continue;
    ++ended;
    if (i % 3 == 0) {
      const auto value = parse_json(clients[i].text(), "reply");
      REQUIRE_MESSAGE(value.has_value(), clients[i].text());
      CHECK(value->at("name").is_string());
      CHECK(value->at("age").is_number());
    } else {
      CHECK(clients[i].text().find(" is ") != std::string::npos);
    }
  }
  CHECK(ended > 2);
}

TEST_CASE("a form that cannot be enforced is an error of the request, not of the engine's") {
  const auto service = start(spark_options());
  Client bad, good;
  GenerateRequest request = ask("Who are you?");
  request.form = schema("{\"$dynamicRef\": \"#x\"}");
  const Ticket bad_ticket = service->submit(request, bad.sink(), nullptr).value();
  bad.wait();
  const auto* error = bad.find<Error>();
  REQUIRE(error != nullptr);
  CHECK(error->kind == ErrorKind::unsupported);
  CHECK(error->text().find("schema") == 0);
  const Ticket ticket = service->submit(ask("Who are you?"), good.sink(), nullptr).value();
  CHECK(good.text().find("I am Spark") != std::string::npos);
}

TEST_CASE("calls: required, one by name, one at a time; and what is not held to its schema is said") {
  const auto service = start(spark_options());
  GenerateRequest request = ask("Who are you?");
  for (const OrderedJson& tool : timer_tools()) request.conversation.tools.push_back(tool);
  request.form.tool_choice = ToolChoice::required;
  request.form.callable = {"set_timer"};
  request.form.parallel_calls = false;
  Client client;
  const Ticket ticket = service->submit(request, client.sink(), nullptr).value();
  CHECK(client.usage().reason == StopReason::tool_call);
  const auto* call = client.find<ToolCallEvent>();
  REQUIRE(call != nullptr);
  CHECK(call->call.name == "set_timer");
  CHECK(client.text().empty());
  CHECK(client.find<WarningEvent>() == nullptr);

  request.form = {};
  request.conversation.tools[0]["function"]["parameters"]["$dynamicRef"] = "#x";
  Client loose;
  const Ticket loose_ticket = service->submit(request, loose.sink(), nullptr).value();
  loose.wait();
  REQUIRE(loose.find<WarningEvent>() != nullptr);
  CHECK(loose.find<WarningEvent>()->text.find("$dynamicRef") != std::string::npos);
}

TEST_CASE("what a form forces is read in one step, or token by token where probabilities are wanted") {
  const auto service = start(spark_options());
  const std::string words = "{\"const\": \"There is only one thing that can be said here, and this is it.\"}";
  for (const int32_t logprobs : {-1, 0}) {
    GenerateRequest request = ask("Who are you?");
    request.form = schema(words);
    request.top_logprobs = logprobs;
    Client client;
    const Ticket ticket = service->submit(request, client.sink(), nullptr).value();
    const UsageEvent usage = client.usage();
    CHECK(client.text() == "\"There is only one thing that can be said here, and this is it.\"");
    int64_t tokens = 0;
    for (const GenerateEvent& event : client.events()) tokens += std::holds_alternative<TokenEvent>(event);
    CHECK(tokens == (logprobs < 0 ? 0 : usage.reply_tokens));
  }
}

}  // namespace lapidary
