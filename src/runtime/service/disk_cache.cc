#include "service/disk_cache.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "base/sha256.h"
#include "service/state_file.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

std::string file_name(const TokenLine& line) {
  Sha256 hash;
  hash.add(bytes_of(line.ids));
  hash.add(bytes_of(line.hashes));
  return hash.finish_hex().substr(0, 32) + ".kv";
}

void add_file(Sha256& hash, const std::string& path) {
  std::error_code error;
  hash.add_value(static_cast<uint64_t>(fs::file_size(path, error)));
  hash.add_value(static_cast<int64_t>(fs::last_write_time(path, error).time_since_epoch().count()));
  const auto mapped = MappedFile::open(path);
  if (mapped) hash.add((*mapped)->bytes().first(std::min<size_t>((*mapped)->bytes().size(), 1 << 20)));
}

}  // namespace

std::string state_identity(const Engine& engine) {
  const LoadedModel& model = engine.model();
  Sha256 hash;
  hash.add_values(std::span<const char>(std::string_view(LAPIDARY_VERSION)));
  hash.add_values(std::span<const char>(std::string_view(engine.kernels().name)));
  hash.add_value(engine.kv_type());
  hash.add_value(kv_page_positions);
  for (const auto& file : model.tensors().files) add_file(hash, file->path());
  if (!model.projector_path().empty()) add_file(hash, model.projector_path());
  if (!model.is_gguf()) add_file(hash, (fs::path(model.path()) / "config.json").string());
  return hash.finish_hex().substr(0, 32);
}

Result<std::unique_ptr<DiskCache>> DiskCache::open(const std::string& folder, const std::string& identity,
                                                   uint64_t bytes_max, int64_t window) {
  LAPIDARY_CHECK(make_private_folder(folder));
  const std::string own = (fs::path(folder) / identity).string();
  LAPIDARY_CHECK(make_private_folder(own));
  std::unique_ptr<DiskCache> cache(new DiskCache(own, bytes_max, window));
  cache->scan();
  cache->make_room(0);
  cache->thread_ = std::thread([raw = cache.get()] { raw->write_files(); });
  return cache;
}

DiskCache::~DiskCache() {
  {
    const std::scoped_lock lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void DiskCache::scan() {
  remove_partial_files(folder_);
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  for (const auto& entry : fs::directory_iterator(folder_, error))
    if (entry.path().extension() == ".kv") found.emplace_back(entry.last_write_time(error), entry.path().string());
  std::ranges::sort(found);  // used longest ago first
  for (const auto& [time, path] : found) {
    const auto mapped = MappedFile::open(path);
    auto saved =
        mapped ? parse_saved_state((*mapped)->bytes(), path) : Result<SavedState>(std::unexpected(mapped.error()));
    if (!saved) {
      fs::remove(path, error);
      continue;
    }
    files_.push_back({path, std::move(saved->line), saved->ring_first, (*mapped)->bytes().size(), ++used_});
  }
}

std::optional<DiskCache::Hit> DiskCache::find(const TokenLine& prompt, std::span<const SoftBlock> blocks) const {
  Hit best;
  for (const File& file : files_) {
    const int64_t length = outside_blocks(common_beginning(prompt, file.line, prompt.length() - 1), blocks);
    const bool reaches = window_ == 0 || file.ring_first <= std::max<int64_t>(0, length - window_ + 1);
    if (length > best.length && reaches) best = {file.path, length};
  }
  if (best.length == 0) return std::nullopt;
  return best;
}

Result<DiskCache::Loaded> DiskCache::load(const std::string& path, KvCache empty) {
  const auto read = [&]() -> Result<Loaded> {
    LAPIDARY_TRY(const auto mapped, MappedFile::open(path));
    LAPIDARY_TRY(SavedState saved, parse_saved_state(mapped->bytes(), path));
    if (!saved.whole()) return malformed(path, "a whole saved state", "a damaged one");
    LAPIDARY_CHECK(empty.restore(saved.line.length(), saved.state, path));
    return Loaded{std::make_shared<TokenLine>(std::move(saved.line)), std::move(empty)};
  };
  auto loaded = read();
  if (!loaded) {
    forget(path, true);
    return loaded;
  }
  std::error_code error;
  fs::last_write_time(path, fs::file_time_type::clock::now(), error);
  for (File& file : files_)
    if (file.path == path) file.used = ++used_;
  return loaded;
}

void DiskCache::forget(const std::string& path, bool remove) {
  std::error_code error;
  if (remove) fs::remove(path, error);
  std::erase_if(files_, [&](const File& file) { return file.path == path; });
}

void DiskCache::make_room(uint64_t bytes_wanted) {
  while (!files_.empty() && bytes() + bytes_wanted > bytes_max_)
    forget(std::ranges::min_element(files_, {}, &File::used)->path, true);
}

void DiskCache::save(const std::shared_ptr<const TokenLine>& line, KvCache state) {
  const auto length = static_cast<std::ptrdiff_t>(state.length());
  auto write = std::make_unique<Write>(Write{"", {}, std::move(state), std::nullopt, false});
  write->line.ids.assign(line->ids.begin(), line->ids.begin() + length);
  write->line.hashes.assign(line->hashes.begin(), line->hashes.begin() + length);
  write->path = (fs::path(folder_) / file_name(write->line)).string();
  for (File& file : files_)
    if (file.path == write->path) {
      file.used = ++used_;
      return;
    }
  const uint64_t needed = saved_state_bytes(write->line, write->state);
  if (needed > bytes_max_) return;
  make_room(needed);
  const std::scoped_lock lock(mutex_);
  writing_ = std::move(write);
  changed_.notify_all();
}

bool DiskCache::busy() const {
  const std::scoped_lock lock(mutex_);
  return writing_ != nullptr;
}

void DiskCache::collect() {
  std::unique_ptr<Write> done;
  {
    const std::scoped_lock lock(mutex_);
    if (writing_ == nullptr || !writing_->done) return;
    done = std::move(writing_);
  }
  if (done->bytes)
    files_.push_back({done->path, std::move(done->line), done->state.ring_first(), *done->bytes, ++used_});
}

uint64_t DiskCache::bytes() const {
  uint64_t sum = 0;
  for (const File& file : files_) sum += file.bytes;
  return sum;
}

size_t DiskCache::files() const { return files_.size(); }

void DiskCache::write_files() {
  const auto write = [this](Write& job) -> Result<uint64_t> {
    const uint64_t bytes = saved_state_bytes(job.line, job.state);
    LAPIDARY_TRY(auto file, OutputFile::create(job.path, bytes, Readers::owner));
    LAPIDARY_CHECK(write_saved_state(job.line, job.state, [&](std::span<const std::byte> piece) -> Result<void> {
      if (over_) return fail(ErrorKind::cancelled, job.path, "stopped");
      return file.append(piece);
    }));
    LAPIDARY_CHECK(file.commit());
    return bytes;
  };
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return over_ || (writing_ != nullptr && !writing_->done); });
    if (over_) return;
    Write& job = *writing_;
    lock.unlock();
    const auto bytes = write(job);
    lock.lock();
    if (bytes) job.bytes = *bytes;
    job.done = true;
  }
}

}  // namespace lapidary
