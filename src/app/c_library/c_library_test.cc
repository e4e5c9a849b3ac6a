// The C interface, from outside: linked against liblapidary.so alone, as any program is.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "c_library/failing_memory_for_test.h"
#include "lapidary.h"

extern "C" {
// header_test.c
size_t lapidary_test_size(int which);
lapidary_status lapidary_test_open(const char* path, int64_t context_tokens, lapidary_model** model);
}

namespace {

using Json = nlohmann::ordered_json;

const char* const spark = "models/spark";
const char* const babbler = "tests/golden/unified/model";  // random weights: talks until it is stopped
const char* const samples_folder = "models/spark/samples";

struct Close {
  void operator()(lapidary_model* model) const { CHECK(lapidary_model_close(model) == LAPIDARY_OK); }
  void operator()(lapidary_session* session) const { CHECK(lapidary_session_close(session) == LAPIDARY_OK); }
  void operator()(lapidary_generation* generation) const {
    CHECK(lapidary_generation_close(generation) == LAPIDARY_OK);
  }
};
template <typename Handle>
using Owned = std::unique_ptr<Handle, Close>;
using Model = Owned<lapidary_model>;
using Session = Owned<lapidary_session>;
using Generation = Owned<lapidary_generation>;

Model open_model(const char* path = spark, int64_t context_tokens = 2048) {
  lapidary_model* model = nullptr;
  REQUIRE_MESSAGE(lapidary_test_open(path, context_tokens, &model) == LAPIDARY_OK, lapidary_error_text());
  return Model(model);
}

Session open_session(const Model& model) {
  lapidary_session* session = nullptr;
  REQUIRE(lapidary_session_open(model.get(), &session) == LAPIDARY_OK);
  return Session(session);
}

lapidary_generation_options greedy(int64_t tokens_max = 256) {
  lapidary_generation_options options = {};
  options.struct_size = sizeof options;
  options.greedy = 1;
  options.reply_tokens_max = tokens_max;
  options.image_tokens = 70;
  return options;
}

Generation start(const Session& session, const lapidary_generation_options& options = greedy()) {
  lapidary_generation* generation = nullptr;
  REQUIRE_MESSAGE(lapidary_generation_start(session.get(), &options, &generation) == LAPIDARY_OK,
                  lapidary_error_text());
  return Generation(generation);
}

lapidary_status append(const Session& session, const std::string& text) {
  return lapidary_session_append_text(session.get(), text.data(), text.size(), LAPIDARY_TEXT_PLAIN);
}

Session asked(const Model& model, const std::string& question) {
  Session session = open_session(model);
  CHECK(lapidary_session_begin_turn(session.get(), "user") == LAPIDARY_OK);
  CHECK(append(session, question) == LAPIDARY_OK);
  return session;
}

// A text that the babbler goes on with.
Session babbling(const Model& model) {
  Session session = open_session(model);
  CHECK(append(session, "Once upon a time") == LAPIDARY_OK);
  return session;
}

std::string text_of(const Generation& generation) {
  REQUIRE_MESSAGE(lapidary_generation_wait(generation.get(), -1) == LAPIDARY_OK, lapidary_error_text());
  size_t bytes = 0;
  const char* text = lapidary_generation_text(generation.get(), &bytes);
  REQUIRE(text != nullptr);
  CHECK(std::strlen(text) == bytes);
  return text;
}

std::vector<int32_t> tokens_of(const Generation& generation) {
  REQUIRE_MESSAGE(lapidary_generation_wait(generation.get(), -1) == LAPIDARY_OK, lapidary_error_text());
  size_t count = 0;
  const int32_t* tokens = lapidary_generation_tokens(generation.get(), &count);
  return {tokens, tokens + count};
}

std::string file(const std::string& name) {
  std::ifstream in(std::string(samples_folder) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Json samples() { return Json::parse(file("samples.json"))["items"]; }

std::string chat_of(const Json& sample) {
  Json chat = {{"messages", sample["messages"]}};
  if (sample.contains("tools") && !sample["tools"].is_null()) chat["tools"] = sample["tools"];
  return chat.dump();
}

Session session_of(const Model& model, const Json& sample) {
  Session session = open_session(model);
  const std::string chat = chat_of(sample);
  REQUIRE_MESSAGE(lapidary_session_append_json(session.get(), chat.data(), chat.size(), samples_folder) == LAPIDARY_OK,
                  lapidary_error_text());
  return session;
}

// What a callback was given; `then` may answer it.
struct Listener {
  std::vector<lapidary_event_type> types;
  std::string text, message;
  lapidary_status status = LAPIDARY_OK;
  lapidary_stop_reason reason = -1;
  std::function<int32_t(const lapidary_event&)> then;
  std::atomic<bool> ended{false};

  static int32_t listen(void* user, const lapidary_event* event) {
    auto& self = *static_cast<Listener*>(user);
    self.types.push_back(event->type);
    if (event->type == LAPIDARY_EVENT_TEXT) self.text.append(event->text, event->text_bytes);
    if (event->type == LAPIDARY_EVENT_END) self.reason = event->stop_reason;
    if (event->type == LAPIDARY_EVENT_ERROR) {
      self.status = event->status;
      self.message = event->text;
    }
    const int32_t answer = self.then ? self.then(*event) : 0;
    if (event->type == LAPIDARY_EVENT_END || event->type == LAPIDARY_EVENT_ERROR) self.ended = true;
    return answer;
  }
  lapidary_generation_options options(int64_t tokens_max = 256) {
    lapidary_generation_options options = greedy(tokens_max);
    options.callback = listen;
    options.user = this;
    return options;
  }
};

bool says(const std::string& what) { return std::string(lapidary_error_text()).find(what) != std::string::npos; }

}  // namespace

TEST_CASE("C and C++ agree on the structs, and the version is the header's") {
  const size_t sizes[] = {sizeof(lapidary_model_options), sizeof(lapidary_model_info), sizeof(lapidary_event),
                          sizeof(lapidary_generation_options), sizeof(lapidary_probability)};
  for (int i = 0; i < 5; ++i) CHECK(lapidary_test_size(i) == sizes[i]);
  CHECK(lapidary_version() ==
        LAPIDARY_VERSION_MAJOR * 1000000 + LAPIDARY_VERSION_MINOR * 1000 + LAPIDARY_VERSION_PATCH);
  CHECK(std::string(lapidary_version_text()) == LAPIDARY_VERSION_STRING);
  CHECK(std::string(lapidary_status_name(LAPIDARY_OUT_OF_MEMORY)) == "out of memory");
  CHECK(std::string(lapidary_status_name(12345)) == "unknown");
}

TEST_CASE("every sample answers as the reference does") {
  const Model model = open_model();
  for (const Json& sample : samples()) {
    CAPTURE(sample["id"].get<std::string>());
    const Session session = session_of(model, sample);
    const lapidary_generation_options options = greedy();
    int64_t prompt_tokens = 0;
    REQUIRE(lapidary_session_count_tokens(session.get(), &options, &prompt_tokens) == LAPIDARY_OK);
    CHECK(prompt_tokens == sample["prompt_tokens"].get<int64_t>());
    const Generation generation = start(session, options);
    CHECK(tokens_of(generation) == sample["reference_ids"].get<std::vector<int32_t>>());
    CHECK(lapidary_generation_end(generation.get())->prompt_tokens == prompt_tokens);
  }
}

TEST_CASE("a turn made of pieces is the same as in JSON, from bytes and from files") {
  const Model model = open_model();
  const std::string picture = file("shapes.png");
  const std::string sound_path = std::string(samples_folder) + "/train.wav";
  {
    const Session session = open_session(model);
    CHECK(lapidary_session_begin_turn(session.get(), "user") == LAPIDARY_OK);
    CHECK(lapidary_session_append_image(session.get(), picture.data(), picture.size()) == LAPIDARY_OK);
    CHECK(append(session, "Describe ") == LAPIDARY_OK);
    CHECK(append(session, "the picture.") == LAPIDARY_OK);
    CHECK(tokens_of(start(session)) == samples()[0]["reference_ids"].get<std::vector<int32_t>>());
  }
  const Session session = asked(model, "Transcribe the audio.");
  CHECK(lapidary_session_append_audio_file(session.get(), sound_path.c_str()) == LAPIDARY_OK);
  CHECK(tokens_of(start(session)) == samples()[2]["reference_ids"].get<std::vector<int32_t>>());
}

TEST_CASE("a call, its result and the answer go through one session") {
  const Model model = open_model();
  const Json sample = samples()[7];
  const Session session = session_of(model, sample);
  Listener listener;
  std::string id, name, arguments;
  listener.then = [&](const lapidary_event& event) {
    if (event.type == LAPIDARY_EVENT_TOOL_CALL) id = event.id, name = event.name, arguments = event.text;
    return 0;
  };
  const Generation call = start(session, listener.options());
  REQUIRE(lapidary_generation_wait(call.get(), -1) == LAPIDARY_OK);
  CHECK(listener.reason == LAPIDARY_STOP_TOOL_CALL);
  CHECK(name == "get_weather");
  CHECK(Json::parse(arguments) == Json{{"city", "Oslo"}, {"day", "tomorrow"}});
  const Json message = Json::parse(lapidary_generation_message(call.get(), nullptr));
  CHECK(message["tool_calls"][0]["id"] == id);
  CHECK(message["tool_calls"][0]["function"]["arguments"] == Json::parse(arguments));

  const std::string result =
      Json{{{"role", "tool"}, {"tool_call_id", id}, {"content", samples()[8]["messages"][2]["content"]}}}.dump();
  REQUIRE_MESSAGE(
      lapidary_session_append_json(session.get(), result.c_str(), LAPIDARY_WHOLE_STRING, nullptr) == LAPIDARY_OK,
      lapidary_error_text());
  const Generation answer = start(session);
  CHECK(text_of(answer) == "Tomorrow it will be sunny and 4 degrees in Oslo.");
  CHECK(lapidary_generation_end(answer.get())->reused_tokens > 0);

  lapidary_generation_options none = greedy();
  none.tool_choice = "none";
  CHECK(lapidary_generation_wait(start(session_of(model, sample), none).get(), -1) == LAPIDARY_OK);
  none.tool_choice = "no_such_tool";
  lapidary_generation* refused = nullptr;
  CHECK(lapidary_generation_start(session_of(model, sample).get(), &none, &refused) == LAPIDARY_WRONG_USE);
}

TEST_CASE("a text goes on where it was left, token by token the same") {
  const Model model = open_model(babbler);
  const Session whole = babbling(model), parts = babbling(model);
  const std::vector<int32_t> all = tokens_of(start(whole, greedy(12)));
  REQUIRE(all.size() == 12);
  std::vector<int32_t> joined = tokens_of(start(parts, greedy(5)));
  const Generation rest = start(parts, greedy(7));
  for (const int32_t token : tokens_of(rest)) joined.push_back(token);
  CHECK(joined == all);
  CHECK(lapidary_generation_end(rest.get())->reused_tokens > 0);

  // Tokens, and names of special ones, may be given too.
  const Session tokens = open_session(model);
  CHECK(lapidary_session_append_text(tokens.get(), "<bos>", LAPIDARY_WHOLE_STRING, LAPIDARY_TEXT_SPECIAL) ==
        LAPIDARY_OK);
  int32_t ids[64];
  size_t count = 0;
  CHECK(lapidary_model_tokenize(model.get(), "Once upon a time", LAPIDARY_WHOLE_STRING, LAPIDARY_TEXT_PLAIN, ids, 64,
                                &count) == LAPIDARY_OK);
  CHECK(lapidary_session_append_tokens(tokens.get(), ids, count) == LAPIDARY_OK);
  CHECK(tokens_of(start(tokens, greedy(12))) == all);

  // A picture in it counts as many tokens as it fills.
  const std::string picture = file("shapes.png");
  int64_t before = 0, after = 0;
  CHECK(lapidary_session_count_tokens(tokens.get(), nullptr, &before) == LAPIDARY_OK);
  CHECK(lapidary_session_append_image(tokens.get(), picture.data(), picture.size()) == LAPIDARY_OK);
  lapidary_generation_options options = greedy(3);
  CHECK(lapidary_session_count_tokens(tokens.get(), &options, &after) == LAPIDARY_OK);
  CHECK(after > before + 20);
  CHECK(tokens_of(start(tokens, options)).size() == 3);
  const int32_t wrong = 1 << 30;
  CHECK(lapidary_session_append_tokens(tokens.get(), &wrong, 1) == LAPIDARY_OK);
  CHECK(lapidary_session_count_tokens(tokens.get(), nullptr, &after) == LAPIDARY_WRONG_USE);
}

TEST_CASE("events come in order, the last exactly once, by callback and by poll alike") {
  const Model model = open_model();
  Listener listener;
  const Session session = session_of(model, samples()[0]);
  CHECK(text_of(start(session, listener.options())) == listener.text);
  CHECK(listener.text == samples()[0]["reference"].get<std::string>());
  CHECK(listener.reason == LAPIDARY_STOP_TOKEN);
  CHECK(std::count(listener.types.begin(), listener.types.end(), LAPIDARY_EVENT_END) == 1);
  CHECK(listener.types.back() == LAPIDARY_EVENT_END);
  CHECK(listener.types.front() == LAPIDARY_EVENT_MEDIA);

  const Generation polled = start(session_of(model, samples()[0]));
  std::vector<lapidary_event_type> types;
  std::string text;
  const lapidary_event* event = nullptr;
  do {
    REQUIRE(lapidary_generation_next(polled.get(), -1, &event) == LAPIDARY_OK);
    REQUIRE(event != nullptr);
    CHECK(event->struct_size == sizeof(lapidary_event));
    if (event->type == LAPIDARY_EVENT_MEDIA) {
      CHECK(event->tokens == 64);
      CHECK(std::string(event->name) == "shapes.png");
    }
    if (event->type == LAPIDARY_EVENT_TEXT) text += event->text;
    if (event->type != LAPIDARY_EVENT_PROGRESS) types.push_back(event->type);
  } while (event->type != LAPIDARY_EVENT_END);
  CHECK(text == listener.text);
  std::erase(listener.types, LAPIDARY_EVENT_PROGRESS);
  CHECK(types == listener.types);
  CHECK(lapidary_generation_next(polled.get(), -1, &event) == LAPIDARY_OK);
  CHECK(event == nullptr);
}

TEST_CASE("probabilities: the chosen token's, and the best") {
  const Model model = open_model();
  lapidary_generation_options options = greedy();
  options.probabilities = 3;
  const Generation generation = start(asked(model, "Who are you?"), options);
  size_t events = 0;
  const lapidary_event* event = nullptr;
  do {
    REQUIRE(lapidary_generation_next(generation.get(), -1, &event) == LAPIDARY_OK);
    if (event->type != LAPIDARY_EVENT_TOKEN) continue;
    ++events;
    REQUIRE(event->probability_count == 4);
    CHECK(event->probabilities[0].token == event->probabilities[1].token);  // greedy
    CHECK(event->probabilities[1].log_probability >= event->probabilities[2].log_probability);
  } while (event->type != LAPIDARY_EVENT_END);
  CHECK(static_cast<int64_t>(events) == event->tokens);
}

TEST_CASE("several sessions at once answer as each alone") {
  const Model model = open_model();
  std::vector<Session> sessions;
  std::vector<Generation> generations;
  for (const Json& sample : samples()) {
    sessions.push_back(session_of(model, sample));
    generations.push_back(start(sessions.back()));
  }
  for (size_t i = 0; i < generations.size(); ++i)
    CHECK(tokens_of(generations[i]) == samples()[i]["reference_ids"].get<std::vector<int32_t>>());
}

TEST_CASE("a fork goes its own way from what was common") {
  const Model model = open_model();
  const Session session = asked(model, "Who are you?");
  lapidary_session* second = nullptr;
  REQUIRE(lapidary_session_fork(session.get(), &second) == LAPIDARY_OK);
  const Session fork(second);
  const std::string answer = text_of(start(session));
  const Generation again = start(fork);
  CHECK(text_of(again) == answer);
  CHECK(lapidary_generation_end(again.get())->reused_tokens > 0);
  int64_t first = 0, other = 0;
  CHECK(lapidary_session_begin_turn(fork.get(), "user") == LAPIDARY_OK);
  CHECK(append(fork, "Thanks") == LAPIDARY_OK);
  CHECK(lapidary_session_count_tokens(session.get(), nullptr, &first) == LAPIDARY_OK);
  CHECK(lapidary_session_count_tokens(fork.get(), nullptr, &other) == LAPIDARY_OK);
  CHECK(other > first);
}

TEST_CASE("constraints hold, and wrong ones are told at once") {
  const Model model = open_model();
  lapidary_generation_options options = greedy(200);
  options.constraint = LAPIDARY_CONSTRAINT_JSON_SCHEMA;
  options.constraint_text = R"({"type": "object", "properties": {"chairs": {"type": "integer", "maximum": 99}},
                                "required": ["chairs"], "additionalProperties": false})";
  const Json json = Json::parse(text_of(start(asked(model, "We need 8 chairs."), options)));
  CHECK(json["chairs"].is_number_integer());
  options.constraint = LAPIDARY_CONSTRAINT_REGEX;
  options.constraint_text = "(yes|no)";
  const std::string word = text_of(start(asked(model, "Is it late?"), options));
  CHECK((word == "yes" || word == "no"));
  options.constraint = LAPIDARY_CONSTRAINT_GBNF;
  options.constraint_text = "root ::= \"a\" \"b\"";
  CHECK(text_of(start(asked(model, "Is it late?"), options)) == "ab");
  options.constraint = LAPIDARY_CONSTRAINT_JSON_SCHEMA;
  options.constraint_text = "{\"type\": 7}";
  const Session session = asked(model, "Is it late?");
  lapidary_generation* generation = nullptr;
  CHECK(lapidary_generation_start(session.get(), &options, &generation) == LAPIDARY_REFUSED);
  CHECK(says("constraint_text"));
  options.constraint_text = nullptr;
  CHECK(lapidary_generation_start(session.get(), &options, &generation) == LAPIDARY_WRONG_USE);
  CHECK(text_of(start(session)) == text_of(start(asked(model, "Is it late?"))));  // and nothing has changed
}

