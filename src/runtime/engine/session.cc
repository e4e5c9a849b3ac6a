#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "engine/engine.h"

namespace lapidary {
namespace {

// One hash a token: 0 for text, the block's for its soft tokens.
std::vector<uint64_t> hashes_of(const TokenizedPrompt& prompt) {
  std::vector<uint64_t> hashes(prompt.ids.size(), 0);
  for (const SoftBlock& block : prompt.blocks)
    std::fill_n(hashes.begin() + block.first, block.count, block.content_hash);
  return hashes;
}

const SoftBlock* block_at(const TokenizedPrompt& prompt, int64_t index) {
  for (const SoftBlock& block : prompt.blocks)
    if (index >= block.first && index < block.first + block.count) return &block;
  return nullptr;
}

}  // namespace

Session::Session(Engine& engine, int64_t context)
    : engine_(&engine), context_(context), cache_(engine.config(), engine.kv_pool(), engine.kv_type()) {}

// Where the step that starts at `first` ends: after a chunk, at the next checkpoint, but never inside a block that
// attends both ways. Such a block that is longer than a chunk makes the step longer.
int64_t Session::next_chunk(const TokenizedPrompt& prompt, int64_t first) const {
  int64_t end = std::min<int64_t>(first + engine_->chunk(), static_cast<int64_t>(prompt.ids.size()));
  if (checkpoint_wanted_ > first) end = std::min(end, checkpoint_wanted_);
  const SoftBlock* block = end < static_cast<int64_t>(prompt.ids.size()) ? block_at(prompt, end) : nullptr;
  if (block != nullptr && block->bidirectional && block->first < end)
    end = block->first > first ? block->first : block->first + block->count;
  return end;
}

Result<void> Session::step(const TokenizedPrompt& prompt, int64_t first, int64_t count,
                           std::span<const int32_t> logit_rows, float* logits, float* states,
                           const HiddenObserver* observer) {
  std::vector<BatchRow> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    BatchRow& row = rows[static_cast<size_t>(i)];
    row.token = prompt.ids[static_cast<size_t>(first + i)];
    row.visible_end = first + i + 1;
    if (const SoftBlock* block = block_at(prompt, first + i)) {
      row.soft = block->embeddings->data() + (first + i - block->first) * engine_->config().hidden;
      if (block->bidirectional) row.visible_end = block->first + block->count;
    }
  }
  const BatchSegment segment{&cache_, rows};
  return engine_->decoder().forward({{&segment, 1}, logit_rows, logits, observer, nullptr, nullptr, nullptr, states});
}

Result<void> Session::set_prompt(const TokenizedPrompt& prompt, const Progress& progress) {
  const auto total = static_cast<int64_t>(prompt.ids.size());
  if (total == 0) return fail(ErrorKind::wrong_use, "prompt", "it is empty");
  if (total > context_)
    return fail(ErrorKind::limit, "prompt",
                fmt::format("{} tokens, but the context holds {}; take a larger --context", total, context_));
  const std::vector<uint64_t> hashes = hashes_of(prompt);

  // How much of `held` can stay: a common beginning, at least one token short of the prompt (whose last logits are
  // wanted), not ending inside a block that attends both ways.
  const auto usable = [&](const Held& held) {
    int64_t n = 0;
    const int64_t most = std::min<int64_t>(static_cast<int64_t>(held.ids.size()), total - 1);
    while (n < most && held.ids[static_cast<size_t>(n)] == prompt.ids[static_cast<size_t>(n)] &&
           held.hashes[static_cast<size_t>(n)] == hashes[static_cast<size_t>(n)])
      ++n;
    const SoftBlock* block = block_at(prompt, n);
    return block != nullptr && block->bidirectional && block->first < n ? block->first : n;
  };
  const auto checkpoint_length = static_cast<int64_t>(checkpoint_held_.ids.size());
  reused_ = usable(held_);
  if (!cache_.truncate(reused_)) {
    if (checkpoint_ && usable(checkpoint_held_) == checkpoint_length) {
      cache_ = checkpoint_->fork();
      reused_ = checkpoint_length;
    } else {
      cache_.clear();
      reused_ = 0;
    }
  }
  held_ = {{prompt.ids.begin(), prompt.ids.begin() + reused_}, {hashes.begin(), hashes.begin() + reused_}};

  reserve_logits(1);
  for (int64_t first = reused_; first < total;) {
    if (progress && !progress(first - reused_, total - reused_)) return fail(ErrorKind::cancelled, "prompt", "stopped");
    const int64_t end = next_chunk(prompt, first);
    const auto last_row = static_cast<int32_t>(end - first - 1);
    const std::span<const int32_t> wanted(&last_row, end == total ? 1 : 0);
    LAPIDARY_CHECK(step(prompt, first, end - first, wanted, logits_.data(), states_.data(), nullptr));
    held_.ids.insert(held_.ids.end(), prompt.ids.begin() + first, prompt.ids.begin() + end);
    held_.hashes.insert(held_.hashes.end(), hashes.begin() + first, hashes.begin() + end);
    if (end == checkpoint_wanted_) {
      checkpoint_ = cache_.fork();
      checkpoint_held_ = held_;
    }
    first = end;
  }
  if (progress) progress(total - reused_, total - reused_);
  return {};
}

