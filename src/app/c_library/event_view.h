// An event of the service as C sees it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lapidary.h"
#include "service/service.h"

namespace lapidary {

// Holds the event that it shows: pointers in get() live until the next show(), and the view does not move.
class EventView {
 public:
  EventView() { clear(); }
  EventView(const EventView&) = delete;
  EventView& operator=(const EventView&) = delete;

  // `seed` is told with the last one.
  void show(GenerateEvent event, uint64_t seed);
  // The last event where there was no memory for the true one; needs none.
  void show_out_of_memory() noexcept;
  const lapidary_event* get() const { return &event_; }

 private:
  void clear() noexcept;
  void set_text(const std::string& text);
  void fill(const ProgressEvent& progress);
  void fill(const MediaEvent& media);
  void fill(const TruncatedEvent& truncated);
  void fill(const WarningEvent& warning);
  void fill(const PromptEvent& prompt);
  void fill(const TokenEvent& token);
  void fill(const ThinkingDelta& thinking);
  void fill(const TextDelta& text);
  void fill(const ToolCallEvent& call);
  void fill(const BadToolCall& call);
  void fill(const UsageEvent& usage);
  void fill(const Error& error);

  GenerateEvent held_;
  std::string text_;
  std::vector<lapidary_probability> probabilities_;
  lapidary_event event_{};
};

lapidary_event_type type_of(const GenerateEvent& event);

}  // namespace lapidary