TEST_CASE("cancelled from another thread, the reply so far stays and the session goes on") {
  const Model model = open_model(babbler);
  const Session session = babbling(model);
  Listener listener;
  std::atomic<bool> writes{false};
  listener.then = [&](const lapidary_event& event) {
    if (event.type == LAPIDARY_EVENT_TEXT) writes = true;
    return 0;
  };
  const Generation generation = start(session, listener.options(0));
  std::thread([&] {
    while (!writes) std::this_thread::yield();
    CHECK(lapidary_generation_cancel(generation.get()) == LAPIDARY_OK);
    CHECK(lapidary_generation_cancel(generation.get()) == LAPIDARY_OK);
  }).join();
  CHECK(lapidary_generation_wait(generation.get(), 60) == LAPIDARY_OK);
  CHECK(listener.reason == LAPIDARY_STOP_CANCELLED);
  const size_t written = tokens_of(generation).size();
  CHECK(written > 0);
  int64_t tokens = 0, before = 0;
  CHECK(lapidary_session_count_tokens(session.get(), nullptr, &tokens) == LAPIDARY_OK);
  CHECK(lapidary_session_count_tokens(babbling(model).get(), nullptr, &before) == LAPIDARY_OK);
  CHECK(tokens == before + static_cast<int64_t>(written));
  CHECK(tokens_of(start(session, greedy(3))).size() == 3);
}

