#include "service/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/system.h"
#include "engine/memory_plan.h"
#include "service/log_probability.h"

namespace lapidary {
namespace {

constexpr double wait_seconds_max = 0.1;            // for others' work, unless one weight pass takes longer
constexpr double ride_cost_max = 1.25;              // of an interactive step with background rows, against one without
constexpr double background_share = 0.25;           // of the time of interactive steps, for reading in the background
constexpr double ride_age_seconds = 1;              // without progress: a background row rides whatever it costs
constexpr double reading_age_seconds = 1;           // without progress: read before shorter prompts
constexpr double slice_age_seconds = 5;             // without progress: a background sequence counts as interactive
constexpr double aged_stay_seconds = 5;             // that it then keeps the slot for at least
constexpr double memory_look_seconds = 5;           // between looks at the memory's state
constexpr int64_t forced_tokens_max = 16;           // of a sequence in one step, which others take part in
constexpr double save_look_seconds = 0.02;          // whether a file has been written
constexpr uint64_t memory_floor_bytes = 192 << 20;  // less than this is free: caches and unused models go

GenerateEvent generate_event(TurnEvent&& event) {
  return std::visit([](auto&& value) { return GenerateEvent(std::forward<decltype(value)>(value)); }, std::move(event));
}

// The model's own suppressed tokens, besides what the request names.
TurnOptions options_for(const GenerateRequest& request, const ModelConfig& config) {
  TurnOptions options = request.options;
  auto& suppress = options.sampler.suppress;
  suppress.insert(suppress.end(), config.generation.suppress_tokens.begin(), config.generation.suppress_tokens.end());
  return options;
}

UsageEvent out_of_time() {
  UsageEvent usage;
  usage.reason = StopReason::length;
  return usage;
}

std::string gigabytes(uint64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); }

}  // namespace

double Scheduler::Room::expires_seconds() const {
  return keep_alive_seconds < 0 ? std::numeric_limits<double>::infinity() : used_seconds + keep_alive_seconds;
}

void Scheduler::run() {
  while (true) {
    const bool busy = std::ranges::any_of(rooms_, [](const Room& room) { return !room.sequences.empty(); });
    if (!queue_.wait(busy, next_look())) return;
    queue_.clear_newcomer();
    saving_ = false;
    if (!busy)
      for (Room& room : rooms_) saving_ = room.engine->save_next() || saving_;
    const double now = monotonic_seconds();
    end_gone();
    age(now);
    admit();
    for (Room& room : rooms_) step(room);
    read();
    leave_unused(now);
    relieve_memory(now);
    report();
  }
}

void Scheduler::end_gone() {
  const double now = monotonic_seconds();
  for (const JobPointer& job : queue_.take_gone(now)) {
    if (job->stopped())
      end_job(job, Error{ErrorKind::cancelled, "request", "stopped"}, 0);
    else
      end_job(job, out_of_time(), 0);
  }
  for (Room& room : rooms_)
    for (size_t i = room.sequences.size(); i-- > 0;) {
      Sequence& sequence = *room.sequences[i];
      const bool stopped = sequence.job->stopped();
      if (!stopped && !sequence.job->late(now)) continue;
      if (!sequence.reading()) {
        sequence.reply->stop(stopped ? StopReason::interrupted : StopReason::length);
        finish(room, sequence);
      } else if (stopped) {
        fail_sequence(room, sequence, {ErrorKind::cancelled, "request", "stopped"});
      } else {
        remove(room, sequence, out_of_time());
      }
    }
}

// Who counts as interactive in this round.
void Scheduler::age(double now) {
  for (Room& room : rooms_)
    for (auto& sequence : room.sequences)
      sequence->interactive =
          sequence->job->interactive() ||
          now - sequence->progress_seconds > (sequence->slot >= 0 ? slice_age_seconds : options_.ageing_seconds);
}

