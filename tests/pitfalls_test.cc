// Pitfalls that implementers of this architecture have reported, as far as they concern the whole path from messages to
// answer. Rows that concern one part are tested beside that part, under the same names. (docs/pitfalls.md lists all
// rows and where they are tested.)
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "chat/turn.h"
#include "engine/engine.h"
#include "golden_case.h"

namespace lapidary {
namespace {

std::unique_ptr<Engine> engine_for(const std::string& path) {
  auto model = LoadedModel::open(path);
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().text()));
  EngineOptions options;
  options.threads = 2;
  return std::move(Engine::create(std::move(*model), options).value());
}

std::unique_ptr<Engine> spark() { return engine_for("models/spark"); }

TurnRequest request_of(const std::string& chat, Engine& engine) {
  TurnRequest request;
  auto conversation = parse_conversation(chat, "chat");
  REQUIRE_MESSAGE(conversation.has_value(), (conversation ? "" : conversation.error().text()));
  request.conversation = std::move(*conversation);
  request.media_folder = "models/spark/samples";
  request.options.sampler.greedy = true;
  request.options.sampler.suppress = engine.config().generation.suppress_tokens;
  request.options.tokens_max = 200;
  return request;
}

struct Told {
  std::vector<TurnEvent> events;
  template <typename T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const TurnEvent& event : events)
      if (const auto* one = std::get_if<T>(&event)) found.push_back(*one);
    return found;
  }
};

Message answer(Engine& engine, const TurnRequest& request, Told& told, int64_t context = 4096) {
  Session session(engine, context);
  auto reply = run_turn(session, engine, request, [&](const TurnEvent& event) { told.events.push_back(event); });
  REQUIRE_MESSAGE(reply.has_value(), (reply ? "" : reply.error().text()));
  return *reply;
}

std::string tools_json() { return read_file("models/spark/samples/tools.json", 1 << 20).value(); }

// 16-bit mono WAV at 16 kHz.
std::string write_wav(const std::string& name, int32_t samples) {
  const std::string path = (std::filesystem::temp_directory_path() / name).string();
  std::ofstream file(path, std::ios::binary);
  const auto put = [&](uint32_t value, int bytes) { file.write(reinterpret_cast<const char*>(&value), bytes); };
  const auto bytes = static_cast<uint32_t>(samples) * 2;
  file << "RIFF";
  put(36 + bytes, 4);
  file << "WAVEfmt ";
  put(16, 4), put(1, 2), put(1, 2), put(16000, 4), put(32000, 4), put(2, 2), put(16, 2);
  file << "data";
  put(bytes, 4);
  for (int32_t i = 0; i < samples; ++i) put(static_cast<uint32_t>(i * 37 % 2000), 2);
  return path;
}

}  // namespace

TEST_CASE("pitfall 2: sound beyond the trained 30 seconds is answered with a warning, not silently") {
  const auto engine = spark();
  for (const int32_t seconds : {29, 31}) {
    const std::string path = write_wav("lapidary-long.wav", seconds * 16000);
    const auto request =
        request_of(R"({"messages":[{"role":"user","content":[{"type":"audio","path":")" + path + R"("}]}]})", *engine);
    Told told;
    answer(*engine, request, told);
    std::filesystem::remove(path);
    REQUIRE(told.all<MediaEvent>().size() == 1);
    CHECK(told.all<MediaEvent>()[0].soft_tokens == seconds * 25);
    CHECK(told.all<MediaEvent>()[0].warning.empty() == (seconds <= 30));
  }
}

TEST_CASE("pitfall 14: nothing is forgotten around the sliding window, well beyond it") {
  const auto engine = spark();  // window 512
  for (const int64_t length : {511, 512, 513, 1030, 4200}) {
    CAPTURE(length);
    TokenizedPrompt prompt;
    for (int64_t i = 0; i < length; ++i) prompt.ids.push_back(static_cast<int32_t>(500 + i * 7 % 400));
    Session session(*engine, 8192);
    REQUIRE(session.set_prompt(prompt).has_value());
    const std::vector<float> whole(session.logits().begin(), session.logits().end());
    // One token at a time over the border gives the same bits as one long prompt.
    TokenizedPrompt begin = prompt;
    begin.ids.resize(static_cast<size_t>(length - 5));
    Session stepped(*engine, 8192);
    REQUIRE(stepped.set_prompt(begin).has_value());
    for (int64_t i = length - 5; i < length; ++i)
      REQUIRE(stepped.append(prompt.ids[static_cast<size_t>(i)]).has_value());
    CHECK(std::memcmp(stepped.logits().data(), whole.data(), whole.size() * sizeof(float)) == 0);
    // The full layer still sees the very first token.
    prompt.ids[0] = 999;
    Session other(*engine, 8192);
    REQUIRE(other.set_prompt(prompt).has_value());
    CHECK(std::memcmp(other.logits().data(), whole.data(), whole.size() * sizeof(float)) != 0);
  }
}

