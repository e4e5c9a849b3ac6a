// The engine as a service: requests in, events out, many at once. No wire format here: every API is a translation to
// and from these types.
//
// Threads: submit(), cancel() and the queries may be called from any thread. One thread inside owns the engines; a
// request's events come on it, in order, and the sink must not block (hand them to your own loop). The last event of a
// request is a UsageEvent or an Error, exactly once, also when it is cancelled or the service ends.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"
#include "chat/reply_form.h"
#include "chat/turn.h"

namespace lapidary {

// Who waits for the answer. Interactive requests take the batch; background ones ride along while they are free, are
// pushed aside when they are not, keep what they have computed, and age, so that they do not starve.
enum class RequestClass : uint8_t { interactive, background };

struct GenerateRequest {
  std::string model;          // an alias, a file's or folder's name, "" or "default"
  Conversation conversation;  // rendered by the model's chat format; media hold their bytes
  std::string text;           // with options.raw: the text to continue
  std::vector<int32_t> ids;   // not empty: the whole prompt as ids, instead of conversation and text
  Prompt prompt;              // with options.raw, not empty: the text to continue, where it is not only text; <bos>
                              // comes before it, unless it begins with ids
  TurnOptions options;        // sampler, limits, stop strings, image tokens, raw
  ReplyForm form;  // compiled where the request is read, and kept for others; options.constraint, if there, goes before
  RequestClass request_class = RequestClass::interactive;
  bool drop_oldest_turns = false;  // too long a conversation loses its oldest turns (never system text), instead of
                                   // being refused
  int32_t top_logprobs = -1;       // -1: no log probabilities; N: those of the chosen token and of the N best
  double deadline_seconds = 0;     // from submission; 0: none. Past it the reply ends with StopReason::length
  double keep_alive_seconds = -1;  // how long the model stays loaded afterwards; -1: the service's default
};

// Before the prompt is read, and while it is: tokens done of total, those that were cached not counted.
struct ProgressEvent {
  int64_t done = 0, total = 0;
};

struct TokenProbability {
  int32_t token = 0;
  std::string bytes;  // of the token's text, maybe half a character
  double log_probability = 0;
};
// With top_logprobs >= 0: one a generated token, before the text that it gives.
struct TokenEvent {
  TokenProbability chosen;
  std::vector<TokenProbability> best;  // most probable first
};

// Turns that were dropped to make the prompt fit (drop_oldest_turns).
struct TruncatedEvent {
  int64_t messages = 0;
};

// What the reply is not held to although it was declared: a tool whose schema cannot be enforced (ReplyGrammar).
struct WarningEvent {
  std::string text;
};

using GenerateEvent = std::variant<ProgressEvent, MediaEvent, TruncatedEvent, WarningEvent, PromptEvent, TokenEvent,
                                   ThinkingDelta, TextDelta, ToolCallEvent, BadToolCall, UsageEvent, Error>;
using GenerateSink = std::function<void(GenerateEvent&&)>;

// A request under way. Destroying the ticket cancels the request; so does cancel(), from any thread. Its slot is free
// within one decode step or one prefill chunk.
class Ticket {
 public:
  Ticket() = default;
  explicit Ticket(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  Ticket(Ticket&& other) noexcept : cancel_(std::exchange(other.cancel_, nullptr)) {}
  Ticket& operator=(Ticket&& other) noexcept {
    if (this != &other) {
      cancel();
      cancel_ = std::exchange(other.cancel_, nullptr);
    }
    return *this;
  }
  ~Ticket() { cancel(); }
  void cancel() {
    if (auto cancel = std::exchange(cancel_, nullptr)) cancel();
  }

 private:
  std::function<void()> cancel_;  // safe to call after the request has ended
};

struct ModelSource {
  std::string name;       // what clients call it; "" : the file's or folder's name without ".gguf"
  std::string path;       // a GGUF file or a Hugging Face folder
  std::string projector;  // "" looks for one beside a GGUF file
};

struct ServiceOptions {
  std::vector<ModelSource> models;  // the first is the default
  bool any_model = false;           // unknown names mean the default model
  int64_t context = 0;              // of each slot; 0: the largest that the memory bears, at most the model's
  int32_t slots = 4;                // sequences that are computed at the same time
  int32_t queue_max = 64;           // requests that wait; one more is refused (ErrorKind::limit, "busy")
  double ageing_seconds = 30;       // a background request that has waited so long for a slot counts as interactive
  double keep_alive_seconds = 300;  // an unused model leaves after it; < 0: never
  uint64_t prefix_cache_bytes = 0;  // RAM for prefixes beyond the slots; 0: an eighth of what is free
  std::string cache_folder;         // "" : no disk cache
  uint64_t cache_disk_bytes = 0;
  int32_t threads = 0;
  std::optional<std::string> kernels;
  std::optional<KvType> kv;
  uint64_t memory_limit_bytes = 0;  // 0: what the machine has free
  // What happens beside requests, for a log: a model was loaded, left and why. Called on the engine's thread.
  std::function<void(const std::string&)> notice = {};
};

struct ModelInfo {
  std::string name, path;
  bool loaded = false, is_default = false;
  uint64_t file_bytes = 0;
  int64_t modified_seconds = 0;  // of the file, since 1970
  // Known once the model was opened:
  std::string architecture, quantization;
  int64_t parameters = 0, context = 0, context_trained = 0;
  bool sees = false, hears = false, chats = false, thinks = false, calls_tools = false;
  double expires_seconds = 0;  // until it leaves, if loaded; < 0: never
  uint64_t memory_bytes = 0;
  SamplerOptions sampler;  // what the model's file advises, for requests that say nothing
};

struct ServiceState {
  int32_t slots = 0, running = 0, waiting = 0;
  uint64_t requests = 0, refused = 0, cancelled = 0, failed = 0, preempted = 0;
  uint64_t prompt_tokens = 0, reused_tokens = 0, reply_tokens = 0;
  double prompt_seconds = 0, reply_seconds = 0;
  uint64_t prefix_cache_bytes = 0, prefix_cache_entries = 0, kv_bytes = 0;
  uint64_t disk_cache_bytes = 0, disk_cache_files = 0;
  struct Slot {
    bool busy = false;
    RequestClass request_class = RequestClass::interactive;
    std::string model;
    int64_t prompt_done = 0, prompt_tokens = 0, reply_tokens = 0, context = 0;
  };
  std::vector<Slot> slot_states;
};

class Service {
 public:
  // Checks that every model can be opened (headers only); loads none.
  static Result<std::unique_ptr<Service>> start(ServiceOptions options);
  virtual ~Service() = default;  // cancels everything and waits for the thread