TEST_CASE("a callback cancels by its answer, and by an exception") {
  const Model model = open_model(babbler);
  for (const bool throws : {false, true}) {
    Listener listener;
    listener.then = [&](const lapidary_event& event) -> int32_t {
      if (event.type != LAPIDARY_EVENT_TEXT) return 0;
      if (throws) throw std::runtime_error("of the caller's");
      return 1;
    };
    const Session session = babbling(model);
    const Generation generation = start(session, listener.options(0));
    CHECK(lapidary_generation_wait(generation.get(), 60) == LAPIDARY_OK);
    CHECK(listener.reason == LAPIDARY_STOP_CANCELLED);
  }
}

TEST_CASE("in a callback nothing may wait, and the next generation may start") {
  const Model model = open_model();
  const Session session = asked(model, "Who are you?"), other = asked(model, "Who are you?");
  lapidary_generation* next = nullptr;
  Listener listener, second;
  listener.then = [&](const lapidary_event& event) {
    const lapidary_event* fetched = nullptr;
    if (event.type == LAPIDARY_EVENT_TEXT) {
      CHECK(lapidary_model_close(model.get()) == LAPIDARY_WRONG_USE);
      lapidary_generation_options options = greedy();
      if (next == nullptr) CHECK(lapidary_generation_start(other.get(), &options, &next) == LAPIDARY_OK);
      CHECK(lapidary_generation_wait(next, -1) == LAPIDARY_WRONG_USE);
      CHECK(lapidary_generation_next(next, -1, &fetched) == LAPIDARY_WRONG_USE);
    }
    return 0;
  };
  const std::string text = text_of(start(session, listener.options()));
  const Generation started(next);
  CHECK(text_of(started) == text);
}

