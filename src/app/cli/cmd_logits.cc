// logits: what the model computes, for comparing engines.
#include <fmt/format.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "base/system.h"
#include "base/terminal.h"
#include "chat/render.h"
#include "chat/turn.h"
#include "cli/commands.h"
#include "cli/id_list.h"
#include "cli/open_model.h"
#include "cli/progress.h"
#include "formats/npy.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t prompt_bytes_max = 256 << 20;

// Gives every <|image|> and <|audio|> of the text the next file of its kind.
Result<void> assign_files(Prompt& prompt, const LogitsOptions& options) {
  size_t image = 0, sound = 0;
  for (PromptItem& item : prompt) {
    if (item.kind != PromptItem::Kind::media) continue;
    if (item.media == MediaKind::video)
      return fail(ErrorKind::unsupported, options.text_file, "video is not supported yet");
    const bool is_image = item.media == MediaKind::image;
    const std::vector<std::string>& files = is_image ? options.images : options.sounds;
    size_t& next = is_image ? image : sound;
    if (next >= files.size())
      return fail(ErrorKind::wrong_use, options.text_file,
                  fmt::format("more {} than {} files", item.text, is_image ? "--image" : "--audio"));
    item.path = files[next++];
  }
  if (image < options.images.size() || sound < options.sounds.size())
    return fail(ErrorKind::wrong_use, options.text_file,
                fmt::format("{} <|image|> and {} <|audio|> for {} --image and {} --audio", image, sound,
                            options.images.size(), options.sounds.size()));
  return {};
}

Result<TokenizedPrompt> read_prompt(const LogitsOptions& options, Engine& engine) {
  const Tokenizer& tokenizer = engine.model().tokenizer();
  if (!options.ids_file.empty()) {
    LAPIDARY_TRY(const std::string json, read_file(options.ids_file, prompt_bytes_max));
    TokenizedPrompt prompt;
    LAPIDARY_TRY(prompt.ids, parse_ids(json, options.ids_file, engine.config().vocabulary));
    return prompt;
  }
  if (!options.chat_file.empty()) {
    LAPIDARY_TRY(const std::string json, read_file(options.chat_file, prompt_bytes_max));
    LAPIDARY_TRY(const Conversation conversation, parse_conversation(json, options.chat_file));
    LAPIDARY_TRY(const Prompt prompt, render(conversation, chat_format(tokenizer)));
    return prepare_prompt(prompt, fs::path(options.chat_file).parent_path().string(), engine, options.image_tokens, {});
  }
  LAPIDARY_TRY(const std::string text, read_file(options.text_file, prompt_bytes_max));
  Prompt prompt = prompt_from_text(text, tokenizer);
  LAPIDARY_CHECK(assign_files(prompt, options));
  return prepare_prompt(prompt, "", engine, options.image_tokens, {});
}

// Hidden states of all tokens, collected chunk by chunk. [tokens, hidden] each.
class Dump {
 public:
  explicit Dump(const ModelConfig& config) : hidden_(config.hidden), states_(config.layers.size() + 2) {}

  void add(int32_t index, const float* values, int32_t rows) {
    auto& state = states_[static_cast<size_t>(index)];
    state.insert(state.end(), values, values + int64_t{rows} * hidden_);
  }

  // hidden_00.npy: after the embedding; hidden_01 …: after each layer; the last: after the final norm. soft_00.npy …:
  // media.
  Result<void> write(const std::string& folder, const TokenizedPrompt& prompt) const {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return fail(ErrorKind::io, folder, error.message());
    for (size_t i = 0; i < states_.size(); ++i)
      LAPIDARY_CHECK(write_one(fmt::format("{}/hidden_{:02}.npy", folder, i), states_[i]));
    for (size_t i = 0; i < prompt.blocks.size(); ++i)
      LAPIDARY_CHECK(write_one(fmt::format("{}/soft_{:02}.npy", folder, i), *prompt.blocks[i].embeddings));
    return {};
  }

 private:
  Result<void> write_one(const std::string& path, const std::vector<float>& values) const {
    const int64_t shape[2] = {static_cast<int64_t>(values.size()) / hidden_, hidden_};
    return write_npy(path, values, shape);
  }
  int64_t hidden_;
  std::vector<std::vector<float>> states_;
};

Result<void> check_output_fits(const LogitsOptions& options, const ModelConfig& config, int64_t tokens, int64_t rows) {
  if (options.engine.force) return {};
  uint64_t bytes = static_cast<uint64_t>(rows) * static_cast<uint64_t>(config.vocabulary) * sizeof(float);
  if (!options.dump_folder.empty())
    bytes += static_cast<uint64_t>(tokens) * static_cast<uint64_t>(config.hidden) * sizeof(float) *
             (config.layers.size() + 2);
  const MemoryState memory = memory_state();
  if (bytes <= memory.available_bytes) return {};
  return fail(ErrorKind::out_of_memory, "memory",
              fmt::format("{} of logits and hidden states for {} available ({}); --last N takes fewer rows",
                          format_bytes(static_cast<double>(bytes)),
                          format_bytes(static_cast<double>(memory.available_bytes)), memory.limited_by));
}

Result<void> compute(const LogitsOptions& options, Console& console) {
  LAPIDARY_TRY(OpenedEngine opened, open_engine(options.model, options.engine, console));
  Engine& engine = *opened.engine;
  LAPIDARY_TRY(const TokenizedPrompt prompt, read_prompt(options, engine));
  const auto tokens = static_cast<int64_t>(prompt.ids.size());
  if (tokens == 0) return fail(ErrorKind::wrong_use, "prompt", "it is empty");
  LAPIDARY_TRY(const int64_t context, plan_context(engine, tokens, tokens, options.engine.force));
  const int64_t rows = options.last > 0 ? std::min(options.last, tokens) : tokens;
  LAPIDARY_CHECK(check_output_fits(options, engine.config(), tokens, rows));

  const int64_t vocabulary = engine.config().vocabulary;
  std::vector<float> logits(static_cast<size_t>(rows * vocabulary));
  Dump dump(engine.config());
  const HiddenObserver observer = [&](int32_t index, const float* hidden, int32_t count) {
    dump.add(index, hidden, count);
  };
  ProgressLine progress(console, true);
  Session session(engine, context);
  LAPIDARY_CHECK(session.evaluate(
      prompt, tokens - rows,
      [&](int64_t first, int64_t count, const float* values) -> Result<void> {
        std::copy(values, values + count * vocabulary, logits.begin() + (first - (tokens - rows)) * vocabulary);
        return {};
      },
      options.dump_folder.empty() ? nullptr : &observer,
      [&](int64_t done, int64_t total) {
        progress.show("reading", done, total);
        return !interrupt_flag();
      }));
  progress.clear();
  const int64_t shape[2] = {rows, vocabulary};
  LAPIDARY_CHECK(write_npy(options.out_file, logits, shape));
  return options.dump_folder.empty() ? Result<void>{} : dump.write(options.dump_folder, prompt);
}

}  // namespace

ExitStatus logits_command(const LogitsOptions& options, Console& console) {
  const auto done = compute(options, console);
  if (!done && done.error().kind == ErrorKind::cancelled) return ExitStatus::interrupted;
  return done ? ExitStatus::done : console.fail(done.error());
}

}  // namespace lapidary
