// What has been read once need not be read again: states of finished and running sequences, found by their tokens.
//
// A state is a KvCache at some length of a line of tokens. Full layers share their pages with every state and sequence
// that begins the same way; sliding layers hold the window before the state's length. So a state can be cut back only
// as far as its rings reach (everywhere while they hold the beginning), and a prompt that leaves a line early needs a
// state near the place where it leaves: checkpoints are kept on a ladder (checkpoint_ladder).
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "model/kv_cache.h"

namespace lapidary {

// Tokens and, for each, what it shows: 0 for text, the medium's content hash for its soft tokens (two pictures have the
// same placeholders). Only ever appended to, so that states of any length may share it.
struct TokenLine {
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;
  int64_t length() const { return static_cast<int64_t>(ids.size()); }
  uint64_t bytes() const { return ids.size() * (sizeof(int32_t) + sizeof(uint64_t)); }
};

// Tokens at the beginning that both have, at most `most`.
int64_t common_beginning(const TokenLine& a, const TokenLine& b, int64_t most);

// A length not inside a block that attends both ways: `length`, or that block's beginning.
int64_t outside_blocks(int64_t length, std::span<const SoftBlock> blocks);

// Lengths of a prompt of `total` tokens at which states should be kept, ascending, between `known` and `total`: the
// window's own length, from which all shorter ones can be had, and distances from the end that double from 256 on, cut
// to pages; besides `wanted` (turns' starts) exactly.
std::vector<int64_t> checkpoint_ladder(int64_t known, int64_t total, int64_t window, std::span<const int64_t> wanted,
                                       std::span<const SoftBlock> blocks);

// Used by the engine's thread only. The pool must outlive it.
class PrefixCache {
 public:
  explicit PrefixCache(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  struct Found {
    KvCache state;  // a fork, of exactly the length that can be used
    int64_t length = 0;
  };
  // Another place to look: the state of a running sequence.
  struct Running {
    const TokenLine* line = nullptr;
    const KvCache* state = nullptr;
  };
  // The longest usable beginning of `prompt` short of its last token (whose logits are wanted).
  std::optional<Found> find(const TokenLine& prompt, std::span<const SoftBlock> blocks,
                            std::span<const Running> running);

  // Keeps the state of the first state.length() tokens of `line`. What was used longest ago goes, if it is too much.
  // `lasting`: worth a place on disk too.
  void add(const std::shared_ptr<const TokenLine>& line, KvCache state, bool lasting = false);
  // A lasting state that this has not given out yet, forked.
  struct Unsaved {
    std::shared_ptr<const TokenLine> line;
    KvCache state;
  };
  std::optional<Unsaved> next_unsaved();

  // Frees until at most `bytes` are held.
  void shrink(uint64_t bytes);

  uint64_t bytes() const;  // of pages (each counted once, though others may use it too) and tokens
  uint64_t entries() const { return entries_.size(); }
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  struct Entry {
    std::shared_ptr<const TokenLine> line;
    KvCache state;
    bool unsaved = false;
  };
  using Entries = std::list<Entry>;  // used most recently first
  void count(const Entry& entry);
  void drop(Entries::iterator entry);

  uint64_t bytes_max_;
  Entries entries_;
  struct PageUse {
    uint64_t bytes = 0;
    int32_t entries = 0;
  };
  std::unordered_map<const void*, PageUse> pages_;
  std::unordered_map<const TokenLine*, int32_t> lines_;  // entries of each
  uint64_t page_bytes_ = 0;
};

}  // namespace lapidary
