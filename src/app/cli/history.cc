#include "cli/history.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/mapped_file.h"
#include "base/system.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr size_t entries_max = 1000;
constexpr size_t file_lines_max = 2 * entries_max;  // then the file is written anew with the last entries_max
constexpr uint64_t file_bytes_max = 64 << 20;

}  // namespace

std::string History::default_path() {
  if (const auto state = environment("XDG_STATE_HOME"); state && fs::path(*state).is_absolute())
    return *state + "/lapidary/history";
  if (const auto home = environment("HOME"); home && !home->empty()) return *home + "/.local/state/lapidary/history";
  return "";
}

std::string History::encode(std::string_view entry) {
  std::string line;
  for (const char c : entry) {
    if (c == '\n')
      line += "\\n";
    else if (c == '\\')
      line += "\\\\";
    else
      line += c;
  }
  return line;
}

std::string History::decode(std::string_view line) {
  std::string entry;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      ++i;
      entry += line[i] == 'n' ? '\n' : line[i];
    } else {
      entry += line[i];
    }
  }
  return entry;
}

History::History(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  const auto text = read_file(path_, file_bytes_max);
  if (!text) return;
  for (size_t at = 0; at < text->size();) {
    const size_t end = std::min(text->find('\n', at), text->size());
    if (end > at) entries_.push_back(decode(std::string_view(*text).substr(at, end - at)));
    at = end + 1;
  }
  const bool long_file = entries_.size() > file_lines_max;
  if (entries_.size() > entries_max) entries_.erase(entries_.begin(), entries_.end() - entries_max);
  if (long_file) static_cast<void>(write_file(true));  // next time, then
}

Result<void> History::add(const std::string& entry) {
  if (entry.find_first_not_of(" \t\n") == std::string::npos) return {};
  if (!entries_.empty() && entries_.back() == entry) return {};
  entries_.push_back(entry);
  return path_.empty() ? Result<void>{} : write_file(false);
}

// Appends the last entry, or writes all of them into a new file that replaces the old one.
Result<void> History::write_file(bool all) const {
  std::error_code error;
  const fs::path folder = fs::path(path_).parent_path();
  if (!fs::exists(folder, error)) {
    fs::create_directories(folder, error);
    fs::permissions(folder, fs::perms::owner_all, error);
  }
  const std::string target = all ? path_ + ".new" : path_;
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  // Empty first, then closed to others, then filled.
  if (const File file(std::fopen(target.c_str(), all ? "we" : "ae"), std::fclose); !file)
    return fail(ErrorKind::io, target, "the history cannot be written");
  fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write, error);
  if (error) return fail(ErrorKind::io, target, error.message());
  std::string text;
  for (size_t i = all ? 0 : entries_.size() - 1; i < entries_.size(); ++i) text += encode(entries_[i]) + "\n";
  {
    const File file(std::fopen(target.c_str(), "ae"), std::fclose);
    if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size())
      return fail(ErrorKind::io, target, "the history cannot be written");
  }
  if (all) fs::rename(target, path_, error);
  return {};
}

size_t History::find_older(std::string_view text, size_t before) const {
  for (size_t i = std::min(before, entries_.size()); i-- > 0;)
    if (entries_[i].find(text) != std::string::npos) return i;
  return entries_.size();
}

}  // namespace lapidary