  // Refused at once: ErrorKind::not_found (no such model; the message lists those there are), ErrorKind::limit (queue
  // full; `retry_after_seconds` then says when to come again). Everything else comes as an Error event: wrong_use (bad
  // conversation), limit (too long: how long it was and what fits), out_of_memory, refused media, unsupported (a form
  // of the reply that cannot be enforced), …
  virtual Result<Ticket> submit(GenerateRequest request, GenerateSink sink, double* retry_after_seconds = nullptr) = 0;

  // The prompt of a request, without computing anything with it: its ids with media as soft tokens (for counting), or
  // as text with every medium as its placeholder. Any thread; may take as long as decoding the media.
  virtual Result<std::vector<int32_t>> prompt_ids(const GenerateRequest& request) = 0;
  virtual Result<std::string> prompt_text(const GenerateRequest& request) = 0;
  virtual Result<std::vector<int32_t>> tokenize(const std::string& model, std::string_view text, bool special) = 0;
  virtual Result<std::string> detokenize(const std::string& model, const std::vector<int32_t>& ids) = 0;

  virtual std::vector<ModelInfo> models() = 0;
  virtual Result<ModelInfo> model(const std::string& name) = 0;  // resolved as submit does
  virtual ServiceState state() = 0;

  // Takes no more requests, lets the running ones finish for at most `seconds`, then cancels them. Returns when all is
  // quiet.
  virtual void drain(double seconds) = 0;
};

}  // namespace lapidary