void Scheduler::admit() {
  const double now = monotonic_seconds();
  bool models_wait = false;
  while (true) {
    // The first of those that wait: jobs that were read, and sequences pushed aside.
    JobPointer job;
    Sequence* aside = nullptr;
    bool best_interactive = false;
    uint64_t best_number = 0;
    const auto better = [&](bool interactive, uint64_t number) {
      const bool none = job == nullptr && aside == nullptr;
      if (!none && (interactive != best_interactive ? !interactive : number >= best_number)) return false;
      best_interactive = interactive;
      best_number = number;
      return true;
    };
    if (!models_wait)
      for (const JobPointer& ready : queue_.ready())
        if (better(ready->interactive() || now - ready->submitted_seconds > options_.ageing_seconds, ready->number))
          job = ready;
    for (Room& room : rooms_)
      for (auto& sequence : room.sequences)
        if (sequence->slot < 0 && better(sequence->interactive, sequence->job->number)) {
          aside = sequence.get();
          job = nullptr;
        }
    if (job == nullptr && aside == nullptr) return;
    const std::optional<Place> place = free_slot(best_interactive);
    if (!place) return;
    if (aside != nullptr) {
      take_slot(*aside, *place);
      if (!aside->job->interactive() && best_interactive) aside->stays_until_seconds = now + aged_stay_seconds;
    } else if (admit(job, *place) == Entry::wait) {
      models_wait = true;  // what runs comes to its end first; what is aside goes on, nothing new begins
    }
  }
}

void Scheduler::take_slot(Sequence& sequence, const Place& place) {
  if (place.pushed_aside != nullptr) {
    place.pushed_aside->slot = -1;
    queue_.update([](ServiceState& state) { ++state.preempted; });
  }
  sequence.slot = place.slot;
}

Scheduler::Entry Scheduler::admit(const JobPointer& job, const Place& place) {
  if (!*job->read) {
    queue_.take(job);
    end_job(job, std::move(*job->read).error(), 0);
    return Entry::done;
  }
  auto room = room_for(*job);
  if (room && *room == nullptr) return Entry::wait;
  queue_.take(job);
  if (!room) {
    end_job(job, std::move(room).error(), 0);
    return Entry::done;
  }
  const int64_t dropped = (*job->read)->dropped_messages;
  auto sequence = (*room)->engine->sequence(job);
  const double now = monotonic_seconds();
  sequence->interactive = job->interactive() || now - job->submitted_seconds > options_.ageing_seconds;
  if (sequence->interactive && !job->interactive()) sequence->stays_until_seconds = now + aged_stay_seconds;
  sequence->admitted_seconds = sequence->progress_seconds = now;
  take_slot(*sequence, place);
  for (const auto& medium : sequence->media) job->sink(MediaEvent(medium->event));
  if (dropped > 0) job->sink(TruncatedEvent{dropped});
  for (std::string& warning : job->warnings) job->sink(WarningEvent{std::move(warning)});
  (*room)->sequences.push_back(std::move(sequence));
  return Entry::done;
}

// A slot, or that of the background sequence that came last, which is to be pushed aside and keeps what it has.
std::optional<Scheduler::Place> Scheduler::free_slot(bool may_push_aside) {
  std::vector<bool> busy(static_cast<size_t>(options_.slots), false);
  Sequence* last = nullptr;
  const double now = monotonic_seconds();
  each_running([&](Room&, Sequence& sequence) {
    busy[static_cast<size_t>(sequence.slot)] = true;
    if (!sequence.job->interactive() && now >= sequence.stays_until_seconds &&
        (last == nullptr || sequence.job->number > last->job->number))
      last = &sequence;
  });
  const auto free = std::ranges::find(busy, false);
  if (free != busy.end()) return Place{static_cast<int32_t>(free - busy.begin()), nullptr};
  if (!may_push_aside || last == nullptr) return std::nullopt;
  return Place{last->slot, last};
}

