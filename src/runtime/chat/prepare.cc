// Prompt -> what the model gets: ids, with each medium's placeholder widened to its soft tokens.
#include <fmt/format.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "chat/turn.h"
#include "media/audio.h"
#include "media/image.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr double trained_seconds_max = 30.0;  // gemma4.md 4: longer sound is outside the training

struct MediaTokens {
  int32_t begin, soft, end;
};

Result<MediaTokens> tokens_of(MediaKind kind, const SpecialTokens& tokens, const std::string& path) {
  const MediaTokens found = kind == MediaKind::image ? MediaTokens{tokens.image_begin, tokens.image, tokens.image_end}
                                                     : MediaTokens{tokens.audio_begin, tokens.audio, tokens.audio_end};
  if (kind == MediaKind::video) return fail(ErrorKind::unsupported, path, "video is not supported yet");
  if (found.begin < 0 || found.soft < 0 || found.end < 0)
    return fail(ErrorKind::unsupported, path,
                kind == MediaKind::image ? "this model cannot see" : "this model cannot hear");
  return found;
}

Result<std::shared_ptr<const MappedFile>> open_media(const std::string& path, const std::string& folder) {
  const fs::path place = fs::path(path).is_absolute() || folder.empty() ? fs::path(path) : fs::path(folder) / path;
  return MappedFile::open(place.string());
}

int32_t budget_of(const ModelConfig& config, int32_t image_tokens) {
  return image_tokens > 0 ? image_tokens : (config.vision ? config.vision->default_soft_tokens : 280);
}

// Walks the prompt; runs of text and special tokens become ids, `medium` appends what stands for a picture or sound.
template <typename Medium>
Result<void> walk(const Prompt& prompt, const Tokenizer& tokenizer, std::vector<int32_t>& ids, const Medium& medium) {
  Prompt run;
  const auto flush = [&]() -> Result<void> {
    LAPIDARY_TRY(const std::vector<int32_t> run_ids, prompt_ids(run, tokenizer));
    ids.insert(ids.end(), run_ids.begin(), run_ids.end());
    run.clear();
    return {};
  };
  for (const PromptItem& item : prompt) {
    if (item.kind != PromptItem::Kind::media) {
      run.push_back(item);
      continue;
    }
    LAPIDARY_CHECK(flush());
    LAPIDARY_CHECK(medium(item));
  }
  return flush();
}

Result<SoftBlock> load_image(const std::string& path, const std::string& folder, Engine& engine, int32_t image_tokens,
                             MediaEvent& event) {
  LAPIDARY_TRY(const auto file, open_media(path, folder));
  LAPIDARY_TRY(const Image image, decode_image(file->bytes(), path));
  const int32_t patch = engine.config().vision ? engine.config().vision->patch_pixels : 48;
  LAPIDARY_TRY(const ImagePatches patches, make_patches(image, budget_of(engine.config(), image_tokens), patch));
  event.width = patches.grid.columns * patch;
  event.height = patches.grid.rows * patch;
  auto block = engine.embed(patches);
  if (!block) return std::unexpected(std::move(block).error().in(path));
  if (block->count != int64_t{patches.grid.columns} * patches.grid.rows)
    return fail(ErrorKind::refused, path,
                fmt::format("{} soft tokens for {} patches", block->count, patches.grid.columns * patches.grid.rows));
  return block;
}

Result<SoftBlock> load_sound(const std::string& path, const std::string& folder, Engine& engine, MediaEvent& event) {
  LAPIDARY_TRY(const auto file, open_media(path, folder));
  LAPIDARY_TRY(const Sound sound, decode_sound(file->bytes(), path));
  event.seconds = sound.seconds();
  if (event.seconds > trained_seconds_max)
    event.warning =
        fmt::format("{:.1f} s of sound: the model is trained to 30 s, the rest may be misheard", event.seconds);
  auto block = engine.embed(sound);
  if (!block) return std::unexpected(std::move(block).error().in(path));
  return block;
}

}  // namespace

Result<TokenizedPrompt> prepare_prompt(const Prompt& prompt, const std::string& media_folder, Engine& engine,
                                       int32_t image_tokens, const std::function<void(const MediaEvent&)>& sink) {
  TokenizedPrompt result;
  LAPIDARY_CHECK(walk(prompt, engine.model().tokenizer(), result.ids, [&](const PromptItem& item) -> Result<void> {
    LAPIDARY_TRY(const MediaTokens tokens, tokens_of(item.media, engine.config().tokens, item.path));
    MediaEvent event{item.media, item.path};
    LAPIDARY_TRY(SoftBlock block, item.media == MediaKind::image
                                      ? load_image(item.path, media_folder, engine, image_tokens, event)
                                      : load_sound(item.path, media_folder, engine, event));
    event.soft_tokens = block.count;
    result.ids.push_back(tokens.begin);
    block.first = static_cast<int64_t>(result.ids.size());
    result.ids.insert(result.ids.end(), static_cast<size_t>(block.count), tokens.soft);
    result.ids.push_back(tokens.end);
    result.blocks.push_back(std::move(block));
    if (sink) sink(event);
    return {};
  }));
  return result;
}

Result<std::vector<int32_t>> expand_prompt(const Prompt& prompt, const std::string& media_folder,
                                           const ModelConfig& config, const Tokenizer& tokenizer,
                                           int32_t image_tokens) {
  std::vector<int32_t> ids;
  LAPIDARY_CHECK(walk(prompt, tokenizer, ids, [&](const PromptItem& item) -> Result<void> {
    LAPIDARY_TRY(const MediaTokens tokens, tokens_of(item.media, config.tokens, item.path));
    LAPIDARY_TRY(const auto file, open_media(item.path, media_folder));
    int64_t count = 0;
    if (item.media == MediaKind::image) {
      LAPIDARY_TRY(const Image image, decode_image(file->bytes(), item.path));
      LAPIDARY_TRY(const PatchGrid grid, patch_grid(image.width, image.height, budget_of(config, image_tokens),
                                                    config.vision ? config.vision->patch_pixels : 48));
      count = int64_t{grid.columns} * grid.rows;
    } else {
      LAPIDARY_TRY(const Sound sound, decode_sound(file->bytes(), item.path));
      const int64_t frame = config.audio ? config.audio->frame_samples : 640;
      count = (static_cast<int64_t>(sound.samples.size()) + frame - 1) / frame;
    }
    ids.push_back(tokens.begin);
    ids.insert(ids.end(), static_cast<size_t>(count), tokens.soft);
    ids.push_back(tokens.end);
    return {};
  }));
  return ids;
}

}  // namespace lapidary