TEST_CASE("pitfall 20: as many soft tokens as placeholders, for every medium") {
  const auto engine = spark();
  Prompt prompt = prompt_from_text("<bos><|image|> and <|audio|> and <|image|>", engine->model().tokenizer());
  size_t at = 0;
  const char* files[] = {"shapes.png", "train.wav", "text.png"};
  for (PromptItem& item : prompt)
    if (item.kind == PromptItem::Kind::media) item.path = files[at++];
  REQUIRE(at == 3);
  const auto prepared = prepare_prompt(prompt, "models/spark/samples", *engine, 70, {});
  REQUIRE(prepared.has_value());
  REQUIRE(prepared->blocks.size() == 3);
  const SpecialTokens& tokens = engine->config().tokens;
  int64_t in_blocks = 0;
  for (const SoftBlock& block : prepared->blocks) {
    const int32_t soft = block.bidirectional ? tokens.image : tokens.audio;
    CHECK(static_cast<int64_t>(block.embeddings->size()) == block.count * engine->config().hidden);
    for (int64_t i = block.first; i < block.first + block.count; ++i)
      CHECK(prepared->ids[static_cast<size_t>(i)] == soft);
    CHECK(prepared->ids[static_cast<size_t>(block.first - 1)] ==
          (block.bidirectional ? tokens.image_begin : tokens.audio_begin));
    CHECK(prepared->ids[static_cast<size_t>(block.first + block.count)] ==
          (block.bidirectional ? tokens.image_end : tokens.audio_end));
    in_blocks += block.count;
  }
  int64_t placeholders = 0;
  for (const int32_t id : prepared->ids) placeholders += id == tokens.image || id == tokens.audio;
  CHECK(placeholders == in_blocks);
}

TEST_CASE("pitfalls 33 and 34: a medium is never dropped: it is used, or the request fails with its name") {
  const auto engine = spark();
  const auto missing =
      request_of(R"({"messages":[{"role":"user","content":[{"type":"image","path":"nowhere.png"}]}]})", *engine);
  Session session(*engine, 1024);
  const auto failed = run_turn(session, *engine, missing, [](const TurnEvent&) {});
  REQUIRE(!failed.has_value());
  CHECK(failed.error().text().find("nowhere.png") != std::string::npos);

  const auto blind = engine_for(golden::root() + "dense/model/gguf/model-q8_0.gguf");
  const auto picture =
      request_of(R"({"messages":[{"role":"user","content":[{"type":"image","path":"shapes.png"}]}]})", *blind);
  Session blind_session(*blind, 1024);
  const auto refused = run_turn(blind_session, *blind, picture, [](const TurnEvent&) {});
  REQUIRE(!refused.has_value());
  CHECK(refused.error().kind == ErrorKind::unsupported);
}

TEST_CASE("pitfall 28: generation stops after a tool call: every stop token of the file counts") {
  const auto engine = spark();
  const auto& stops = engine->config().generation.stop_tokens;
  CHECK(stops.size() == 3);
  const auto request = request_of(
      R"({"messages":[{"role":"user","content":"Start a timer for 19 seconds."}],"tools":)" + tools_json() + "}",
      *engine);
  Told told;
  const Message reply = answer(*engine, request, told);
  REQUIRE(reply.tool_calls.size() == 1);
  CHECK(reply.tool_calls[0].name == "set_timer");
  CHECK(reply.tool_calls[0].arguments == OrderedJson{{"amount", 19}, {"unit", "seconds"}});
  REQUIRE(told.all<UsageEvent>().size() == 1);
  CHECK(told.all<UsageEvent>()[0].reason == StopReason::tool_call);
  CHECK(std::find(stops.begin(), stops.end(), told.all<UsageEvent>()[0].reply_ids.back()) != stops.end());
}