Result<Scheduler::Room*> Scheduler::room_for(const Job& job) {
  for (Room& room : rooms_)
    if (room.model == job.model) return &room;
  const LoadedModel& model = *job.opened;
  const int64_t context = shelf_.info(job.model).context;
  const MemoryPlan plan = plan_memory(model.config(), model.file_bytes(), shelf_.kv_type(), context);
  const uint64_t needed = plan.weights_bytes + plan.working_bytes + shelf_.prefix_cache_bytes() +
                          plan.kv_bytes * static_cast<uint64_t>(options_.slots);
  if (context <= 0 || needed > shelf_.memory_bytes())
    return fail(ErrorKind::out_of_memory, shelf_.info(job.model).name,
                fmt::format("{} slots of {} tokens need {} with the weights and the prefix cache, but {} are available",
                            options_.slots, context, gigabytes(needed), gigabytes(shelf_.memory_bytes())));
  while (true) {
    uint64_t used = 0;
    for (const Room& room : rooms_) used += room.planned_bytes;
    if (used + needed <= shelf_.memory_bytes()) break;
    // The one that was used longest ago goes, if it has nothing to do.
    size_t oldest = rooms_.size();
    for (size_t i = 0; i < rooms_.size(); ++i)
      if (rooms_[i].sequences.empty() &&
          (oldest == rooms_.size() || rooms_[i].used_seconds < rooms_[oldest].used_seconds))
        oldest = i;
    if (oldest == rooms_.size()) return nullptr;
    unload(oldest, "another model needs its memory");
  }
  EngineOptions engine_options;
  engine_options.threads = options_.threads;
  engine_options.kernels = options_.kernels;
  engine_options.kv = shelf_.kv_type();
  Room room;
  room.model = job.model;
  room.planned_bytes = needed;
  room.used_seconds = monotonic_seconds();
  room.keep_alive_seconds = options_.keep_alive_seconds;
  LAPIDARY_TRY(room.engine, EngineRoom::create(job.opened, engine_options, context, shelf_.prefix_cache_bytes()));
  if (!options_.cache_folder.empty() && options_.cache_disk_bytes > 0) {
    const auto disk = room.engine->use_disk(options_.cache_folder, options_.cache_disk_bytes);
    if (!disk && options_.notice) options_.notice(fmt::format("no disk cache: {}", disk.error().text()));
  }
  shelf_.set_loaded(job.model, true, room.expires_seconds(), needed);
  if (options_.notice) options_.notice(fmt::format("{} loaded", shelf_.info(job.model).name));
  rooms_.push_back(std::move(room));
  return &rooms_.back();
}

void Scheduler::unload(size_t index, const char* why) {
  const size_t model = rooms_[index].model;
  rooms_.erase(rooms_.begin() + static_cast<std::ptrdiff_t>(index));
  shelf_.close(model);
  shelf_.set_loaded(model, false, 0, 0);
  if (options_.notice) options_.notice(fmt::format("{} left: {}", shelf_.info(model).name, why));
}

void Scheduler::leave_unused(double now) {
  for (size_t i = rooms_.size(); i-- > 0;)
    if (rooms_[i].sequences.empty() && now >= rooms_[i].expires_seconds()) unload(i, "it was not used");
  if (options_.keep_alive_seconds >= 0) shelf_.close_unused(options_.keep_alive_seconds);
}

// When memory gets scarce, prefixes go first, by halves, then models that have nothing to do.
void Scheduler::relieve_memory(double now) {
  if (rooms_.empty() || now - memory_looked_at_seconds_ < memory_look_seconds) return;
  memory_looked_at_seconds_ = now;
  const MemoryState memory = memory_state();
  if (memory.available_bytes >= memory_floor_bytes) return;
  bool shrunk = false;
  for (Room& room : rooms_) {
    PrefixCache& prefixes = room.engine->prefixes();
    shrunk = shrunk || prefixes.entries() > 0;
    prefixes.shrink(prefixes.bytes() / 2);
    room.engine->engine().kv_pool().trim();
  }
  if (shrunk) return;
  for (size_t i = rooms_.size(); i-- > 0;)
    if (rooms_[i].sequences.empty()) return unload(i, "memory is scarce");
}

