// The format of a saved state: header, tokens, media hashes, pages, checksum.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "service/prefix_cache.h"

namespace lapidary {

// Finds damage, not malice: the folder is its owner's. Four lanes, so that it keeps up with the memory. The pieces in
// which the bytes come do not matter.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes);
  uint64_t value();  // once

 private:
  void mix(const std::byte* block);
  std::array<uint64_t, 4> lanes_ = {1, 2, 3, 4};
  std::array<std::byte, 32> block_{};
  size_t held_ = 0;
  uint64_t bytes_ = 0;
};

struct SavedState {
  TokenLine line;
  int64_t ring_first = 0;            // what sliding layers still hold begins at or before this position
  std::span<const std::byte> state;  // for KvCache::restore; a view
  uint64_t checksum = 0;             // that `state` should have
  bool whole() const;                // whether it has it
};

// Checks sizes against the bytes that are there before anything is allocated. `check_header`: and the header's
// checksum (off for the fuzzer, which could never get past it).
Result<SavedState> parse_saved_state(std::span<const std::byte> bytes, const std::string& where,
                                     bool check_header = true);

uint64_t saved_state_bytes(const TokenLine& line, const KvCache& state);
Result<void> write_saved_state(const TokenLine& line, const KvCache& state,
                               const std::function<Result<void>(std::span<const std::byte>)>& write);

}  // namespace lapidary
