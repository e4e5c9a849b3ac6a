#include "serve/response_store.h"

#include <algorithm>

namespace lapidary {
namespace {

// Roughly: what grows with the request is its text and its media.
uint64_t size_of(const StoredResponse& response) {
  uint64_t bytes = dump(response.answer).size() + 2 * dump(response.input_items).size();
  for (const Message& message : response.conversation) {
    bytes += sizeof(Message) + message.reasoning.size();
    if (const auto* text = std::get_if<std::string>(&message.content)) bytes += text->size();
    if (const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content))
      for (const ContentPart& part : *parts) {
        if (const auto* words = std::get_if<TextPart>(&part)) bytes += words->text.size();
        if (const auto* media = std::get_if<MediaPart>(&part)) bytes += media->bytes ? media->bytes->size() : 0;
      }
  }
  return bytes;
}

}  // namespace

void ResponseStore::drop(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

void ResponseStore::put(std::shared_ptr<const StoredResponse> response) {
  const uint64_t bytes = size_of(*response);
  const std::scoped_lock lock(mutex_);
  const auto old =
      std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.response->id == response->id; });
  if (old != entries_.end()) drop(old);
  entries_.push_back({std::move(response), bytes});
  bytes_ += bytes;
  while (entries_.size() > responses_max || (bytes_ > bytes_max && entries_.size() > 1)) drop(entries_.begin());
}

std::shared_ptr<const StoredResponse> ResponseStore::find(const std::string& id, const std::string& owner) const {
  const std::scoped_lock lock(mutex_);
  for (const Entry& entry : entries_)
    if (entry.response->id == id && entry.response->owner == owner) return entry.response;
  return nullptr;
}

bool ResponseStore::remove(const std::string& id, const std::string& owner) {
  const std::scoped_lock lock(mutex_);
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry)
    if (entry->response->id == id && entry->response->owner == owner) {
      drop(entry);
      return true;
    }
  return false;
}

}  // namespace lapidary
