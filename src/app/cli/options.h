// The command line: words -> what is wanted.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace lapidary {

struct ModelChoice {
  std::string path;       // "": Spark
  std::string projector;  // "": the one beside a GGUF file
};

enum class KvChoice : uint8_t { automatic, f16, f16_keys, f32 };

// How to compute; what every verb that runs a model has.
struct EngineChoice {
  int32_t threads = 0;  // 0: one a physical core
  KvChoice kv = KvChoice::automatic;
  bool force = false;  // although the memory does not suffice
};

inline constexpr int64_t context_default = 0, context_auto = -1;

struct SamplingChoice {
  bool greedy = false;
  std::optional<double> temperature, top_p, min_p;
  std::optional<int32_t> top_k;
  double repeat_penalty = 1;
  int32_t repeat_last_n = 64;
  std::optional<uint64_t> seed;
};

// What a reply has to be; at most one of the first three is set.
struct ConstraintChoice {
  std::string schema_file, grammar_file, regex;
  std::string tool_choice = "auto";  // auto, none, required or a tool's name
};

struct RunOptions {
  ModelChoice model;
  EngineChoice engine;
  SamplingChoice sampling;
  ConstraintChoice constraint;
  std::optional<std::string> prompt;
  std::string chat_file, system, tools_file;
  std::string draft;  // "": guess tokens, also by the drafter beside the model; "off"; a drafter's file or folder
  std::vector<std::string> images, sounds, stop_strings;
  int64_t tokens_max = 0;  // 0: until the model stops
  int64_t context = context_default;
  int32_t image_tokens = 0;
  bool think = false, json = false, raw = false, no_history = false;
};

struct ShowOptions {
  ModelChoice model;
  KvChoice kv = KvChoice::automatic;
  bool json = false;
};

struct TokenizeOptions {
  ModelChoice model;
  bool special = false, decode = false;
};

struct RenderOptions {
  ModelChoice model;
  std::string chat_file;
  bool expand = false;
  int32_t image_tokens = 0;
};

struct LogitsOptions {
  ModelChoice model;
  EngineChoice engine;
  std::string ids_file, text_file, chat_file, out_file, dump_folder;
  std::vector<std::string> images, sounds;
  int32_t image_tokens = 0;
  int64_t last = 0;  // 0: all
};

struct PerplexityOptions {
  ModelChoice model;
  EngineChoice engine;
  std::string file, against;
  KvChoice against_kv = KvChoice::automatic;  // automatic: as the first's
  int64_t tokens = 0;                         // 0: all
  bool json = false;
};

struct BenchOptions {
  ModelChoice model;
  EngineChoice engine;
  int64_t prefill_tokens = 512, decode_tokens = 64, verify_depth = 512;
  std::vector<int64_t> depths = {0, 2048};
  std::vector<int32_t> verify_rows = {1, 2, 3, 4, 5, 6, 7, 8};
  int32_t reps = 3;
  int64_t edit_tokens = 0;  // 0: not measured
  std::string draft;        // as RunOptions; "": not measured
  std::vector<double> draft_right = {0.5, 0.7, 0.9};
  std::string grammar_file, details_file;
  bool json = false;
};

struct QuantizeOptions {
  std::string input, output, type, calibrate;
  int32_t threads = 0;  // 0: one a physical core
  bool requantize = false, no_check = false;
};

struct ServeOptions {
  EngineChoice engine;
  std::vector<std::string> models;   // the first is the default; none: Spark
  std::vector<std::string> aliases;  // NAME=MODEL
  std::string host = "127.0.0.1", socket, cache_folder, key_file, tls_certificate_file, tls_key_file;
  std::vector<std::string> origins;
  uint16_t port = 11535;
  int64_t context = 0;  // of each slot; 0: as much as fits
  int32_t slots = 4;
  double keep_alive_seconds = 300;
  uint64_t cache_disk_bytes = 0;
  bool any_model = false, no_key_on_loopback = false;
};

struct DoctorOptions {
  bool json = false;
};

// What only prints something: --help, --version.
struct TextToPrint {
  std::string text;
};

using Command = std::variant<RunOptions, ShowOptions, TokenizeOptions, RenderOptions, LogitsOptions, PerplexityOptions,
                             BenchOptions, QuantizeOptions, ServeOptions, DoctorOptions, TextToPrint>;

// `exists` says whether a path is there. Errors: ErrorKind::wrong_use, or not_found for a model that is not there.
using FileExists = std::function<bool(const std::string& path)>;
Result<Command> parse_command_line(const std::vector<std::string>& words, const FileExists& exists);

// `run`'s free words. One alone is the model if it is there, else the prompt, unless it looks like a path.
Result<void> assign_words(const std::vector<std::string>& words, const FileExists& exists, RunOptions& options);

}  // namespace lapidary
