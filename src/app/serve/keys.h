// The keys of a server: who may do what. Kept in a file of mode 0600 that the program's other parts read too.
//
//   {"keys": [{"id": "default", "key": "lap-…", "scope": "infer", "class": "interactive"}, …]}
//
// A key that is taken out of the file, or revoked through the API, is worth nothing within a second, and streams that
// it opened end.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/http_message.h"

namespace lapidary {

const char* scope_name(Scope scope);

struct Key {
  std::string id, key;
  Scope scope = Scope::infer;
  bool background = false;
};

Result<std::vector<Key>> parse_keys(std::string_view json, const std::string& where);

// Safe from any thread.
class KeyStore {
 public:
  // Keys in memory only.
  explicit KeyStore(std::vector<Key> keys) : keys_(std::move(keys)) {}
  // Reads the file; makes it, with a key `default` (infer) and a key `admin`, if it is not there.
  static Result<std::unique_ptr<KeyStore>> open(const std::string& path);
  // $XDG_STATE_HOME/lapidary/keys.json, else ~/.local/state/lapidary/keys.json.
  static std::string default_path();

  // Compares with every key, always, so that the time tells nothing.
  std::optional<Caller> find(std::string_view key) const;
  std::vector<Key> keys() const;
  bool has(const std::string& id) const;
  const std::string& path() const { return path_; }

  Result<Key> add(const std::string& id, Scope scope, bool background);
  Result<void> revoke(const std::string& id);

  // Reads the file again if it has changed. True: the keys are others now. An unreadable file means no keys.
  bool refresh();

 private:
  Result<void> store();
  mutable std::mutex mutex_;
  std::vector<Key> keys_;
  std::string path_, stored_;
};

}  // namespace lapidary
