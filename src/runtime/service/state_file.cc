#include "service/state_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace lapidary {
namespace {

constexpr uint64_t magic = 0x3130'564B'5041'4CULL;  // "LAPKV01"
constexpr uint64_t tokens_max = 1 << 22;
constexpr size_t bytes_a_token = sizeof(int32_t) + sizeof(uint64_t);

struct Header {
  uint64_t magic = 0, tokens = 0, ring_first = 0, state_bytes = 0;
  uint64_t checksum = 0;  // of this header with 0 here, and of the tokens and hashes
};

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

uint64_t header_checksum(Header header, const TokenLine& line) {
  header.checksum = 0;
  Checksum sum;
  sum.add(std::as_bytes(std::span(&header, 1)));
  sum.add(bytes_of(line.ids));
  sum.add(bytes_of(line.hashes));
  return sum.value();
}

}  // namespace

void Checksum::add(std::span<const std::byte> bytes) {
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    if (held_ == 0 && bytes.size() >= block_.size()) {
      mix(bytes.data());
      bytes = bytes.subspan(block_.size());
      continue;
    }
    const size_t count = std::min(bytes.size(), block_.size() - held_);
    std::memcpy(block_.data() + held_, bytes.data(), count);
    bytes = bytes.subspan(count);
    held_ += count;
    if (held_ == block_.size()) {
      mix(block_.data());
      held_ = 0;
    }
  }
}

uint64_t Checksum::value() {
  std::fill(block_.begin() + static_cast<std::ptrdiff_t>(held_), block_.end(), std::byte{0});
  mix(block_.data());
  uint64_t all = bytes_;
  for (const uint64_t lane : lanes_) all = (std::rotl(all, 17) * 0x9E3779B97F4A7C15ULL) ^ lane;
  return all ^ all >> 31;
}

void Checksum::mix(const std::byte* block) {
  for (size_t lane = 0; lane < lanes_.size(); ++lane) {
    uint64_t word = 0;
    std::memcpy(&word, block + 8 * lane, 8);
    lanes_[lane] = std::rotl(lanes_[lane] ^ word * 0xC2B2AE3D27D4EB4FULL, 31) * 0x9E3779B185EBCA87ULL;
  }
}

bool SavedState::whole() const {
  Checksum sum;
  sum.add(state);
  return sum.value() == checksum;
}

Result<SavedState> parse_saved_state(std::span<const std::byte> bytes, const std::string& where, bool check_header) {
  Header header;
  if (bytes.size() < sizeof(header)) return malformed(where, "a saved state", "the end");
  std::memcpy(&header, bytes.data(), sizeof(header));
  bytes = bytes.subspan(sizeof(header));
  if (header.magic != magic || header.tokens == 0 || header.tokens > tokens_max)
    return malformed(where, "a saved state", "something else");
  if (bytes.size() < header.tokens * bytes_a_token + sizeof(uint64_t) ||
      bytes.size() - header.tokens * bytes_a_token - sizeof(uint64_t) != header.state_bytes)
    return malformed(where, fmt::format("{} tokens and {} bytes of state", header.tokens, header.state_bytes),
                     fmt::format("{} bytes", bytes.size()));
  SavedState saved;
  saved.line.ids.resize(header.tokens);
  saved.line.hashes.resize(header.tokens);
  std::memcpy(saved.line.ids.data(), bytes.data(), header.tokens * sizeof(int32_t));
  bytes = bytes.subspan(header.tokens * sizeof(int32_t));
  std::memcpy(saved.line.hashes.data(), bytes.data(), header.tokens * sizeof(uint64_t));
  bytes = bytes.subspan(header.tokens * sizeof(uint64_t));
  if (check_header && header_checksum(header, saved.line) != header.checksum)
    return malformed(where, "a whole saved state", "a damaged one");
  saved.ring_first = static_cast<int64_t>(std::min<uint64_t>(header.ring_first, tokens_max));
  saved.state = bytes.first(header.state_bytes);
  std::memcpy(&saved.checksum, bytes.data() + header.state_bytes, sizeof(saved.checksum));
  return saved;
}

uint64_t saved_state_bytes(const TokenLine& line, const KvCache& state) {
  return sizeof(Header) + line.bytes() + state.saved_bytes() + sizeof(uint64_t);
}

Result<void> write_saved_state(const TokenLine& line, const KvCache& state,
                               const std::function<Result<void>(std::span<const std::byte>)>& write) {
  Header header{magic, static_cast<uint64_t>(line.length()), static_cast<uint64_t>(state.ring_first()),
                state.saved_bytes(), 0};
  header.checksum = header_checksum(header, line);
  LAPIDARY_CHECK(write(std::as_bytes(std::span(&header, 1))));
  LAPIDARY_CHECK(write(bytes_of(line.ids)));
  LAPIDARY_CHECK(write(bytes_of(line.hashes)));
  Checksum sum;
  LAPIDARY_CHECK(state.save([&](std::span<const std::byte> piece) -> Result<void> {
    sum.add(piece);
    return write(piece);
  }));
  const uint64_t value = sum.value();
  return write(std::as_bytes(std::span(&value, 1)));
}

}  // namespace lapidary