TEST_CASE("a generation closed in its own callback gives no further event") {
  const Model model = open_model(babbler);
  const Session session = babbling(model);
  lapidary_generation* generation = nullptr;
  std::atomic<bool> known{false}, closed{false};
  Listener listener;
  listener.then = [&](const lapidary_event& event) {
    CHECK_FALSE(closed);
    if (!known || event.type != LAPIDARY_EVENT_TEXT) return 0;
    closed = true;
    CHECK(lapidary_generation_close(generation) == LAPIDARY_OK);
    return 0;
  };
  const lapidary_generation_options options = listener.options(0);
  REQUIRE(lapidary_generation_start(session.get(), &options, &generation) == LAPIDARY_OK);
  known = true;
  while (!closed) std::this_thread::yield();
  // The session is free again within a step.
  lapidary_status status = LAPIDARY_WRONG_USE;
  for (int i = 0; i < 60'000 && status != LAPIDARY_OK; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    status = append(session, ".");
  }
  CHECK(status == LAPIDARY_OK);
  CHECK_FALSE(listener.ended);
}

TEST_CASE("what belongs together may be closed in any order") {
  lapidary_model* model = open_model(babbler).release();
  Session session = babbling(Model(model));  // the handle is gone here, and what is left says so
  int64_t tokens = 0;
  CHECK(lapidary_session_count_tokens(session.get(), nullptr, &tokens) == LAPIDARY_CANCELLED);
  lapidary_generation* refused = nullptr;
  CHECK(lapidary_generation_start(session.get(), nullptr, &refused) == LAPIDARY_CANCELLED);
  CHECK(append(session, "more") == LAPIDARY_OK);

  Model second = open_model(babbler);
  session = babbling(second);
  Generation generation = start(session, greedy(0));
  session.reset();
  const lapidary_event* event = nullptr;
  do REQUIRE(lapidary_generation_next(generation.get(), -1, &event) == LAPIDARY_OK);
  while (event->type != LAPIDARY_EVENT_TEXT);
  second.reset();
  CHECK(lapidary_generation_wait(generation.get(), 0) == LAPIDARY_OK);
  CHECK(lapidary_generation_end(generation.get())->stop_reason == LAPIDARY_STOP_CANCELLED);
  CHECK(tokens_of(generation).size() > 0);
}

