// What is computed next. Owned by the engine's thread.
//
// A round of run(): requests that ended go, waiting ones get slots, then every model steps all its writing sequences
// at once, then one prompt is read on. Reading is cut into slices by time, between two layers: a slice ends when
// writing sequences have waited for the larger of 100 ms and one weight pass, or when an interactive request comes.
// So chunks can be as long as pays, a picture's block stays whole, nothing is computed twice and nobody interactive
// waits for it. docs/decisions/0007-scheduling.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "service/engine_room.h"
#include "service/job_queue.h"
#include "service/model_shelf.h"

namespace lapidary {

class Scheduler {
 public:
  Scheduler(const ServiceOptions& options, ModelShelf& shelf, JobQueue& queue)
      : options_(options), shelf_(shelf), queue_(queue) {}

  // Until the service ends.
  void run();

 private:
  struct Room {
    size_t model = 0;
    std::unique_ptr<EngineRoom> engine;
    std::vector<std::unique_ptr<Sequence>> sequences;  // running and pushed aside
    uint64_t planned_bytes = 0;
    double used_seconds = 0, keep_alive_seconds = 0;
    double expires_seconds() const;
  };
  enum class Entry : uint8_t { done, wait };  // whether a job could be taken in

  void end_gone();
  void age(double now);
  void admit();
  struct Place {
    int32_t slot = 0;
    Sequence* pushed_aside = nullptr;  // whose slot it is still
  };
  Entry admit(const JobPointer& job, const Place& place);
  std::optional<Place> free_slot(bool may_push_aside);
  void take_slot(Sequence& sequence, const Place& place);
  Result<Room*> room_for(const Job& job);  // nullptr: its model has to wait for memory
  void leave_unused(double now);
  void unload(size_t room, const char* why);
  void relieve_memory(double now);
  std::optional<double> next_look() const;

  void step(Room& room);
  bool may_ride(const Room& room, const Sequence& sequence, size_t interactive_rows, size_t rows, double now) const;
  void read();
  bool learns_from_other(const Room& room, const Sequence& sequence) const;
  Sequence* next_to_read(Room*& room, double now);
  void read_slice(Room& room, Sequence& sequence, double seconds);
  double patience(const Room& room) const;

  void begin_reply(Room& room, Sequence& sequence);
  void advance(Room& room, Sequence& sequence, std::span<const float> logits);
  void give_out(Sequence& sequence);
  void finish(Room& room, Sequence& sequence);
  void fail_sequence(Room& room, Sequence& sequence, Error error);
  void remove(Room& room, Sequence& sequence, GenerateEvent last);
  void end_job(const JobPointer& job, GenerateEvent last, double busy_seconds);
  void report();

  template <typename Visit>
  void each_running(const Visit& visit) {
    for (Room& room : rooms_)
      for (auto& sequence : room.sequences)
        if (sequence->slot >= 0) visit(room, *sequence);
  }

  const ServiceOptions& options_;
  ModelShelf& shelf_;
  JobQueue& queue_;
  std::vector<Room> rooms_;
  double background_credit_seconds_ =
      0;  // what reading in the background may take while interactive replies are written
  double memory_looked_at_seconds_ = 0;
  bool saving_ = false;  // states are being written to disk
};

}  // namespace lapidary