std::optional<double> Scheduler::next_look() const {
  if (rooms_.empty()) return std::nullopt;
  double next = memory_looked_at_seconds_ + memory_look_seconds;
  if (saving_) next = monotonic_seconds() + save_look_seconds;
  for (const Room& room : rooms_)
    if (room.sequences.empty()) next = std::min(next, room.expires_seconds());
  return next;
}

// Whatever is computed for others, nobody interactive should wait longer for it.
double Scheduler::patience(const Room& room) const { return std::max(wait_seconds_max, room.engine->costs().of(1)); }

// Whether a background row goes along with interactive ones: if the step does not get noticeably longer by it.
bool Scheduler::may_ride(const Room& room, const Sequence& sequence, size_t interactive_rows, size_t rows,
                         double now) const {
  if (now - sequence.progress_seconds > ride_age_seconds) return true;
  const double alone = room.engine->costs().of(interactive_rows), together = room.engine->costs().of(rows + 1);
  return alone == 0 || together == 0 || together <= ride_cost_max * alone;
}

// One token for every sequence that writes.
void Scheduler::step(Room& room) {
  bool interactive_reading = false;
  each_running([&](Room&, const Sequence& sequence) {
    interactive_reading = interactive_reading || (sequence.interactive && sequence.reading());
  });
  const double now = monotonic_seconds();
  std::vector<Sequence*> rows;
  for (auto& sequence : room.sequences)
    if (sequence->slot >= 0 && !sequence->reading() && sequence->interactive) rows.push_back(sequence.get());
  const size_t interactive_rows = rows.size();
  for (auto& sequence : room.sequences) {
    if (sequence->slot < 0 || sequence->reading() || sequence->interactive) continue;
    if (interactive_rows > 0 ? may_ride(room, *sequence, interactive_rows, rows.size(), now) : !interactive_reading)
      rows.push_back(sequence.get());
  }
  if (rows.empty()) return;
  const auto done = room.engine->step(rows);
  const double end = monotonic_seconds();
  if (interactive_rows > 0)
    background_credit_seconds_ = std::min(background_credit_seconds_ + background_share * (end - now), patience(room));
  if (!done) {  // no memory for all: the last one gives way
    Sequence& last = **std::ranges::max_element(
        rows, [](const Sequence* a, const Sequence* b) { return goes_before(*a->job, *b->job); });
    return fail_sequence(room, last, done.error());
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i]->progress_seconds = end;
    advance(room, *rows[i], room.engine->logits(i));
  }
}

// Whether somebody is reading the beginning of this prompt just now, which it will then not have to read.
bool Scheduler::learns_from_other(const Room& room, const Sequence& sequence) const {
  if (sequence.begun) return false;
  return std::ranges::any_of(room.sequences, [&](const auto& other) {
    return other->begun && other->reading() && other->slot >= 0 && (other->interactive || !sequence.interactive) &&
           common_beginning(*sequence.line, *other->line, sequence.prompt_tokens - 1) >
               other->cache.length() + kv_page_positions;
  });
}

// Interactive prompts, the one that is soonest read first, unless one has waited; else background ones in order.
Sequence* Scheduler::next_to_read(Room*& from, double now) {
  Sequence* next = nullptr;
  const auto before = [now](const Sequence& a, const Sequence& b) {
    if (a.interactive != b.interactive) return a.interactive;
    if (!a.interactive) return a.job->number < b.job->number;
    const bool a_waited = now - a.progress_seconds > reading_age_seconds;
    const bool b_waited = now - b.progress_seconds > reading_age_seconds;
    if (a_waited != b_waited) return a_waited;
    if (a_waited) return a.progress_seconds < b.progress_seconds;
    return a.left_to_read() != b.left_to_read() ? a.left_to_read() < b.left_to_read() : a.job->number < b.job->number;
  };
  each_running([&](Room& room, Sequence& sequence) {
    if (!sequence.reading() || learns_from_other(room, sequence) || (next != nullptr && !before(sequence, *next)))
      return;
    next = &sequence;
    from = &room;
  });
  return next;
}

