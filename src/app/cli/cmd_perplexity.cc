// perplexity: how well a model foretells a text, alone or against another model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/open_model.h"
#include "cli/text_score.h"
#include "engine/memory_plan.h"

namespace lapidary {
namespace {

constexpr uint64_t text_bytes_max = 1ULL << 30;

bool compares(const PerplexityOptions& options) {
  return !options.against.empty() || options.against_kv != KvChoice::automatic;
}

Result<TokenizedPrompt> read_text(const PerplexityOptions& options, const LoadedModel& model) {
  LAPIDARY_TRY(const std::string text, read_file(options.file, text_bytes_max));
  TokenizedPrompt prompt;
  if (const int32_t bos = model.tokenizer().find("<bos>"); bos >= 0) prompt.ids.push_back(bos);
  model.tokenizer().encode(text, SpecialParsing::off, prompt.ids);
  const int64_t most =
      std::min(options.tokens > 0 ? options.tokens : model.config().context_max, model.config().context_max);
  if (static_cast<int64_t>(prompt.ids.size()) > most) prompt.ids.resize(static_cast<size_t>(most));
  if (prompt.ids.size() < 2) return fail(ErrorKind::wrong_use, options.file, "the text is too short to measure");
  return prompt;
}

std::string report(const TextScore& figures, const PerplexityOptions& options) {
  const auto scored = static_cast<double>(figures.scored);
  const double nll = figures.nll / scored, nll_against = figures.nll_against / scored;
  const double divergence = figures.divergence / scored, agreement = static_cast<double>(figures.agreed) / scored;
  if (options.json) {
    OrderedJson json = {
        {"tokens", figures.tokens}, {"scored", figures.scored}, {"nll_per_token", nll}, {"perplexity", std::exp(nll)}};
    if (compares(options)) {
      json["against_nll_per_token"] = nll_against;
      json["against_perplexity"] = std::exp(nll_against);
      json["kl_divergence"] = divergence;
      json["top1_agreement"] = agreement;
    }
    json["seconds"] = figures.seconds;
    return dump(json) + "\n";
  }
  std::string text =
      fmt::format("tokens         {} ({} scored, {:.1f} s)\nperplexity     {:.4f} ({:.6f} nats a token)\n",
                  figures.tokens, figures.scored, figures.seconds, std::exp(nll), nll);
  if (compares(options))
    text += fmt::format(
        "against        {:.4f} ({:.6f} nats a token)\nKL divergence  {:.6f} nats a token\ntop-1 the same {:.2f} %\n",
        std::exp(nll_against), nll_against, divergence, 100 * agreement);
  return text;
}

Result<void> perplexity(const PerplexityOptions& options, Console& console) {
  LAPIDARY_TRY(OpenedEngine opened, open_engine(options.model, options.engine, console));
  Engine& engine = *opened.engine;
  LAPIDARY_TRY(const TokenizedPrompt prompt, read_text(options, engine.model()));
  const auto tokens = static_cast<int64_t>(prompt.ids.size());
  LAPIDARY_TRY(const int64_t context, plan_context(engine, tokens, tokens, options.engine.force));
  std::optional<OpenedEngine> second;
  if (compares(options)) {
    const ModelChoice other = options.against.empty() ? options.model : ModelChoice{options.against, ""};
    EngineChoice other_engine = options.engine;
    if (options.against_kv != KvChoice::automatic) other_engine.kv = options.against_kv;
    LAPIDARY_TRY(second, open_engine(other, other_engine, console));
    LAPIDARY_CHECK(check_same_vocabulary(engine.model(), second->engine->model()));
    MemoryState rest = memory_state();
    const uint64_t first_bytes =
        plan_memory(engine.config(), engine.model().file_bytes(), engine.kv_type(), context).total_bytes();
    rest.available_bytes -= std::min(rest.available_bytes, first_bytes);
    if (!options.engine.force)
      LAPIDARY_CHECK(check_memory(second->engine->config(), second->engine->model().file_bytes(),
                                  second->engine->kv_type(), context, rest));
  }
  LAPIDARY_TRY(const TextScore figures,
               score_text(engine, prompt, context, second ? second->engine.get() : nullptr, console));
  console.print(report(figures, options));
  return {};
}

}  // namespace

ExitStatus perplexity_command(const PerplexityOptions& options, Console& console) {
  const auto done = perplexity(options, console);
  if (!done && done.error().kind == ErrorKind::cancelled) return ExitStatus::interrupted;
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