TEST_CASE("failures say of what kind they are, and why, to the thread that they happened on") {
  lapidary_model* none = nullptr;
  CHECK(lapidary_model_open("no/such/model.gguf", nullptr, &none) == LAPIDARY_NOT_FOUND);
  CHECK(says("no/such/model.gguf"));
  std::thread([] { CHECK(std::string(lapidary_error_text()).empty()); }).join();
  CHECK(lapidary_model_open("CMakeLists.txt", nullptr, &none) == LAPIDARY_REFUSED);
  CHECK(lapidary_model_open(std::string(5000, 'x').c_str(), nullptr, &none) != LAPIDARY_OK);
  CHECK(std::strlen(lapidary_error_text()) == 2047);
  CHECK(none == nullptr);

  const Model model = open_model(spark, 256);
  Session session = asked(model, "Describe the picture.");
  CHECK(lapidary_session_append_image(session.get(), "not a picture", 13) == LAPIDARY_OK);
  const Generation damaged = start(session);
  CHECK(lapidary_generation_wait(damaged.get(), -1) == LAPIDARY_REFUSED);
  CHECK(lapidary_generation_text(damaged.get(), nullptr) == nullptr);
  CHECK(lapidary_generation_end(damaged.get())->status == LAPIDARY_REFUSED);
  std::string long_text;
  for (int i = 0; i < 300; ++i) long_text += "apples and chairs ";
  CHECK(lapidary_generation_wait(start(asked(model, long_text)).get(), -1) == LAPIDARY_LIMIT);
  CHECK(says("256"));
  CHECK(lapidary_session_append_image_file(session.get(), "no/such/picture.png") == LAPIDARY_NOT_FOUND);

  session = open_session(model);
  CHECK(lapidary_session_append_json(session.get(), "{", 1, nullptr) == LAPIDARY_REFUSED);
  const std::string chat = chat_of(samples()[0]);
  CHECK(lapidary_session_append_json(session.get(), chat.data(), chat.size(), nullptr) == LAPIDARY_REFUSED);
  CHECK(says("no folder was given"));
  CHECK(append(session, "a text") == LAPIDARY_OK);  // it is still empty, and may become one
  CHECK(lapidary_session_begin_turn(session.get(), "user") == LAPIDARY_WRONG_USE);
  session = asked(model, "Who are you?");
  CHECK(lapidary_session_begin_turn(session.get(), "nobody") == LAPIDARY_WRONG_USE);
  const int32_t token = 5;
  CHECK(lapidary_session_append_tokens(session.get(), &token, 1) == LAPIDARY_WRONG_USE);
  text_of(start(session));
  CHECK(append(session, "more") == LAPIDARY_WRONG_USE);  // no turn is open
  CHECK(lapidary_generation_wait(start(session_of(model, samples()[9])).get(), 0) == LAPIDARY_TIMEOUT);
}

