// Responses that /v1/responses keeps, so that they can be read again and continued. In memory, bounded; the oldest
// leave.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "chat/conversation.h"

namespace lapidary {

struct StoredResponse {
  std::string id, owner;              // the key's id: nobody else gets to see it
  OrderedJson answer;                 // as it is sent
  OrderedJson input_items;            // a list
  std::vector<Message> conversation;  // input and reply, to be continued
  bool running = false;
  std::function<void()> cancel;  // of one that runs in the background; the loop's thread
};

// Safe from any thread.
class ResponseStore {
 public:
  void put(std::shared_ptr<const StoredResponse> response);
  // Null if there is none, or if it is another key's.
  std::shared_ptr<const StoredResponse> find(const std::string& id, const std::string& owner) const;
  bool remove(const std::string& id, const std::string& owner);

 private:
  static constexpr size_t responses_max = 500;
  static constexpr uint64_t bytes_max = 256 << 20;
  struct Entry {
    std::shared_ptr<const StoredResponse> response;
    uint64_t bytes = 0;
  };
  void drop(std::list<Entry>::iterator entry);
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // oldest first
  uint64_t bytes_ = 0;
};

}  // namespace lapidary