void Session::reserve_logits(int32_t rows) {
  const size_t size = static_cast<size_t>(rows) * static_cast<size_t>(engine_->config().vocabulary);
  if (logits_.size() < size) logits_.resize(size);
  states_.resize(static_cast<size_t>(rows) * static_cast<size_t>(engine_->config().hidden));
  logit_rows_ = rows;
}

Result<void> Session::append(int32_t token) { return append(std::span(&token, 1)); }

Result<void> Session::append(std::span<const int32_t> tokens, int32_t logit_rows) {
  if (cache_.length() + static_cast<int64_t>(tokens.size()) > context_)
    return fail(ErrorKind::limit, "context", fmt::format("all {} tokens are used", context_));
  if (tokens.empty()) return {};
  std::vector<BatchRow> rows;
  rows.reserve(tokens.size());
  for (const int32_t token : tokens)
    rows.push_back({token, nullptr, cache_.length() + static_cast<int64_t>(rows.size()) + 1});
  const BatchSegment segment{&cache_, rows};
  reserve_logits(logit_rows);
  std::vector<int32_t> wanted;
  for (auto row = static_cast<int32_t>(rows.size()) - logit_rows; row < static_cast<int32_t>(rows.size()); ++row)
    wanted.push_back(row);
  LAPIDARY_CHECK(engine_->decoder().forward(
      {{&segment, 1}, wanted, logits_.data(), nullptr, nullptr, nullptr, nullptr, states_.data()}));
  held_.ids.insert(held_.ids.end(), tokens.begin(), tokens.end());
  held_.hashes.resize(held_.ids.size(), 0);
  return {};
}

void Session::take_back(int64_t count) {
  assert(count >= 0 && count < logit_rows_);
  // The append that wrote them dropped nothing that the window before them needs.
  const bool done = cache_.truncate(cache_.length() - count);
  assert(done);
  static_cast<void>(done);
  held_.ids.resize(static_cast<size_t>(cache_.length()));
  held_.hashes.resize(held_.ids.size());
  logit_rows_ -= static_cast<int32_t>(count);
}

Result<void> Session::evaluate(const TokenizedPrompt& prompt, int64_t first_logits, const Visit& visit,
                               const HiddenObserver* observer, const Progress& progress) {
  // At most 64 MiB of logits at a time, unless a picture's block has to be one step.
  constexpr int64_t logits_bytes_max = 64 << 20;
  const auto total = static_cast<int64_t>(prompt.ids.size());
  const int64_t vocabulary = engine_->config().vocabulary;
  const int64_t rows_max = std::max<int64_t>(1, logits_bytes_max / (vocabulary * static_cast<int64_t>(sizeof(float))));
  if (total > context_)
    return fail(ErrorKind::limit, "prompt", fmt::format("{} tokens, but the context holds {}", total, context_));
  cache_.clear();
  held_ = {};
  checkpoint_wanted_ = -1;
  std::vector<float> logits;
  std::vector<int32_t> wanted;
  for (int64_t first = 0; first < total;) {
    if (progress && !progress(first, total)) return fail(ErrorKind::cancelled, "prompt", "stopped");
    int64_t end = next_chunk(prompt, first);
    const SoftBlock* block = block_at(prompt, std::min(first + rows_max, total - 1));
    if (end - first > rows_max && end > first_logits && (block == nullptr || !block->bidirectional))
      end = first + rows_max;
    const int64_t skipped = std::clamp<int64_t>(first_logits - first, 0, end - first);
    wanted.clear();
    for (int64_t row = skipped; row < end - first; ++row) wanted.push_back(static_cast<int32_t>(row));
    logits.resize(wanted.size() * static_cast<size_t>(vocabulary));
    LAPIDARY_CHECK(step(prompt, first, end - first, wanted, logits.data(), nullptr, observer));
    if (!wanted.empty()) LAPIDARY_CHECK(visit(first + skipped, static_cast<int64_t>(wanted.size()), logits.data()));
    first = end;
  }
  if (progress) progress(total, total);
  return {};
}

}  // namespace lapidary
