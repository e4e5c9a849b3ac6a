#include "serve/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/json.h"
#include "base/secret.h"
#include "base/system.h"

namespace lapidary {
namespace {

constexpr uint64_t file_bytes_max = 1 << 20;
constexpr size_t key_random_bytes = 20, key_length_min = 16, keys_max = 1000;
constexpr std::array<const char*, 4> scope_names = {"none", "infer", "manage", "admin"};

std::string new_key() { return "lap-" + random_hex(key_random_bytes); }

bool good_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

std::string file_text(const std::vector<Key>& keys) {
  OrderedJson list = OrderedJson::array();
  for (const Key& key : keys)
    list.push_back({{"id", key.id},
                    {"key", key.key},
                    {"scope", scope_name(key.scope)},
                    {"class", key.background ? "background" : "interactive"}});
  return OrderedJson{{"keys", list}}.dump(1) + "\n";
}

Result<Key> parse_key(const Json& entry, const std::string& where) {
  if (!entry.is_object()) return malformed(where, "an object", dump(entry).substr(0, 20));
  Key key;
  LAPIDARY_TRY(key.id, json_string(entry, "id", "", where));
  LAPIDARY_TRY(key.key, json_string(entry, "key", "", where));
  LAPIDARY_TRY(const std::string scope, json_string(entry, "scope", "infer", where));
  LAPIDARY_TRY(const std::string request_class, json_string(entry, "class", "interactive", where));
  if (!good_id(key.id)) return malformed(where + ".id", "letters, digits, - _ .", fmt::format("\"{}\"", key.id));
  if (key.key.size() < key_length_min)
    return malformed(where + ".key", fmt::format("at least {} characters", key_length_min), "fewer");
  const auto* const found = std::ranges::find(scope_names, scope);
  if (found == scope_names.end() || scope == "none")
    return malformed(where + ".scope", "infer, manage or admin", fmt::format("\"{}\"", scope));
  key.scope = static_cast<Scope>(found - scope_names.begin());
  if (request_class != "interactive" && request_class != "background")
    return malformed(where + ".class", "interactive or background", fmt::format("\"{}\"", request_class));
  key.background = request_class == "background";
  return key;
}

}  // namespace

const char* scope_name(Scope scope) { return scope_names[static_cast<size_t>(scope)]; }

Result<std::vector<Key>> parse_keys(std::string_view json, const std::string& where) {
  LAPIDARY_TRY(const Json root, parse_json(json, where));
  if (!root.is_object() || !root.contains("keys") || !root["keys"].is_array())
    return malformed(where, "{\"keys\": […]}", dump(root).substr(0, 20));
  const Json& list = root["keys"];
  if (list.size() > keys_max) return malformed(where, fmt::format("at most {} keys", keys_max), "more");
  std::vector<Key> keys;
  for (size_t i = 0; i < list.size(); ++i) {
    LAPIDARY_TRY(Key key, parse_key(list[i], fmt::format("{}: keys[{}]", where, i)));
    if (std::ranges::any_of(keys, [&](const Key& other) { return other.id == key.id; }))
      return malformed(fmt::format("{}: keys[{}].id", where, i), "an id of its own",
                       fmt::format("\"{}\" again", key.id));
    keys.push_back(std::move(key));
  }
  return keys;
}

std::string KeyStore::default_path() {
  if (const auto state = environment("XDG_STATE_HOME"); state && std::filesystem::path(*state).is_absolute())
    return *state + "/lapidary/keys.json";
  if (const auto home = environment("HOME"); home && !home->empty()) return *home + "/.local/state/lapidary/keys.json";
  return "";
}

Result<std::unique_ptr<KeyStore>> KeyStore::open(const std::string& path) {
  if (path.empty())
    return fail(ErrorKind::wrong_use, "--key-file", "neither XDG_STATE_HOME nor HOME is set: name a file");
  auto store = std::make_unique<KeyStore>(std::vector<Key>());
  store->path_ = path;
  auto text = read_private_file(path, file_bytes_max);
  if (!text && text.error().kind == ErrorKind::not_found) {
    const std::vector<Key> first = {{"default", new_key(), Scope::infer, false},
                                    {"admin", new_key(), Scope::admin, false}};
    if (const auto made = create_private_file(path, file_text(first)); !made && made.error().kind != ErrorKind::refused)
      return std::unexpected(made.error());
    text = read_private_file(path, file_bytes_max);
  }
  if (!text) return std::unexpected(text.error());
  LAPIDARY_TRY(store->keys_, parse_keys(*text, path));
  store->stored_ = std::move(*text);
  return store;
}

std::optional<Caller> KeyStore::find(std::string_view key) const {
  const std::scoped_lock lock(mutex_);
  std::optional<Caller> caller;
  for (const Key& known : keys_)
    if (equal_in_constant_time(known.key, key)) caller = Caller{known.id, known.scope, known.background};
  return caller;
}

std::vector<Key> KeyStore::keys() const {
  const std::scoped_lock lock(mutex_);
  return keys_;
}

bool KeyStore::has(const std::string& id) const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(keys_, [&](const Key& key) { return key.id == id; });
}

Result<void> KeyStore::store() {
  if (path_.empty()) return {};
  std::string text = file_text(keys_);
  LAPIDARY_CHECK(write_private_file(path_, text));
  stored_ = std::move(text);
  return {};
}

Result<Key> KeyStore::add(const std::string& id, Scope scope, bool background) {
  const std::scoped_lock lock(mutex_);
  if (!good_id(id))
    return malformed("id", "letters, digits, - _ . (at most 64)", fmt::format("\"{}\"", id.substr(0, 64)));
  if (keys_.size() >= keys_max) return fail(ErrorKind::limit, "keys", fmt::format("there are {} already", keys_max));
  for (const Key& key : keys_)
    if (key.id == id) return fail(ErrorKind::wrong_use, "id", fmt::format("there is a key \"{}\" already", id));
  keys_.push_back(Key{id, new_key(), scope, background});
  if (auto stored = store(); !stored) {
    keys_.pop_back();
    return std::unexpected(stored.error());
  }
  return keys_.back();
}

Result<void> KeyStore::revoke(const std::string& id) {
  const std::scoped_lock lock(mutex_);
  if (std::erase_if(keys_, [&](const Key& key) { return key.id == id; }) == 0)
    return fail(ErrorKind::not_found, "id", fmt::format("no key \"{}\"", id.substr(0, 64)));
  return store();
}

bool KeyStore::refresh() {
  if (path_.empty()) return false;
  auto text = read_private_file(path_, file_bytes_max);
  const std::scoped_lock lock(mutex_);
  if (text && *text == stored_) return false;
  auto keys = text ? parse_keys(*text, path_) : Result<std::vector<Key>>(std::vector<Key>());
  if (!text && keys_.empty()) return false;
  stored_ = text ? std::move(*text) : "";
  keys_ = keys ? std::move(*keys) : std::vector<Key>();
  return true;
}

}  // namespace lapidary
