#include "tokenizer/longest_match.h"

#include <algorithm>

namespace lapidary {

LongestMatch::LongestMatch(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.text.empty(); });
  std::ranges::sort(entries_,
                    [](const Entry& a, const Entry& b) { return a.text == b.text ? a.id < b.id : a.text < b.text; });
  const auto same = [](const Entry& a, const Entry& b) { return a.text == b.text; };
  entries_.erase(std::unique(entries_.begin(), entries_.end(), same), entries_.end());
  for (const Entry& entry : entries_) starts_[static_cast<unsigned char>(entry.text[0])] = true;
}

LongestMatch::Found LongestMatch::next(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    const Found found = longest_at(text, at);
    if (found.length > 0) return found;
  }
  return {text.size(), 0, -1};
}

// Narrows the sorted strings byte by byte to those that agree with the text so far; one that ends here sorts first.
LongestMatch::Found LongestMatch::longest_at(std::string_view text, size_t at) const {
  Found found{at, 0, -1};
  auto first = entries_.begin(), last = entries_.end();
  for (size_t depth = 0; first != last; ++depth) {
    if (first->text.size() == depth) {
      if (depth > 0) found = {at, depth, first->id};
      if (++first == last) break;
    }
    if (at + depth >= text.size()) break;
    const char wanted = text[at + depth];
    const auto byte_of = [depth](const Entry& entry) { return static_cast<unsigned char>(entry.text[depth]); };
    const auto below = [&](const Entry& entry, char byte) { return byte_of(entry) < static_cast<unsigned char>(byte); };
    const auto above = [&](char byte, const Entry& entry) { return static_cast<unsigned char>(byte) < byte_of(entry); };
    first = std::lower_bound(first, last, wanted, below);
    last = std::upper_bound(first, last, wanted, above);
  }
  return found;
}

}  // namespace lapidary