void Scheduler::read() {
  Room* room = nullptr;
  Sequence* sequence = next_to_read(room, monotonic_seconds());
  if (sequence == nullptr) return;
  bool interactive_writing = false, writing = false;
  each_running([&](Room&, const Sequence& other) {
    writing = writing || !other.reading();
    interactive_writing = interactive_writing || (!other.reading() && other.interactive);
  });
  double seconds = std::numeric_limits<double>::infinity();
  if (interactive_writing && !sequence->interactive) {
    if (background_credit_seconds_ <= 0) return;
    seconds = background_credit_seconds_;
  } else if (writing) {
    seconds = patience(*room);
  }
  const double begin = monotonic_seconds();
  const bool on_credit = interactive_writing && !sequence->interactive;
  read_slice(*room, *sequence, seconds);
  if (on_credit) background_credit_seconds_ -= monotonic_seconds() - begin;
}

void Scheduler::read_slice(Room& room, Sequence& sequence, double seconds) {
  const Job& job = *sequence.job;
  const double end = monotonic_seconds() + seconds;
  if (!sequence.begun) {
    std::vector<PrefixCache::Running> running;
    for (const auto& other : room.sequences)
      if (other.get() != &sequence) running.push_back({other->line.get(), &other->cache});
    room.engine->begin(sequence, running);
    job.sink(ProgressEvent{0, sequence.prompt_tokens - sequence.reused});
  }
  const int64_t before = sequence.cache.length();
  const auto all = room.engine->read(sequence, [&] {
    const double now = monotonic_seconds();
    return job.stopped() || queue_.newcomer() || now >= end || job.late(now);
  });
  sequence.progress_seconds = monotonic_seconds();
  if (!all) return fail_sequence(room, sequence, all.error());
  if (sequence.cache.length() > before)
    job.sink(ProgressEvent{sequence.cache.length() - sequence.reused, sequence.prompt_tokens - sequence.reused});
  if (*all) begin_reply(room, sequence);
}

void Scheduler::begin_reply(Room& room, Sequence& sequence) {
  sequence.read = {sequence.prompt_tokens, sequence.reused, monotonic_seconds() - sequence.prompt_begin_seconds};
  sequence.job->sink(PromptEvent(sequence.read));
  queue_.update([&](ServiceState& state) {
    state.prompt_tokens += static_cast<uint64_t>(sequence.read.tokens);
    state.reused_tokens += static_cast<uint64_t>(sequence.read.reused);
    state.prompt_seconds += sequence.read.seconds;
  });
  const ModelConfig& config = room.engine->engine().config();
  sequence.reply.emplace(room.engine->tokenizer(), config, options_for(sequence.job->request, config), sequence.format,
                         sequence.inside_thought, [&given = sequence.given](TurnEvent&& part) {
                           given.push_back(generate_event(std::move(part)));
                         });
  sequence.reply->look_at_prompt(std::span(sequence.line->ids).first(static_cast<size_t>(sequence.prompt_tokens)));
  advance(room, sequence, room.engine->logits(0));
}

// The next token from its logits, and what it gives.
void Scheduler::advance(Room& room, Sequence& sequence, std::span<const float> logits) {
  ReplyGeneration& reply = *sequence.reply;
  if (!reply.wants_token()) return finish(room, sequence);
  auto token = reply.next(logits);
  if (!token) return fail_sequence(room, sequence, std::move(token).error());
  const Job& job = *sequence.job;
  if (job.request.top_logprobs >= 0)
    job.sink(token_event(logits, *token, job.request.top_logprobs, room.engine->tokenizer()));
  const int64_t room_left = room.engine->context() - sequence.cache.length();
  if (!reply.stopped() && room_left <= 0) reply.stop(StopReason::context);
  sequence.tokens.assign(1, *token);
  // Where every token's probabilities are wanted, forced ones take their turn.
  if (job.request.top_logprobs < 0 && reply.wants_token()) {
    const int64_t share = room.engine->engine().chunk() / std::max(options_.slots, 1);
    const std::vector<int32_t> forced = reply.take_forced(std::min({room_left - 1, forced_tokens_max, share}));
    sequence.tokens.insert(sequence.tokens.end(), forced.begin(), forced.end());
  }
  give_out(sequence);
  if (!reply.wants_token()) finish(room, sequence);
}

