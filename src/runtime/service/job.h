// A request inside the service.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/loaded_model.h"
#include "service/prompt_reader.h"
#include "service/service.h"

namespace lapidary {

// Filled by submit(), then by the reading thread, then owned by the engine's thread; only `cancelled` is shared.
struct Job {
  GenerateRequest request;
  GenerateSink sink;
  uint64_t number = 0;  // in order of arrival
  size_t model = 0;
  double submitted_seconds = 0;
  std::atomic<bool> cancelled{false};

  std::shared_ptr<const LoadedModel> opened;
  std::optional<Result<ReadPrompt>> read;
  std::vector<std::string> warnings;

  bool interactive() const { return request.request_class == RequestClass::interactive; }
  bool stopped() const { return cancelled.load(std::memory_order_relaxed); }
  bool late(double now) const {
    return request.deadline_seconds > 0 && now > submitted_seconds + request.deadline_seconds;
  }
};

// Which of two waiting requests comes first.
inline bool goes_before(const Job& a, const Job& b) {
  return a.interactive() != b.interactive() ? a.interactive() : a.number < b.number;
}

}  // namespace lapidary
