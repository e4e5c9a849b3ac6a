// Spark, the model in the box, from messages, pictures and recordings to its answers: our greedy answers against the
// reference's, item by item, and the scores against the right answers.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "base/mapped_file.h"
#include "chat/turn.h"
#include "engine/engine.h"
#include "sanitized.h"

namespace lapidary {
namespace {

constexpr double close_margin = 0.2;  // below it another engine may differ (models/spark/MODEL_CARD.md)

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

// Levenshtein distance in words.
size_t word_errors(const std::string& expected, const std::string& got) {
  const auto a = words(expected), b = words(got);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

struct Score {
  int items = 0, agree = 0, close = 0, exact = 0;
  size_t errors = 0, words = 0;
};

struct Totals {
  std::map<std::string, Score> tasks;
  Score all;
};

void run_item(const Json& item, const std::string& folder, Engine& engine, Totals& totals) {
  CAPTURE(item["id"].get<std::string>());
  Json chat = {{"messages", item["messages"]}};
  if (item.contains("tools") && !item["tools"].is_null()) chat["tools"] = item["tools"];
  TurnRequest request;
  auto conversation = parse_conversation(dump(chat), item["id"].get<std::string>());
  REQUIRE_MESSAGE(conversation.has_value(), (conversation ? "" : conversation.error().text()));
  request.conversation = std::move(*conversation);
  request.media_folder = folder;
  request.options.image_tokens = 70;
  request.options.tokens_max = 256;
  request.options.sampler.greedy = true;
  request.options.sampler.suppress = engine.config().generation.suppress_tokens;

  // The prompt, before anything is computed: text and length are the reference's.
  const auto prompt = render(request.conversation, ChatFormat::gemma4);
  REQUIRE(prompt.has_value());
  CHECK(prompt_text(*prompt) == item["prompt"].get<std::string>());

  Session session(engine, 2048);
  UsageEvent usage;
  const auto reply = run_turn(session, engine, request, [&](const TurnEvent& event) {
    if (const auto* end = std::get_if<UsageEvent>(&event)) usage = *end;
  });
  REQUIRE_MESSAGE(reply.has_value(), (reply ? "" : reply.error().text()));
  CHECK(usage.prompt_tokens == item["prompt_tokens"].get<int64_t>());

  const bool close = item["min_margin"].get<double>() < close_margin;
  const bool agree = usage.reply_ids == item["reference_ids"].get<std::vector<int32_t>>();
  if (!close) CHECK_MESSAGE(agree, "the answer differs from the reference's");

  // The answer's text as the reference has it: special tokens by name, without the one that ended it.
  std::vector<int32_t> ids = usage.reply_ids;
  const auto& stops = engine.config().generation.stop_tokens;
  if (!ids.empty() && std::find(stops.begin(), stops.end(), ids.back()) != stops.end()) ids.pop_back();
  const std::string text = engine.model().tokenizer().decode(ids, SpecialParsing::on);
  const std::string expected =
      item["expected"].is_string() ? item["expected"].get<std::string>() : dump(item["expected"]);
  for (Score* score : {&totals.tasks[item["task"].get<std::string>()], &totals.all}) {
    ++score->items;
    score->agree += agree;
    score->close += close;
    score->exact += text == expected;
    score->errors += word_errors(expected, text);
    score->words += words(expected).size();
  }
}

Totals run_items(const std::string& folder, const std::string& file, const Kernels& kernels) {
  auto model = LoadedModel::open("models/spark");
  REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().text()));
  EngineOptions options;
  options.threads = 2;
  options.kernels = std::string(kernels.name);
  const auto engine = std::move(Engine::create(std::move(*model), options).value());
  Totals totals;
  const Json items = parse_json(read_file(folder + file, 1 << 24).value(), file).value()["items"];
  for (size_t i = 0; i < items.size(); i += sanitized ? 7 : 1) run_item(items[i], folder, *engine, totals);
  return totals;
}

}  // namespace

TEST_CASE("Spark answers every item as the reference does") {
  for (const Kernels* kernels : available_kernels()) {
    CAPTURE(kernels->name);
    const Totals totals = run_items("models/spark/tests/", "items.json", *kernels);
    fmt::print("Spark, kernels {}:\n{:12} {:>6} {:>8} {:>7} {:>8} {:>7}\n", kernels->name, "task", "items", "agree",
               "close", "exact", "WER");
    for (const auto& [task, score] : totals.tasks)
      fmt::print("{:12} {:>6} {:>8} {:>7} {:>7.1f}% {:>6.2f}%\n", task, score.items, score.agree, score.close,
                 100.0 * score.exact / score.items,
                 100.0 * static_cast<double>(score.errors) / static_cast<double>(std::max<size_t>(1, score.words)));
    fmt::print("agreement {} of {} ({} of them closer than {})\n", totals.all.agree, totals.all.items, totals.all.close,
               close_margin);
    CHECK(totals.all.items > 0);
  }
}

TEST_CASE("Spark's samples, those of `./dev run`") {
  const Totals totals = run_items("models/spark/samples/", "samples.json", *available_kernels().front());
  CHECK(totals.all.agree == totals.all.items);
  CHECK(totals.all.exact == totals.all.items);
}

}  // namespace lapidary