void Scheduler::give_out(Sequence& sequence) {
  for (GenerateEvent& event : sequence.given) sequence.job->sink(std::move(event));
  sequence.given.clear();
}

void Scheduler::finish(Room& room, Sequence& sequence) {
  sequence.reply->finish();
  give_out(sequence);
  UsageEvent usage = std::move(sequence.reply->usage());
  usage.prompt_tokens = sequence.read.tokens;
  usage.reused_tokens = sequence.read.reused;
  usage.prompt_seconds = sequence.read.seconds;
  queue_.update([&](ServiceState& state) {
    state.reply_tokens += static_cast<uint64_t>(usage.reply_tokens);
    state.reply_seconds += usage.reply_seconds;
  });
  remove(room, sequence, std::move(usage));
}

void Scheduler::fail_sequence(Room& room, Sequence& sequence, Error error) { remove(room, sequence, std::move(error)); }

void Scheduler::remove(Room& room, Sequence& sequence, GenerateEvent last) {
  const JobPointer job = sequence.job;
  const double now = monotonic_seconds(), busy = now - sequence.admitted_seconds;
  room.engine->keep(sequence);
  room.used_seconds = now;
  room.keep_alive_seconds =
      job->request.keep_alive_seconds >= 0 ? job->request.keep_alive_seconds : options_.keep_alive_seconds;
  shelf_.set_loaded(room.model, true, room.expires_seconds(), room.planned_bytes);
  std::erase_if(room.sequences, [&](const auto& other) { return other.get() == &sequence; });
  report();
  end_job(job, std::move(last), busy);
}

void Scheduler::end_job(const JobPointer& job, GenerateEvent last, double busy_seconds) {
  queue_.ending(job, std::holds_alternative<Error>(last), busy_seconds);
  job->sink(std::move(last));
  queue_.ended(job);
}

void Scheduler::report() {
  std::vector<ServiceState::Slot> slots(static_cast<size_t>(options_.slots));
  each_running([&](Room& room, const Sequence& sequence) {
    ServiceState::Slot& slot = slots[static_cast<size_t>(sequence.slot)];
    slot.busy = true;
    slot.request_class = sequence.job->request.request_class;
    slot.model = shelf_.info(room.model).name;
    slot.prompt_done = std::min(sequence.cache.length(), sequence.prompt_tokens);
    slot.prompt_tokens = sequence.prompt_tokens;
    slot.reply_tokens = sequence.reading() ? 0 : sequence.reply->tokens();
    slot.context = room.engine->context();
  });
  uint64_t kv_bytes = 0, cache_bytes = 0, cache_entries = 0, disk_bytes = 0, disk_files = 0;
  for (Room& room : rooms_) {
    kv_bytes += room.engine->engine().kv_pool().bytes_in_use();
    cache_bytes += room.engine->prefixes().bytes();
    cache_entries += room.engine->prefixes().entries();
    if (const DiskCache* disk = room.engine->disk()) {
      disk_bytes += disk->bytes();
      disk_files += disk->files();
    }
  }
  queue_.update([&](ServiceState& state) {
    state.slot_states = std::move(slots);
    state.kv_bytes = kv_bytes;
    state.prefix_cache_bytes = cache_bytes;
    state.prefix_cache_entries = cache_entries;
    state.disk_cache_bytes = disk_bytes;
    state.disk_cache_files = disk_files;
  });
}

}  // namespace lapidary
