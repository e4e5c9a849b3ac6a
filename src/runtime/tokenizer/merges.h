// Which neighbouring tokens join to which token, and in what order.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace lapidary {

inline constexpr uint32_t no_rank = std::numeric_limits<uint32_t>::max();

struct Merge {
  uint32_t rank = no_rank;  // lower ranks go first; no_rank: the two do not join
  int32_t result = -1;
};

// A hash table from pairs of ids to merges.
class MergeTable {
 public:
  void reserve(size_t count);
  // Keeps the first of two merges of the same pair.
  void insert(int32_t left, int32_t right, Merge merge);
  Merge find(int32_t left, int32_t right) const;
  size_t size() const { return count_; }

  template <typename Function>
  void for_each_result(Function&& function) const {
    for (const Slot& slot : slots_)
      if (slot.merge.rank != no_rank) function(slot.merge.result);
  }

 private:
  struct Slot {
    uint64_t key = 0;
    Merge merge;
  };
  size_t slot_of(uint64_t key) const { return static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> shift_); }
  std::vector<Slot> slots_;  // open addressing, a power of two
  size_t count_ = 0;
  int shift_ = 63;
};

// Joins symbols by the lowest rank, the leftmost of equals first, until nothing joins. Holds working memory: one per
// thread.
class SymbolMerger {
 public:
  // At most this many symbols at a time.
  static constexpr size_t symbols_max = size_t{1} << 24;

  // Appends what `symbols` becomes to `ids`.
  void merge(const MergeTable& table, std::span<const int32_t> symbols, std::vector<int32_t>& ids);

 private:
  struct Link {
    int32_t id = -1;
    uint32_t previous = 0, next = 0;
    Merge merge;  // with the next one
  };
  bool look_up(const MergeTable& table, uint32_t at);
  void join(const MergeTable& table, uint32_t at);

  std::vector<Link> links_;
  std::vector<uint64_t> heap_;  // rank << 32 | place; entries whose rank is no longer the link's are stale
};

}  // namespace lapidary
