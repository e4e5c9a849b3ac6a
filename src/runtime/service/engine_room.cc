#include "service/engine_room.h"

#include <algorithm>

#include "base/system.h"

namespace lapidary {
namespace {

constexpr int64_t disk_tokens_min = 128;       // shorter states are not worth a file
constexpr int64_t disk_gain_tokens_min = 128;  // nor is reading one that saves fewer

// Where one turn ends and the next begins: the system turn's end, which other conversations share, and the model's
// turn, after which a re-rendered history may differ.
std::vector<int64_t> turn_borders(const TokenLine& line, const Tokenizer& tokenizer, int64_t window) {
  std::vector<int64_t> borders;
  const int64_t last = stable_length(line.ids, tokenizer);
  if (last < 0) return borders;
  borders.push_back(last);
  const int32_t turn = line.ids[static_cast<size_t>(last)];
  const auto first = std::ranges::find(line.ids, turn);
  const auto second = std::find(first + 1, line.ids.end(), turn);
  if (second != line.ids.end() && second - line.ids.begin() > window) borders.push_back(second - line.ids.begin());
  // A model's turn that goes on (after a tool's answer) is continued, not rendered anew.
  constexpr int64_t header_max = 32;
  if (line.length() - last > header_max) borders.push_back(line.length());
  return borders;
}

}  // namespace

void StepCosts::measured(size_t rows, double seconds) {
  if (rows >= seconds_.size()) seconds_.resize(rows + 1, 0);
  double& mean = seconds_[rows];
  mean = mean == 0 ? seconds : mean + 0.2 * (seconds - mean);
}

Result<std::unique_ptr<EngineRoom>> EngineRoom::create(std::shared_ptr<const LoadedModel> model,
                                                       const EngineOptions& options, int64_t context,
                                                       uint64_t prefix_cache_bytes) {
  std::unique_ptr<EngineRoom> room(new EngineRoom(context, prefix_cache_bytes));
  LAPIDARY_TRY(room->engine_, Engine::create(std::move(model), options));
  return room;
}

Result<void> EngineRoom::use_disk(const std::string& folder, uint64_t bytes_max) {
  LAPIDARY_TRY(disk_, DiskCache::open(folder, state_identity(*engine_), bytes_max, engine_->config().window));
  return {};
}

bool EngineRoom::save_next() {
  if (disk_ == nullptr) return false;
  disk_->collect();
  if (disk_->busy()) return true;
  auto unsaved = prefixes_.next_unsaved();
  if (!unsaved) return false;
  disk_->save(unsaved->line, std::move(unsaved->state));
  return true;
}

std::unique_ptr<Sequence> EngineRoom::sequence(std::shared_ptr<Job> job) {
  auto made = std::make_unique<Sequence>(job, *engine_);
  ReadPrompt& read = **job->read;
  TokenLine& line = *made->line;
  line.ids = std::move(read.decoded.ids);
  line.hashes.assign(line.ids.size(), 0);
  made->prompt_tokens = line.length();
  for (size_t i = 0; i < read.decoded.media.size(); ++i) {
    const DecodedPrompt::Medium& medium = read.decoded.media[i];
    SoftBlock block;
    block.first = medium.first;
    block.count = medium.decoded->event.soft_tokens;
    block.bidirectional = medium.decoded->event.kind == MediaKind::image && engine_->config().image_bidirectional;
    block.content_hash = read.media_hashes[i];
    std::fill_n(line.hashes.begin() + block.first, block.count, block.content_hash);
    made->blocks.push_back(std::move(block));
    made->media.push_back(medium.decoded);
  }
  made->format = read.format;
  made->inside_thought = read.inside_thought;
  job->read.reset();
  return made;
}

void EngineRoom::begin(Sequence& sequence, std::span<const PrefixCache::Running> running) {
  sequence.begun = true;
  sequence.prompt_begin_seconds = monotonic_seconds();
  auto found = prefixes_.find(*sequence.line, sequence.blocks, running);
  if (disk_ != nullptr) {
    const auto hit = disk_->find(*sequence.line, sequence.blocks);
    if (hit && hit->length > (found ? found->length : 0) + disk_gain_tokens_min) {
      KvCache empty(engine_->config(), engine_->kv_pool(), engine_->kv_type());
      if (auto loaded = disk_->load(hit->path, std::move(empty))) {
        prefixes_.add(loaded->line, loaded->state.fork());
        if (loaded->state.truncate(hit->length)) found = PrefixCache::Found{std::move(loaded->state), hit->length};
      }
    }
  }
  if (found) {
    sequence.cache = std::move(found->state);
    sequence.reused = found->length;
  }
  const int64_t window = engine_->config().window;
  sequence.borders =
      sequence.format == ChatFormat::none ? std::vector<int64_t>{} : turn_borders(*sequence.line, tokenizer(), window);
  sequence.ladder =
      checkpoint_ladder(sequence.reused, sequence.prompt_tokens, window, sequence.borders, sequence.blocks);
  sequence.chunk_end = sequence.cache.length();
}

// A chunk ends after engine.chunk() rows or at the next length of the ladder, but never inside a block that attends
// both ways; such a block that is longer makes a longer chunk.
Result<void> EngineRoom::next_chunk(Sequence& sequence) {
  const int64_t first = sequence.cache.length();
  int64_t end = std::min(first + engine_->chunk(), sequence.prompt_tokens);
  if (!sequence.ladder.empty()) end = std::min(end, sequence.ladder.front());
  for (const SoftBlock& block : sequence.blocks)
    if (block.bidirectional && end > block.first && end < block.first + block.count)
      end = block.first > first ? block.first : block.first + block.count;
  sequence.rows.assign(static_cast<size_t>(end - first), {});
  for (int64_t i = first; i < end; ++i) {
    BatchRow& row = sequence.rows[static_cast<size_t>(i - first)];
    row.token = sequence.line->ids[static_cast<size_t>(i)];
    row.visible_end = i + 1;
  }
  for (size_t b = 0; b < sequence.blocks.size(); ++b) {
    SoftBlock& block = sequence.blocks[b];
    if (block.first >= end || block.first + block.count <= first) continue;
    if (block.embeddings == nullptr) {
      LAPIDARY_TRY(const SoftBlock embedded, embed_medium(*sequence.media[b], *engine_));
      block.embeddings = embedded.embeddings;
      sequence.media[b].reset();
    }
    for (int64_t i = std::max(first, block.first); i < std::min(end, block.first + block.count); ++i) {
      BatchRow& row = sequence.rows[static_cast<size_t>(i - first)];
      row.soft = block.embeddings->data() + (i - block.first) * engine_->config().hidden;
      if (block.bidirectional) row.visible_end = block.first + block.count;
    }
  }
  sequence.chunk_end = end;
  sequence.pass = {};
  return {};
}

Result<void> EngineRoom::forward(const ForwardRequest& request) {
  auto done = engine_->decoder().forward(request);
  if (done || done.error().kind != ErrorKind::out_of_memory || prefixes_.entries() == 0) return done;
  prefixes_.shrink(0);
  engine_->kv_pool().trim();
  return engine_->decoder().forward(request);
}

Result<bool> EngineRoom::read(Sequence& sequence, const std::function<bool()>& leave) {
  if (sequence.chunk_end == sequence.cache.length()) LAPIDARY_CHECK(next_chunk(sequence));
  const BatchSegment segment{&sequence.cache, sequence.rows};
  const auto last_row = static_cast<int32_t>(sequence.rows.size() - 1);
  const bool last = sequence.chunk_end == sequence.prompt_tokens;
  logits_.resize(std::max(logits_.size(), static_cast<size_t>(engine_->config().vocabulary)));
  const std::span<const int32_t> wanted(&last_row, last ? 1 : 0);
  const auto done = forward({{&segment, 1}, wanted, logits_.data(), nullptr, nullptr, &sequence.pass, &leave});
  if (!done && done.error().kind == ErrorKind::cancelled && sequence.pass.left()) return false;
  LAPIDARY_CHECK(done);
  for (SoftBlock& block : sequence.blocks)
    if (block.first + block.count <= sequence.chunk_end) block.embeddings.reset();
  while (!sequence.ladder.empty() && sequence.ladder.front() <= sequence.chunk_end) {
    if (sequence.ladder.front() == sequence.chunk_end)
      prefixes_.add(sequence.line, sequence.cache.fork(),
                    disk_ != nullptr && sequence.chunk_end >= disk_tokens_min &&
                        std::ranges::find(sequence.borders, sequence.chunk_end) != sequence.borders.end());
    sequence.ladder.erase(sequence.ladder.begin());
  }
  return last;
}

Result<void> EngineRoom::step(std::span<Sequence* const> sequences) {
  std::vector<BatchRow> rows;
  std::vector<BatchSegment> segments;
  std::vector<int32_t> wanted;
  size_t row_count = 0;
  for (const Sequence* sequence : sequences) row_count += sequence->tokens.size();
  rows.reserve(row_count);
  for (Sequence* sequence : sequences) {
    const size_t first = rows.size();
    for (const int32_t token : sequence->tokens)
      rows.push_back({token, nullptr, sequence->cache.length() + static_cast<int64_t>(rows.size() - first) + 1});
    segments.push_back({&sequence->cache, {&rows[first], rows.size() - first}});
    wanted.push_back(static_cast<int32_t>(rows.size() - 1));
  }
  logits_.resize(std::max(logits_.size(), sequences.size() * static_cast<size_t>(engine_->config().vocabulary)));
  const double begin = monotonic_seconds();
  LAPIDARY_CHECK(forward({segments, wanted, logits_.data()}));
  costs_.measured(row_count, monotonic_seconds() - begin);
  for (Sequence* sequence : sequences) {
    TokenLine& line = *sequence->line;
    line.ids.insert(line.ids.end(), sequence->tokens.begin(), sequence->tokens.end());
    line.hashes.resize(line.ids.size(), 0);
  }
  return {};
}

void EngineRoom::keep(Sequence& sequence) {
  const int64_t length = sequence.cache.length();
  sequence.cache.truncate(length);  // a pass that was left has reserved more
  prefixes_.add(sequence.line, std::move(sequence.cache));
}

}  // namespace lapidary
