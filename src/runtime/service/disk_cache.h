// States of the prefix cache on disk, for the next start: one file a state, whole or not there (base/output_file.h).
//
// A file: a header (what it is, its lengths, a checksum), the tokens and media hashes, the pages, a checksum of them.
// Files lie in a folder named after everything that the numbers depend on (the model's files, the kernels, the type of
// K and V, the program's version), so a changed model never finds another's states. A file that does not hold what it
// says is deleted and counts as not there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "model/kv_cache.h"
#include "service/prefix_cache.h"

namespace lapidary {

// Names everything that a state's numbers depend on.
std::string state_identity(const Engine& engine);

// Used by the engine's thread; writes on a thread of its own.
class DiskCache {
 public:
  // Looks at the files that are there. The folder is made if need be, and cleared of what a killed process left.
  static Result<std::unique_ptr<DiskCache>> open(const std::string& folder, const std::string& identity,
                                                 uint64_t bytes_max, int64_t window);
  ~DiskCache();  // a file that is being written is given up

  // How much of the prompt the best file could give, and which one that is.
  struct Hit {
    std::string path;
    int64_t length = 0;
  };
  std::optional<Hit> find(const TokenLine& prompt, std::span<const SoftBlock> blocks) const;

  // The state, put into `empty`, and its tokens. On any error the file goes and `empty` stays as it was.
  struct Loaded {
    std::shared_ptr<TokenLine> line;
    KvCache state;
  };
  Result<Loaded> load(const std::string& path, KvCache empty);

  // Writes the first state.length() tokens' state, unless it is there already. The pages must not change until it is
  // done; collect() then lets go of them.
  void save(const std::shared_ptr<const TokenLine>& line, KvCache state);
  bool busy() const;
  void collect();

  uint64_t bytes() const;
  size_t files() const;

 private:
  struct File {
    std::string path;
    TokenLine line;
    int64_t ring_first = 0;  // what sliding layers still hold begins at or before this position
    uint64_t bytes = 0;
    uint64_t used = 0;  // a counter
  };
  struct Write {
    std::string path;
    TokenLine line;
    KvCache state;
    std::optional<uint64_t> bytes;  // written
    bool done = false;
  };
  DiskCache(std::string folder, uint64_t bytes_max, int64_t window)
      : folder_(std::move(folder)), bytes_max_(bytes_max), window_(window) {}
  void scan();
  void forget(const std::string& path, bool remove);
  void make_room(uint64_t bytes);
  void write_files();

  std::string folder_;
  uint64_t bytes_max_;
  int64_t window_;
  std::vector<File> files_;
  uint64_t used_ = 0;

  mutable std::mutex mutex_;  // guards writing_ and over_
  std::condition_variable changed_;
  std::unique_ptr<Write> writing_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace lapidary