TEST_CASE("a session that is being answered takes nothing") {
  const Model model = open_model(babbler);
  const Session session = babbling(model);
  const Generation generation = start(session, greedy(0));
  lapidary_generation* second = nullptr;
  lapidary_session* fork = nullptr;
  int64_t tokens = 0;
  CHECK(append(session, "more") == LAPIDARY_WRONG_USE);
  CHECK(says("running"));
  CHECK(lapidary_generation_start(session.get(), nullptr, &second) == LAPIDARY_WRONG_USE);
  CHECK(lapidary_session_fork(session.get(), &fork) == LAPIDARY_WRONG_USE);
  CHECK(lapidary_session_count_tokens(session.get(), nullptr, &tokens) == LAPIDARY_WRONG_USE);
}

template <size_t count>
static void check_wrong_use(const lapidary_status (&results)[count]) {
  for (size_t i = 0; i < count; ++i) {
    CAPTURE(i);
    CHECK(results[i] == LAPIDARY_WRONG_USE);
  }
}

TEST_CASE("NULL and impossible sizes are errors for a model") {
  const Model model = open_model();
  lapidary_model* m = nullptr;
  const lapidary_model_info* info = nullptr;
  int32_t token = 0;
  size_t size = 0;
  char text[8];
  const lapidary_status results[] = {
      lapidary_model_open(spark, nullptr, nullptr),
      lapidary_model_open("", nullptr, &m) == LAPIDARY_NOT_FOUND ? LAPIDARY_WRONG_USE : LAPIDARY_OK,
      lapidary_model_describe(nullptr, &info),
      lapidary_model_describe(model.get(), nullptr),
      lapidary_model_tokenize(nullptr, "a", 1, 0, &token, 1, &size),
      lapidary_model_tokenize(model.get(), nullptr, 1, 0, &token, 1, &size),
      lapidary_model_tokenize(model.get(), nullptr, LAPIDARY_WHOLE_STRING, 0, &token, 1, &size),
      lapidary_model_tokenize(model.get(), "a", LAPIDARY_WHOLE_STRING - 1, 0, &token, 1, &size),
      lapidary_model_tokenize(model.get(), "a", 1, 2, &token, 1, &size),
      lapidary_model_tokenize(model.get(), "a", 1, 0, nullptr, 1, &size),
      lapidary_model_tokenize(model.get(), "a", 1, 0, &token, 1, nullptr),
      lapidary_model_detokenize(nullptr, &token, 1, text, 8, &size),
      lapidary_model_detokenize(model.get(), nullptr, 1, text, 8, &size),
      lapidary_model_detokenize(model.get(), &token, 1, nullptr, 8, &size),
      lapidary_model_detokenize(model.get(), &token, 1, text, 8, nullptr)};
  check_wrong_use(results);
  CHECK(lapidary_model_close(nullptr) == LAPIDARY_OK);
}