TEST_CASE("pitfalls 36, 37 and 39: thinking is off unless asked for, and the answer is not empty") {
  const auto engine = spark();
  const auto request = request_of(
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"Transcribe the audio."},{"type":"audio","path":"train.wav"}]}]})",
      *engine);
  Told told;
  const Message reply = answer(*engine, request, told);
  CHECK(told.all<ThinkingDelta>().empty());
  CHECK(std::get<std::string>(reply.content) == "The train to Berlin leaves at four thirty.");
  for (const TextDelta& delta : told.all<TextDelta>()) CHECK(delta.text.find('<') == std::string::npos);
}

TEST_CASE("pitfall 40: an endless thought is closed at its limit, and the answer follows") {
  const auto engine =
      engine_for(golden::root() + "unified/model");  // random weights: it would never close a thought by itself
  auto request = request_of(
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}]},)"
      R"({"role":"tool","name":"f","content":"ok"}],"think":true})",
      *engine);
  request.options.thinking_tokens_max = 5;
  request.options.tokens_max = 12;
  const int32_t close = engine->model().tokenizer().find("<channel|>");
  request.options.sampler.suppress.push_back(close);
  for (const int32_t stop : engine->config().generation.stop_tokens) request.options.sampler.suppress.push_back(stop);
  Told told;
  const Message reply = answer(*engine, request, told);
  const UsageEvent usage = told.all<UsageEvent>().at(0);
  CHECK(usage.reply_ids.size() == 12);
  CHECK(usage.reply_ids[5] == close);
  CHECK(usage.thinking_tokens == 5);
  CHECK(!std::get<std::string>(reply.content).empty());
}

TEST_CASE("a context that is full ends the reply with its reason; a prompt that does not fit is refused") {
  const auto engine = engine_for(golden::root() + "unified/model");
  auto request = request_of(R"({"messages":[{"role":"user","content":"Hello"}]})", *engine);
  for (const int32_t stop : engine->config().generation.stop_tokens) request.options.sampler.suppress.push_back(stop);
  request.options.tokens_max = 0;
  Told told;
  answer(*engine, request, told, 40);
  CHECK(told.all<UsageEvent>().at(0).reason == StopReason::context);
  CHECK(told.all<UsageEvent>().at(0).prompt_tokens + told.all<UsageEvent>().at(0).reply_tokens == 41);
  Session tiny(*engine, 4);
  const auto refused = run_turn(tiny, *engine, request, [](const TurnEvent&) {});
  REQUIRE(!refused.has_value());
  CHECK(refused.error().kind == ErrorKind::limit);
}

TEST_CASE("stop strings and the same seed through a whole turn") {
  const auto engine = spark();
  auto request = request_of(
      R"({"messages":[{"role":"user","content":[{"type":"image","path":"shapes.png"},{"type":"text","text":"Describe the picture."}]}]})",
      *engine);
  request.options.image_tokens = 70;
  request.options.stop_strings = {" star on"};
  Told told;
  CHECK(std::get<std::string>(answer(*engine, request, told).content) == "A red circle at the top left, a blue");
  CHECK(told.all<UsageEvent>().at(0).reason == StopReason::stop_string);

  request.options.stop_strings.clear();
  request.options.sampler.greedy = false;
  request.options.sampler.temperature = 3;
  const auto ids = [&](uint64_t seed) {
    request.options.sampler.seed = seed;
    Told one;
    answer(*engine, request, one);
    return one.all<UsageEvent>().at(0).reply_ids;
  };
  CHECK(ids(1) == ids(1));
  CHECK(ids(1) != ids(2));
}

TEST_CASE("interrupting ends the reply and leaves the session usable") {
  const auto engine = spark();
  auto request = request_of(R"({"messages":[{"role":"user","content":"Thanks"}]})", *engine);
  std::atomic<bool> interrupted = false;
  request.interrupted = &interrupted;
  Session session(*engine, 1024);
  StopReason reason = StopReason::length;
  const auto first = run_turn(session, *engine, request, [&](const TurnEvent& event) {
    if (std::holds_alternative<TextDelta>(event)) interrupted = true;
    if (const auto* usage = std::get_if<UsageEvent>(&event)) reason = usage->reason;
  });
  REQUIRE(first.has_value());
  CHECK(reason == StopReason::interrupted);
  interrupted = false;
  const auto second = run_turn(session, *engine, request, [](const TurnEvent&) {});
  REQUIRE(second.has_value());
  CHECK(std::get<std::string>(second->content) == "You are welcome!");
}

}  // namespace lapidary
