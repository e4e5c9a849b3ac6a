#include "service/prefix_cache.h"

#include <algorithm>

namespace lapidary {

int64_t common_beginning(const TokenLine& a, const TokenLine& b, int64_t most) {
  const auto count = static_cast<std::ptrdiff_t>(std::min({most, a.length(), b.length()}));
  const auto ids = std::mismatch(a.ids.begin(), a.ids.begin() + count, b.ids.begin()).first - a.ids.begin();
  return std::mismatch(a.hashes.begin(), a.hashes.begin() + ids, b.hashes.begin()).first - a.hashes.begin();
}

int64_t outside_blocks(int64_t length, std::span<const SoftBlock> blocks) {
  for (const SoftBlock& block : blocks)
    if (block.bidirectional && length > block.first && length < block.first + block.count) return block.first;
  return length;
}

std::vector<int64_t> checkpoint_ladder(int64_t known, int64_t total, int64_t window, std::span<const int64_t> wanted,
                                       std::span<const SoftBlock> blocks) {
  const auto page_of = [](int64_t length) { return length / kv_page_positions * kv_page_positions; };
  std::vector<int64_t> lengths(wanted.begin(), wanted.end());
  const int64_t anchor = page_of(window);
  if (window > 0) {
    lengths.push_back(anchor);
    for (int64_t distance = 256; total - distance > anchor; distance *= 2) lengths.push_back(page_of(total - distance));
  }
  for (int64_t& length : lengths) length = outside_blocks(length, blocks);
  std::erase_if(lengths, [&](int64_t length) { return length <= known || length > total; });
  std::ranges::sort(lengths);
  lengths.erase(std::ranges::unique(lengths).begin(), lengths.end());
  return lengths;
}

std::optional<PrefixCache::Found> PrefixCache::find(const TokenLine& prompt, std::span<const SoftBlock> blocks,
                                                    std::span<const Running> running) {
  const int64_t most = prompt.length() - 1;
  int64_t best = 0;
  const KvCache* from = nullptr;
  auto used = entries_.end();
  const auto consider = [&](int64_t common, const KvCache& state) {
    const int64_t length = outside_blocks(std::min(common, state.length()), blocks);
    if (length <= best || !state.can_truncate(length)) return false;
    best = length;
    from = &state;
    return true;
  };
  std::unordered_map<const TokenLine*, int64_t> common;  // each line is compared once
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const auto [known, is_new] = common.try_emplace(entry->line.get(), 0);
    if (is_new) known->second = common_beginning(prompt, *entry->line, most);
    if (consider(known->second, entry->state)) used = entry;
  }
  for (const Running& other : running)
    if (consider(common_beginning(prompt, *other.line, std::min(most, other.state->length())), *other.state))
      used = entries_.end();
  if (from == nullptr) return std::nullopt;
  if (used != entries_.end()) entries_.splice(entries_.begin(), entries_, used);
  Found found{from->fork(), best};
  found.state.truncate(best);
  return found;
}

void PrefixCache::add(const std::shared_ptr<const TokenLine>& line, KvCache state, bool lasting) {
  const int64_t length = state.length();
  if (length == 0 || length > line->length()) return;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry)
    if (entry->state.length() == length &&
        (entry->line == line || common_beginning(*line, *entry->line, length) == length)) {
      entries_.splice(entries_.begin(), entries_, entry);
      return;
    }
  entries_.push_front({line, std::move(state), lasting});
  count(entries_.front());
  shrink(bytes_max_);
}

std::optional<PrefixCache::Unsaved> PrefixCache::next_unsaved() {
  const auto entry = std::ranges::find_if(entries_, &Entry::unsaved);
  if (entry == entries_.end()) return std::nullopt;
  entry->unsaved = false;
  return Unsaved{entry->line, entry->state.fork()};
}

void PrefixCache::shrink(uint64_t bytes_wanted) {
  while (!entries_.empty() && bytes() > bytes_wanted) drop(std::prev(entries_.end()));
}

uint64_t PrefixCache::bytes() const {
  uint64_t sum = page_bytes_;
  for (const auto& [line, entries] : lines_) sum += line->bytes();
  return sum;
}

void PrefixCache::count(const Entry& entry) {
  ++lines_[entry.line.get()];
  entry.state.visit_pages([this](const void* page, uint64_t bytes) {
    PageUse& use = pages_[page];
    use.bytes = bytes;
    if (use.entries++ == 0) page_bytes_ += bytes;
  });
}

void PrefixCache::drop(Entries::iterator entry) {
  entry->state.visit_pages([this](const void* page, uint64_t) {
    const auto use = pages_.find(page);
    if (--use->second.entries > 0) return;
    page_bytes_ -= use->second.bytes;
    pages_.erase(use);
  });
  if (--lines_[entry->line.get()] == 0) lines_.erase(entry->line.get());
  entries_.erase(entry);
}

}  // namespace lapidary