TEST_CASE("NULL and impossible sizes are errors for sessions and generations") {
  const Model model = open_model();
  const Session session = asked(model, "Who are you?");
  lapidary_session* s = nullptr;
  lapidary_generation* g = nullptr;
  const lapidary_event* event = nullptr;
  int32_t token = 0;
  int64_t tokens = 0;
  const lapidary_status results[] = {lapidary_session_open(nullptr, &s),
                                     lapidary_session_open(model.get(), nullptr),
                                     lapidary_session_fork(nullptr, &s),
                                     lapidary_session_fork(session.get(), nullptr),
                                     lapidary_session_begin_turn(nullptr, "user"),
                                     lapidary_session_begin_turn(session.get(), nullptr),
                                     lapidary_session_append_json(nullptr, "[]", 2, nullptr),
                                     lapidary_session_append_json(session.get(), nullptr, 2, nullptr),
                                     lapidary_session_append_text(nullptr, "a", 1, 0),
                                     lapidary_session_append_text(session.get(), nullptr, 1, 0),
                                     lapidary_session_append_text(session.get(), "a", 1, 7),
                                     lapidary_session_append_tokens(nullptr, &token, 1),
                                     lapidary_session_append_tokens(session.get(), nullptr, 1),
                                     lapidary_session_append_tokens(session.get(), &token, SIZE_MAX),
                                     lapidary_session_append_image(nullptr, "a", 1),
                                     lapidary_session_append_image(session.get(), nullptr, 1),
                                     lapidary_session_append_image(session.get(), "a", 0),
                                     lapidary_session_append_audio(session.get(), "a", SIZE_MAX),
                                     lapidary_session_append_image_file(session.get(), nullptr),
                                     lapidary_session_append_audio_file(nullptr, "models/spark/samples/train.wav"),
                                     lapidary_session_count_tokens(nullptr, nullptr, &tokens),
                                     lapidary_session_count_tokens(session.get(), nullptr, nullptr),
                                     lapidary_session_count_tokens(open_session(model).get(), nullptr, &tokens),
                                     lapidary_generation_start(nullptr, nullptr, &g),
                                     lapidary_generation_start(session.get(), nullptr, nullptr),
                                     lapidary_generation_start(open_session(model).get(), nullptr, &g),
                                     lapidary_generation_cancel(nullptr),
                                     lapidary_generation_next(nullptr, 0, &event),
                                     lapidary_generation_wait(nullptr, 0)};
  check_wrong_use(results);
  CHECK(lapidary_generation_text(nullptr, nullptr) == nullptr);
  CHECK(lapidary_generation_message(nullptr, nullptr) == nullptr);
  CHECK(lapidary_generation_tokens(nullptr, nullptr) == nullptr);
  CHECK(lapidary_generation_end(nullptr) == nullptr);
  CHECK(lapidary_session_close(nullptr) == LAPIDARY_OK);
  CHECK(lapidary_generation_close(nullptr) == LAPIDARY_OK);
}

TEST_CASE("options out of range are errors") {
  const Model model = open_model();
  lapidary_generation* g = nullptr;
  const lapidary_event* event = nullptr;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Session asked_again = asked(model, "Who are you?");
  const Generation generation = start(asked_again);
  CHECK(lapidary_generation_wait(generation.get(), nan) == LAPIDARY_WRONG_USE);
  CHECK(lapidary_generation_next(generation.get(), nan, &event) == LAPIDARY_WRONG_USE);
  text_of(generation);

  const std::function<void(lapidary_generation_options&)> wrong[] = {[](auto& o) { o.reply_tokens_max = -1; },
                                                                     [](auto& o) { o.thinking_tokens_max = INT64_MIN; },
                                                                     [&](auto& o) { o.deadline_seconds = nan; },
                                                                     [](auto& o) { o.deadline_seconds = -1; },
                                                                     [](auto& o) { o.think = 2; },
                                                                     [](auto& o) { o.background = -1; },
                                                                     [](auto& o) { o.drop_oldest_turns = 3; },
                                                                     [](auto& o) { o.image_tokens = -1; },
                                                                     [](auto& o) { o.greedy = 9; },
                                                                     [](auto& o) { o.top_k = -2; },
                                                                     [&](auto& o) { o.temperature = nan; },
                                                                     [](auto& o) { o.temperature = -0.5; },
                                                                     [](auto& o) { o.top_p = 1.5; },
                                                                     [](auto& o) { o.min_p = -0.5; },
                                                                     [](auto& o) { o.probabilities = 21; },
                                                                     [](auto& o) { o.constraint = 4; },
                                                                     [](auto& o) { o.constraint = 1; },
                                                                     [](auto& o) { o.constraint_text = "{}"; },
                                                                     [](auto& o) { o.stop_string_count = 1; },
                                                                     [](auto& o) { o.tool_choice = "required"; }};
  for (size_t i = 0; i < std::size(wrong); ++i) {
    CAPTURE(i);
    lapidary_generation_options options = greedy();
    wrong[i](options);
    CHECK(lapidary_generation_start(asked_again.get(), &options, &g) == LAPIDARY_WRONG_USE);
  }
  CHECK(g == nullptr);
}

