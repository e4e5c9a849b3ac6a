#include "engine/loaded_drafter.h"

#include <algorithm>
#include <filesystem>

namespace lapidary {
namespace {

namespace fs = std::filesystem;

// Whether a file's name says that it may be a drafter. The folder may hold many others, and each has to be opened to
// know.
bool named_as_drafter(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::ranges::any_of(std::initializer_list<const char*>{"assistant", "drafter", "mtp"},
                             [&](const char* word) { return name.find(word) != std::string::npos; });
}

}  // namespace

Result<std::shared_ptr<const LoadedDrafter>> LoadedDrafter::open(const std::string& path, const ModelConfig& model) {
  LAPIDARY_TRY(const FileKind kind, recognise(path));
  std::shared_ptr<LoadedDrafter> drafter(new LoadedDrafter);
  drafter->path_ = path;
  const auto read = [&](const auto& file) -> Result<void> {
    LAPIDARY_TRY(drafter->config_, read_drafter_config(file));
    LAPIDARY_CHECK(check_drafter_fits(drafter->config_, model));
    LAPIDARY_TRY(drafter->weights_, bind_drafter(file, drafter->config_));
    return {};
  };
  Result<void> done;
  switch (kind) {
    case FileKind::gguf_model: {
      LAPIDARY_TRY(drafter->gguf_, Gguf::open(path));
      done = read(*drafter->gguf_);
      break;
    }
    case FileKind::hugging_face: {
      LAPIDARY_TRY(drafter->folder_, HuggingFaceFolder::open(path));
      done = read(*drafter->folder_);
      break;
    }
    default:
      return malformed(path, "a drafter: a GGUF file or a folder with config.json and safetensors", "something else");
  }
  if (!done) return std::unexpected(std::move(done).error().in(path));
  return drafter;
}

std::shared_ptr<const LoadedDrafter> LoadedDrafter::beside(const LoadedModel& model) {
  std::vector<std::string> candidates;
  std::error_code error;
  if (model.is_gguf()) {
    const fs::path folder = fs::path(model.path()).parent_path();
    for (fs::directory_iterator entry(folder.empty() ? "." : folder, error), end; !error && entry != end;
         entry.increment(error))
      if (named_as_drafter(entry->path().filename().string())) candidates.push_back(entry->path().string());
    std::sort(candidates.begin(), candidates.end());
  } else {
    fs::path folder =
        fs::is_directory(model.path(), error) ? fs::path(model.path()) : fs::path(model.path()).parent_path();
    folder = fs::weakly_canonical(folder, error);
    candidates.push_back((folder.parent_path() / (folder.filename().string() + "-assistant")).string());
  }
  for (const std::string& candidate : candidates) {
    if (!fs::exists(candidate, error) || fs::equivalent(candidate, model.path(), error)) continue;
    if (auto drafter = open(candidate, model.config())) return *drafter;
  }
  return nullptr;
}

uint64_t LoadedDrafter::file_bytes() const {
  uint64_t bytes = 0;
  for (const auto& file : (gguf_ ? gguf_->tensors() : folder_->tensors).files) bytes += file->bytes().size();
  return bytes;
}

}  // namespace lapidary
