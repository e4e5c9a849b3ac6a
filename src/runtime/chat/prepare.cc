// Prompt -> what the model gets: ids, with each medium's placeholder widened to its soft tokens.
#include <fmt/format.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "chat/turn_steps.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr double trained_seconds_max = 30.0;  // gemma4.md 4: longer sound is outside the training

Result<MediaTokens> tokens_of(MediaKind kind, const SpecialTokens& tokens, const std::string& path) {
  const MediaTokens found = kind == MediaKind::image ? MediaTokens{tokens.image_begin, tokens.image, tokens.image_end}
                                                     : MediaTokens{tokens.audio_begin, tokens.audio, tokens.audio_end};
  if (kind == MediaKind::video) return fail(ErrorKind::unsupported, path, "video is not supported yet");
  if (found.begin < 0 || found.soft < 0 || found.end < 0)
    return fail(ErrorKind::unsupported, path,
                kind == MediaKind::image ? "this model cannot see" : "this model cannot hear");
  return found;
}

// A medium's file: in memory already, or mapped.
struct MediaFile {
  std::shared_ptr<const std::string> held;
  std::shared_ptr<const MappedFile> mapped;
  std::span<const std::byte> bytes() const {
    return held != nullptr ? std::as_bytes(std::span(*held)) : mapped->bytes();
  }
};

Result<MediaFile> open_media(const PromptItem& item, const std::string& folder) {
  MediaFile file{item.bytes, nullptr};
  if (file.held != nullptr) return file;
  const fs::path path = item.path;
  LAPIDARY_TRY(file.mapped,
               MappedFile::open((path.is_absolute() || folder.empty() ? path : fs::path(folder) / path).string()));
  return file;
}

int32_t budget_of(const ModelConfig& config, int32_t image_tokens) {
  return image_tokens > 0 ? image_tokens : (config.vision ? config.vision->default_soft_tokens : 280);
}

int64_t frames_of(const Sound& sound, const ModelConfig& config) {
  const int64_t frame = config.audio ? config.audio->frame_samples : 640;
  return (static_cast<int64_t>(sound.samples.size()) + frame - 1) / frame;
}

// Appends what stands for a medium; returns the index of its first soft token.
int64_t widen(const DecodedMedium& medium, std::vector<int32_t>& ids) {
  ids.push_back(medium.tokens.begin);
  const auto first = static_cast<int64_t>(ids.size());
  ids.insert(ids.end(), static_cast<size_t>(medium.event.soft_tokens), medium.tokens.soft);
  ids.push_back(medium.tokens.end);
  return first;
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

}  // namespace

Result<DecodedMedium> decode_medium(const PromptItem& item, const std::string& media_folder, const ModelConfig& config,
                                    int32_t image_tokens) {
  DecodedMedium medium;
  LAPIDARY_TRY(medium.tokens, tokens_of(item.media, config.tokens, item.path));
  MediaEvent& event = medium.event;
  event.kind = item.media;
  event.path = item.path;
  LAPIDARY_TRY(const MediaFile file, open_media(item, media_folder));
  if (item.media == MediaKind::image) {
    LAPIDARY_TRY(const Image image, decode_image(file.bytes(), item.path));
    const int32_t patch = config.vision ? config.vision->patch_pixels : 48;
    LAPIDARY_TRY(medium.patches, make_patches(image, budget_of(config, image_tokens), patch));
    const PatchGrid grid = medium.patches.grid;
    event.width = grid.columns * patch;
    event.height = grid.rows * patch;
    event.soft_tokens = int64_t{grid.columns} * grid.rows;
    return medium;
  }
  LAPIDARY_TRY(medium.sound, decode_sound(file.bytes(), item.path));
  event.seconds = medium.sound.seconds();
  if (event.seconds > trained_seconds_max)
    event.warning =
        fmt::format("{:.1f} s of sound: the model is trained to 30 s, the rest may be misheard", event.seconds);
  event.soft_tokens = frames_of(medium.sound, config);
  return medium;
}

Result<SoftBlock> embed_medium(const DecodedMedium& medium, Engine& engine) {
  auto block = medium.event.kind == MediaKind::image ? engine.embed(medium.patches) : engine.embed(medium.sound);
  if (!block) return std::unexpected(std::move(block).error().in(medium.event.path));
  if (block->count != medium.event.soft_tokens)
    return fail(ErrorKind::refused, medium.event.path,
                fmt::format("{} soft tokens where {} are expected", block->count, medium.event.soft_tokens));
  return block;
}

Result<TokenizedPrompt> prepare_prompt(const Prompt& prompt, const std::string& media_folder, Engine& engine,
                                       int32_t image_tokens, const std::function<void(const MediaEvent&)>& sink) {
  TokenizedPrompt result;
  LAPIDARY_CHECK(walk(prompt, engine.model().tokenizer(), result.ids, [&](const PromptItem& item) -> Result<void> {
    LAPIDARY_TRY(const DecodedMedium medium, decode_medium(item, media_folder, engine.config(), image_tokens));
    LAPIDARY_TRY(SoftBlock block, embed_medium(medium, engine));
    block.first = widen(medium, result.ids);
    result.blocks.push_back(std::move(block));
    if (sink) sink(medium.event);
    return {};
  }));
  return result;
}

Result<DecodedPrompt> decode_prompt(const Prompt& prompt, const Tokenizer& tokenizer, const MediumDecoder& decode) {
  DecodedPrompt result;
  LAPIDARY_CHECK(walk(prompt, tokenizer, result.ids, [&](const PromptItem& item) -> Result<void> {
    LAPIDARY_TRY(auto medium, decode(item));
    const int64_t first = widen(*medium, result.ids);
    result.media.push_back({std::move(medium), first});
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
    LAPIDARY_TRY(const MediaFile file, open_media(item, media_folder));
    int64_t count = 0;
    if (item.media == MediaKind::image) {
      LAPIDARY_TRY(const Image image, decode_image(file.bytes(), item.path));
      LAPIDARY_TRY(const PatchGrid grid, patch_grid(image.width, image.height, budget_of(config, image_tokens),
                                                    config.vision ? config.vision->patch_pixels : 48));
      count = int64_t{grid.columns} * grid.rows;
    } else {
      LAPIDARY_TRY(const Sound sound, decode_sound(file.bytes(), item.path));
      count = frames_of(sound, config);
    }
    ids.push_back(tokens.begin);
    ids.insert(ids.end(), static_cast<size_t>(count), tokens.soft);
    ids.push_back(tokens.end);
    return {};
  }));
  return ids;
}

}  // namespace lapidary