TEST_CASE("structs of other versions: smaller ones and unknown fields are refused, unknown zeros are not") {
  lapidary_model* opened = nullptr;
  struct {
    lapidary_model_options known;
    char newer[64];
  } options = {};
  for (const size_t size : {size_t{0}, size_t{1}, sizeof(size_t), sizeof options.known - 1, size_t{1} << 40}) {
    options.known.struct_size = size;
    CHECK(lapidary_model_open(spark, &options.known, &opened) == LAPIDARY_WRONG_USE);
  }
  options.known.struct_size = sizeof options;
  options.known.context_tokens = 512;
  options.newer[63] = 1;
  CHECK(lapidary_model_open(spark, &options.known, &opened) == LAPIDARY_UNSUPPORTED);
  CHECK(says("too old"));
  options.newer[63] = 0;
  REQUIRE(lapidary_model_open(spark, &options.known, &opened) == LAPIDARY_OK);
  const Model model(opened);
  const lapidary_model_info* info = nullptr;
  REQUIRE(lapidary_model_describe(model.get(), &info) == LAPIDARY_OK);
  CHECK(info->struct_size == sizeof *info);
  CHECK(info->context_tokens == 512);
  CHECK(std::string(info->name) == "spark");
  CHECK(info->sees + info->hears + info->chats + info->calls_tools == 4);
}

TEST_CASE("text becomes tokens and text again, into room that is too small as well") {
  const Model model = open_model();
  size_t count = 0, bytes = 0;
  const char* const text = "We need 8 chairs.";
  CHECK(lapidary_model_tokenize(model.get(), text, LAPIDARY_WHOLE_STRING, LAPIDARY_TEXT_PLAIN, nullptr, 0, &count) ==
        LAPIDARY_OK);
  REQUIRE(count > 3);
  std::vector<int32_t> ids(count, -7);
  size_t again = 0;
  CHECK(lapidary_model_tokenize(model.get(), text, std::strlen(text), LAPIDARY_TEXT_PLAIN, ids.data(), count - 1,
                                &again) == LAPIDARY_OK);
  CHECK(again == count);
  CHECK(ids.back() == -7);
  CHECK(lapidary_model_tokenize(model.get(), text, std::strlen(text), LAPIDARY_TEXT_PLAIN, ids.data(), count, &again) ==
        LAPIDARY_OK);
  char out[64];
  CHECK(lapidary_model_detokenize(model.get(), ids.data(), count, out, sizeof out, &bytes) == LAPIDARY_OK);
  CHECK(std::string(out) == text);
  CHECK(bytes == std::strlen(text));
  CHECK(lapidary_model_detokenize(model.get(), ids.data(), count, out, 5, &bytes) == LAPIDARY_OK);
  CHECK(std::string(out) == "We n");
}

TEST_CASE("wherever memory runs out, the call fails and nothing has changed") {
  const Model model = open_model();
  const std::string picture = file("shapes.png"), question = samples()[0]["messages"][0]["content"][1]["text"];
  const auto fails_cleanly = [](const std::string& what, const std::function<lapidary_status()>& call) {
    CAPTURE(what);
    for (int64_t left = 0;; left += 1 + left / 50) {
      lapidary_test::allocation_failed = false;
      lapidary_test::allocations_left = left;
      const lapidary_status status = call();
      lapidary_test::allocations_left = -1;
      if (!lapidary_test::allocation_failed) {
        CHECK(status == LAPIDARY_OK);
        CHECK(left > 0);
        return;
      }
      REQUIRE(status == LAPIDARY_OUT_OF_MEMORY);
    }
  };
  Session session;
  fails_cleanly("open", [&] {
    lapidary_session* opened = nullptr;
    const lapidary_status status = lapidary_session_open(model.get(), &opened);
    session.reset(opened);
    return status;
  });
  fails_cleanly("turn", [&] { return lapidary_session_begin_turn(session.get(), "user"); });
  fails_cleanly("image", [&] { return lapidary_session_append_image(session.get(), picture.data(), picture.size()); });
  fails_cleanly("text", [&] { return append(session, question); });
  Session fork;
  fails_cleanly("fork", [&] {
    lapidary_session* opened = nullptr;
    const lapidary_status status = lapidary_session_fork(session.get(), &opened);
    fork.reset(opened);
    return status;
  });
  lapidary_generation_options options = greedy();
  options.constraint = LAPIDARY_CONSTRAINT_REGEX;
  options.constraint_text = "A red [a-z ,0-9A-Z]*\\.";
  lapidary_generation* generation = nullptr;
  fails_cleanly("start", [&] { return lapidary_generation_start(session.get(), &options, &generation); });
  const std::vector<int32_t> reference = samples()[0]["reference_ids"].get<std::vector<int32_t>>();
  CHECK(text_of(Generation(generation)) == samples()[0]["reference"].get<std::string>());
  CHECK(tokens_of(start(fork)) == reference);
}
