#include "base/port_owner.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace lapidary {
namespace {

namespace fs = std::filesystem;

struct Listener {
  std::string inode, user;
};

// A line of /proc/net/tcp: number, local address:port, remote, state (0A: listening), queues, timer, retransmits, user,
// timeout, inode.
std::optional<Listener> listener_in(const char* table, uint16_t port) {
  std::ifstream file(table);
  std::string line;
  const std::string wanted = fmt::format(":{:04X}", port);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string number, local, remote, state, queues, timer, retransmits, user, timeout, inode;
    words >> number >> local >> remote >> state >> queues >> timer >> retransmits >> user >> timeout >> inode;
    if (state == "0A" && local.ends_with(wanted)) return Listener{inode, user};
  }
  return std::nullopt;
}

bool holds_socket(const fs::path& process, const std::string& link) {
  std::error_code error;
  for (fs::directory_iterator file(process / "fd", error), end; !error && file != end; file.increment(error)) {
    std::error_code unreadable;
    if (fs::read_symlink(file->path(), unreadable) == link) return true;
  }
  return false;
}

}  // namespace

std::string port_owner(uint16_t port) {
  auto listener = listener_in("/proc/net/tcp", port);
  if (!listener) listener = listener_in("/proc/net/tcp6", port);
  if (!listener) return "";
  const std::string link = fmt::format("socket:[{}]", listener->inode);
  std::error_code error;
  for (fs::directory_iterator process("/proc", error), end; !error && process != end; process.increment(error)) {
    const std::string number = process->path().filename().string();
    if (!std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; })) continue;
    if (!holds_socket(process->path(), link)) continue;
    std::ifstream name_file(process->path() / "comm");
    std::string name;
    std::getline(name_file, name);
    return fmt::format("{} (process {})", name.empty() ? "a program" : name, number);
  }
  return fmt::format("a process of user {}", listener->user);
}

}  // namespace lapidary
