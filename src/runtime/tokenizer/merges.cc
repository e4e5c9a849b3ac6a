#include "tokenizer/merges.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace lapidary {
namespace {

constexpr uint32_t end_of_text = std::numeric_limits<uint32_t>::max();

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void MergeTable::reserve(size_t count) {
  const size_t slots = std::bit_ceil(std::max<size_t>(count * 2, 2));
  slots_.assign(slots, Slot{});
  shift_ = 64 - std::countr_zero(slots);
  count_ = 0;
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  if (slots_.size() < (count_ + 1) * 2) {
    const std::vector<Slot> old = std::move(slots_);
    reserve(std::max<size_t>(old.size(), 16));
    for (const Slot& slot : old)
      if (slot.merge.rank != no_rank)
        insert(static_cast<int32_t>(slot.key >> 32), static_cast<int32_t>(slot.key & 0xFFFFFFFF), slot.merge);
  }
  const uint64_t key = key_of(left, right);
  size_t at = slot_of(key);
  for (; slots_[at].merge.rank != no_rank; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].key == key) return;
  slots_[at] = {key, merge};
  ++count_;
}

Merge MergeTable::find(int32_t left, int32_t right) const {
  if (slots_.empty()) return {};
  const uint64_t key = key_of(left, right);
  for (size_t at = slot_of(key); slots_[at].merge.rank != no_rank; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].key == key) return slots_[at].merge;
  return {};
}

// Notes what link `at` and its neighbour join to; false if they do not.
bool SymbolMerger::look_up(const MergeTable& table, uint32_t at) {
  Link& link = links_[at];
  link.merge = link.next == end_of_text ? Merge{} : table.find(link.id, links_[link.next].id);
  return link.merge.rank != no_rank;
}

void SymbolMerger::join(const MergeTable& table, uint32_t at) {
  Link& link = links_[at];
  Link& right = links_[link.next];
  link.id = link.merge.result;
  link.next = right.next;
  right.merge = {};
  if (link.next != end_of_text) links_[link.next].previous = at;
  for (const uint32_t place : {at, link.previous}) {
    if (place == end_of_text || !look_up(table, place)) continue;
    heap_.push_back(uint64_t{links_[place].merge.rank} << 32 | place);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
  }
}

void SymbolMerger::merge(const MergeTable& table, std::span<const int32_t> symbols, std::vector<int32_t>& ids) {
  const auto count = static_cast<uint32_t>(symbols.size());
  if (count == 0) return;
  links_.resize(count);
  heap_.clear();
  for (uint32_t i = 0; i < count; ++i)
    links_[i] = {symbols[i], i == 0 ? end_of_text : i - 1, i + 1 == count ? end_of_text : i + 1, {}};
  for (uint32_t i = 0; i < count; ++i)
    if (look_up(table, i)) heap_.push_back(uint64_t{links_[i].merge.rank} << 32 | i);
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>{});
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
    const uint64_t entry = heap_.back();
    heap_.pop_back();
    const auto at = static_cast<uint32_t>(entry & 0xFFFFFFFF);
    if (links_[at].merge.rank == entry >> 32) join(table, at);
  }
  for (uint32_t at = 0; at != end_of_text; at = links_[at].next) ids.push_back(links_[at].id);
}

}  // namespace lapidary
