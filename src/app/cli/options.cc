#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>

#include "base/system.h"

namespace lapidary {
namespace {

constexpr const char* help_text =
    R"(Gemma 4 on your own machine: text, pictures and sound in, text and tool calls out. Offline.

Usage: lapidary VERB [OPTIONS]

  run [MODEL] [PROMPT]    answer a prompt, or chat
  show [MODEL]            what a model is, and what it needs in memory
  tokenize [MODEL]        text on standard input to ids; --decode: back
  render [MODEL] CHAT     a conversation as the model gets it
  logits [MODEL]          logits and hidden states as .npy files
  perplexity [MODEL] FILE perplexity of a text; --against: two models compared
  bench [MODEL]           how fast it runs, beside what this machine could do
  quantize IN OUT         a model with fewer bits a weight, as a GGUF file
  serve [MODEL…]          the APIs of OpenAI, Anthropic, Gemini and Ollama on this machine
  doctor                  what this machine has, and which models fit

MODEL is a GGUF file, a Hugging Face folder (safetensors), or nothing: Spark, the small model in the box.
`lapidary VERB --help` lists a verb's options.

Examples:
  lapidary run                                    a chat with Spark
  lapidary run gemma-4-12b.gguf "Why is the sky blue?"
  lapidary run model.gguf "What does the sign say?" --image photo.jpg
  git diff | lapidary run model.gguf "review this"

Exit status: 0 done, 1 failed, 2 wrong use, 3 file refused, 4 not enough memory, 130 interrupted.
)";

bool looks_like_path(const std::string& word) {
  return word.find('/') != std::string::npos || word.ends_with(".gguf") || word.ends_with(".json") ||
         word.ends_with(".safetensors");
}

std::unexpected<Error> no_such_model(const std::string& path, std::string_view hint = "") {
  return fail(ErrorKind::not_found, path, fmt::format("no such file or folder{}", hint));
}

// A number in decimal, the whole word; CLI11 itself would take "010" for 8.
template <typename T>
T number_of(const std::string& name, const std::string& word, T min, T max) {
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  bool good = error == std::errc() && end == word.data() + word.size() && value >= min && value <= max;
  if constexpr (std::is_floating_point_v<T>) good = good && std::isfinite(value);
  if (!good) {
    const std::string wanted = max == std::numeric_limits<T>::max() ? fmt::format("a number from {} on", min)
                                                                    : fmt::format("a number from {} to {}", min, max);
    throw CLI::ValidationError(name, fmt::format("expected {}, found \"{}\"", wanted, word));
  }
  return value;
}

// "0,2048", and where `ranges` "1-8" as well; "none" is an empty list.
template <typename T>
std::vector<T> numbers_of(const std::string& name, const std::string& word, T min, T max, bool ranges) {
  constexpr size_t numbers_max = 64;
  std::vector<T> numbers;
  if (word == "none") return numbers;
  for (size_t begin = 0; begin <= word.size();) {
    const size_t end = std::min(word.find(',', begin), word.size());
    const std::string part = word.substr(begin, end - begin);
    const size_t dash = ranges ? part.find('-', 1) : std::string::npos;
    const T first = number_of<T>(name, part.substr(0, dash), min, max);
    const T last = dash == std::string::npos ? first : number_of<T>(name, part.substr(dash + 1), min, max);
    if (last < first || static_cast<size_t>(last - first) >= numbers_max - numbers.size())
      throw CLI::ValidationError(
          name, fmt::format("expected at most {} numbers from low to high, found \"{}\"", numbers_max, word));
    for (T number = first; number <= last; ++number) numbers.push_back(number);
    begin = end + 1;
  }
  return numbers;
}

// The options of one verb.
class Verb {
 public:
  Verb(const char* name, const char* about, const char* example) : app_(about, fmt::format("lapidary {}", name)) {
    app_.footer(fmt::format("Example: {}", example));
    app_.get_formatter()->column_width(26);
    app_.set_help_flag("-h,--help", "this text");
  }

  void text(const char* names, std::string& target, const char* value, const char* about) {
    app_.add_option(names, target, about)->type_name(value);
  }
  void text(const char* names, std::optional<std::string>& target, const char* value, const char* about) {
    app_.add_option_function<std::string>(
            names, [&target](const std::string& word) { target = word; }, about)
        ->type_name(value);
  }
  // May be given several times, with one value each.
  void texts(const char* names, std::vector<std::string>& target, const char* value, const char* about) {
    app_.add_option(names, target, about)->type_name(value)->allow_extra_args(false);
  }
  // Any number of free words.
  void words(const char* name, std::vector<std::string>& target, const char* about) {
    app_.add_option(name, target, about)->type_name("");
  }
  void flag(const char* names, bool& target, const char* about) { app_.add_flag(names, target, about); }
  template <typename Target, typename T>
  void number(const char* names, Target& target, T min, T max, const char* value, const char* about) {
    app_.add_option_function<std::string>(
            names,
            [&target, names, min, max](const std::string& word) { target = number_of<T>(names, word, min, max); },
            about)
        ->type_name(value);
  }
  template <typename T>
  void numbers(const char* name, std::vector<T>& target, T min, T max, bool ranges, const char* value,
               const char* about) {
    app_.add_option_function<std::string>(
            name,
            [&target, name, min, max, ranges](const std::string& word) {
              target = numbers_of<T>(name, word, min, max, ranges);
            },
            about)
        ->type_name(value);
  }
  void word(const char* name, std::optional<std::string>& target, const char* about) { text(name, target, "", about); }

  void model(ModelChoice& choice) {
    text("-m,--model", choice.path, "MODEL", "the model, if the words leave it open");
    text("--mmproj", choice.projector, "F", "the GGUF file for pictures and sound, if it is not beside the model");
  }
  void kv(KvChoice& choice, const char* name = "--kv", const char* about = "type of the KV cache") {
    app_.add_option_function<std::string>(
            name,
            [&choice, name](const std::string& word) {
              if (word != "f16" && word != "f16-keys" && word != "f32")
                throw CLI::ValidationError(name, fmt::format("expected f16, f16-keys or f32, found \"{}\"", word));
              choice = word == "f16" ? KvChoice::f16 : word == "f32" ? KvChoice::f32 : KvChoice::f16_keys;
            },
            about)
        ->type_name("f16|f16-keys|f32");
  }
  void engine(EngineChoice& choice) {
    number("-t,--threads", choice.threads, int32_t{1}, int32_t{1024}, "N", "threads; default: one a physical core");
    kv(choice.kv);
    flag("--force", choice.force, "go on although the memory does not suffice");
  }
  void image_tokens(int32_t& target) {
    app_.add_option_function<std::string>(
            "--image-tokens",
            [&target](const std::string& word) {
              target = number_of<int32_t>("--image-tokens", word, 1, 1120);
              for (const int32_t budget : {70, 140, 280, 560, 1120})
                if (target == budget) return;
              throw CLI::ValidationError("--image-tokens",
                                         fmt::format("expected 70, 140, 280, 560 or 1120, found \"{}\"", word));
            },
            "detail of pictures: 70, 140, 280, 560 or 1120 tokens each")
        ->type_name("N");
  }
  void context(int64_t& target) {
    app_.add_option_function<std::string>(
            "-c,--context",
            [&target](const std::string& word) {
              target = word == "auto" ? context_auto : number_of<int64_t>("--context", word, 1, int64_t{1} << 30);
            },
            "tokens a conversation may have, or auto: as many as fit; default 8192, more for a longer prompt")
        ->type_name("N|auto");
  }

  // The text to print for --help, nothing if the words were understood.
  Result<std::optional<TextToPrint>> parse(const std::vector<std::string>& words) {
    try {
      app_.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    } catch (const CLI::CallForHelp&) {
      return TextToPrint{app_.help()};
    } catch (const CLI::Error& error) {
      return fail(ErrorKind::wrong_use, "",
                  fmt::format("{} ({} --help lists the options)", error.what(), app_.get_name()));
    }
    return std::optional<TextToPrint>();
  }

 private:
  CLI::App app_;
};

// Options into a Command, or the help text.
template <typename Options>
Result<Command> finish(Verb& verb, const std::vector<std::string>& words, Options& options,
                       const std::function<Result<void>(Options&)>& complete = {}) {
  LAPIDARY_TRY(auto help, verb.parse(words));
  if (help) return Command(std::move(*help));
  if (complete) LAPIDARY_CHECK(complete(options));
  return Command(std::move(options));
}

// One optional free word, the model.
void add_model_word(Verb& verb, std::optional<std::string>& word) {
  verb.word("MODEL", word, "GGUF file or Hugging Face folder; default: Spark");
}

Result<void> set_model(ModelChoice& choice, const std::optional<std::string>& word, const FileExists& exists) {
  if (word && !choice.path.empty()) return fail(ErrorKind::wrong_use, *word, "the model is named twice");
  if (word) choice.path = *word;
  if (!choice.path.empty() && !exists(choice.path)) return no_such_model(choice.path);
  return {};
}

// [MODEL] FILE: the last word is the file.
Result<void> set_model_and_file(ModelChoice& choice, const std::optional<std::string>& first,
                                const std::optional<std::string>& second, std::string& file, const char* what,
                                const FileExists& exists) {
  if (!first) return fail(ErrorKind::wrong_use, what, "which file?");
  file = second ? *second : *first;
  return set_model(choice, second ? first : std::nullopt, exists);
}

Result<Command> parse_run(const std::vector<std::string>& words, const FileExists& exists) {
  RunOptions options;
  std::optional<std::string> first, second;
  Verb verb("run",
            "Answers a prompt. Without one, in a terminal: a chat. Text on standard input becomes part of the prompt.",
            "lapidary run model.gguf \"What does the sign say?\" --image photo.jpg");
  verb.word("MODEL", first,
            "GGUF file or Hugging Face folder; default: Spark. A word alone that is no file is the prompt");
  verb.word("PROMPT", second, "what to answer");
  verb.model(options.model);
  verb.text("-p,--prompt", options.prompt, "TEXT", "the prompt, if the words leave it open");
  verb.text("--chat", options.chat_file, "F", "answer the conversation in this file (standard input is not read then)");
  verb.texts("--image", options.images, "F", "a picture (JPEG, PNG, WebP, GIF); may be repeated");
  verb.texts("--audio", options.sounds, "F", "a sound (WAV, FLAC, OGG, MP3); may be repeated");
  verb.text("--system", options.system, "TEXT", "the system prompt");
  verb.flag("--think", options.think, "let the model think first");
  verb.text("--tools", options.tools_file, "F", "tools the model may call: a list of function schemas");
  verb.text("--tool-choice", options.constraint.tool_choice, "auto|none|required|NAME",
            "whether the model calls tools, and which");
  verb.text("--schema", options.constraint.schema_file, "F", "the answer is JSON of the JSON Schema in this file");
  verb.text("--grammar", options.constraint.grammar_file, "F", "the answer is a text of the GBNF grammar in this file");
  verb.text("--regex", options.constraint.regex, "R", "the whole answer matches this regular expression");
  verb.flag("--json", options.json, "print one event a line: media, prompt, thinking, text, tool_call, usage, error");
  verb.flag("--greedy", options.sampling.greedy, "always the likeliest token");
  verb.number("--temp", options.sampling.temperature, 0.0, 100.0, "X", "temperature; default: the model's");
  verb.number("--top-k", options.sampling.top_k, int32_t{0}, std::numeric_limits<int32_t>::max(), "N",
              "only the N likeliest tokens; 0: off");
  verb.number("--top-p", options.sampling.top_p, 0.0, 1.0, "X", "only the likeliest that make up this probability");
  verb.number("--min-p", options.sampling.min_p, 0.0, 1.0, "X",
              "only those at least this likely, compared with the likeliest");
  verb.number("--repeat-penalty", options.sampling.repeat_penalty, 0.01, 100.0, "X",
              "divides the logits of the last tokens, those of the prompt too; 1: off");
  verb.number("--repeat-last-n", options.sampling.repeat_last_n, int32_t{-1}, std::numeric_limits<int32_t>::max(), "N",
              "so many of them; -1: all; default: 64");
  verb.number("--seed", options.sampling.seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(), "N",
              "of the dice; default: random");
  verb.number("-n,--max-tokens", options.tokens_max, int64_t{1}, int64_t{1} << 30, "N",
              "end the answer after N tokens");
  verb.texts("--stop", options.stop_strings, "TEXT", "end the answer before this text; may be repeated");
  verb.context(options.context);
  verb.image_tokens(options.image_tokens);
  verb.engine(options.engine);
  verb.text(
      "--draft", options.draft, "F|off",
      "the drafter whose guesses the model checks, several at once; default: one beside the model, and the text's "
      "own repetitions; off: none. The answer is the same");
  verb.flag("--raw", options.raw, "no chat format: continue the text");
  verb.flag("--no-history", options.no_history, "keep no history of what is typed in a chat");
  return finish<RunOptions>(verb, words, options, [&](RunOptions& run) -> Result<void> {
    std::vector<std::string> free_words;
    if (first) free_words.push_back(*first);
    if (second) free_words.push_back(*second);
    LAPIDARY_CHECK(assign_words(free_words, exists, run));
    if (!run.draft.empty() && run.draft != "off" && !exists(run.draft)) return no_such_model(run.draft);
    const ConstraintChoice& constraint = run.constraint;
    if (!constraint.schema_file.empty() + !constraint.grammar_file.empty() + !constraint.regex.empty() > 1)
      return fail(ErrorKind::wrong_use, "run", "give one of --schema, --grammar and --regex");
    if (constraint.tool_choice != "auto" && run.tools_file.empty() && run.chat_file.empty())
      return fail(ErrorKind::wrong_use, "--tool-choice", "belongs to --tools or --chat");
    if (run.raw && !(run.chat_file.empty() && run.system.empty() && run.tools_file.empty() && run.images.empty() &&
                     run.sounds.empty() && !run.think))
      return fail(ErrorKind::wrong_use, "--raw",
                  "continues a text; it takes no --chat, --system, --tools, --think, --image or --audio");
    return {};
  });
}

Result<Command> parse_show(const std::vector<std::string>& words, const FileExists& exists) {
  ShowOptions options;
  std::optional<std::string> model;
  Verb verb("show", "What a model is, what it needs in memory at several context lengths, and whether that is there.",
            "lapidary show model.gguf");
  add_model_word(verb, model);
  verb.model(options.model);
  verb.kv(options.kv);
  verb.flag("--json", options.json, "as JSON");
  return finish<ShowOptions>(verb, words, options,
                             [&](ShowOptions& show) { return set_model(show.model, model, exists); });
}

Result<Command> parse_tokenize(const std::vector<std::string>& words, const FileExists& exists) {
  TokenizeOptions options;
  std::optional<std::string> model;
  Verb verb("tokenize", "Text on standard input to a JSON list of ids. No <bos> is added.",
            "echo -n \"Hello\" | lapidary tokenize model.gguf");
  verb.word("MODEL", model, "GGUF file, Hugging Face folder or tokenizer.json; default: Spark");
  verb.text("-m,--model", options.model.path, "MODEL", "the same");
  verb.flag("--special", options.special,
            "names of special tokens in the text become those tokens; with --decode: show them");
  verb.flag("--decode", options.decode, "a JSON list of ids on standard input to text");
  return finish<TokenizeOptions>(verb, words, options,
                                 [&](TokenizeOptions& tokenize) { return set_model(tokenize.model, model, exists); });
}

Result<Command> parse_render(const std::vector<std::string>& words, const FileExists& exists) {
  RenderOptions options;
  std::optional<std::string> first, second;
  Verb verb(
      "render",
      "A conversation as the model gets it: {\"text\", \"ids\"}, every picture and sound as its one placeholder token.",
      "lapidary render model.gguf conversation.json");
  verb.word("MODEL", first, "GGUF file or Hugging Face folder; default: Spark");
  verb.word("CHAT", second, "the conversation (see README, \"Chat files\")");
  verb.model(options.model);
  verb.flag("--expand", options.expand, "placeholders repeated, as the model gets them");
  verb.image_tokens(options.image_tokens);
  return finish<RenderOptions>(verb, words, options, [&](RenderOptions& render) {
    return set_model_and_file(render.model, first, second, render.chat_file, "CHAT", exists);
  });
}

Result<Command> parse_logits(const std::vector<std::string>& words, const FileExists& exists) {
  LogitsOptions options;
  std::optional<std::string> model;
  Verb verb("logits",
            "Logits of a prompt as .npy, float32 [tokens, vocabulary]. Nothing is added to it, no <bos> either.",
            "lapidary logits model.gguf --text prompt.txt --image photo.jpg --out logits.npy");
  add_model_word(verb, model);
  verb.model(options.model);
  verb.text("--ids", options.ids_file, "F", "the prompt: a JSON list of ids");
  verb.text("--text", options.text_file, "F",
            "the prompt: text, special tokens parsed; each <|image|> and <|audio|> is the next file");
  verb.text("--chat", options.chat_file, "F", "the prompt: a conversation");
  verb.texts("--image", options.images, "F", "a picture for --text; may be repeated");
  verb.texts("--audio", options.sounds, "F", "a sound for --text; may be repeated");
  verb.image_tokens(options.image_tokens);
  verb.text("-o,--out", options.out_file, "L.npy", "where the logits go");
  verb.number("--last", options.last, int64_t{1}, int64_t{1} << 30, "N", "only the last N tokens' logits");
  verb.text("--dump", options.dump_folder, "DIR", "soft tokens and hidden states, one .npy each");
  verb.engine(options.engine);
  return finish<LogitsOptions>(verb, words, options, [&](LogitsOptions& logits) -> Result<void> {
    LAPIDARY_CHECK(set_model(logits.model, model, exists));
    const int prompts = !logits.ids_file.empty() + !logits.text_file.empty() + !logits.chat_file.empty();
    if (prompts != 1) return fail(ErrorKind::wrong_use, "logits", "give one of --ids, --text and --chat");
    if (logits.out_file.empty()) return fail(ErrorKind::wrong_use, "logits", "give --out, where the logits go");
    if (logits.text_file.empty() && !(logits.images.empty() && logits.sounds.empty()))
      return fail(ErrorKind::wrong_use, "logits", "--image and --audio belong to --text");
    return {};
  });
}

Result<Command> parse_perplexity(const std::vector<std::string>& words, const FileExists& exists) {
  PerplexityOptions options;
  std::optional<std::string> first, second;
  Verb verb("perplexity", "How well a model foretells a text: every token but the first (<bos>), in one context.",
            "lapidary perplexity model-q4_0.gguf text.txt --tokens 2048 --against model-bf16.gguf");
  verb.word("MODEL", first, "GGUF file or Hugging Face folder; default: Spark");
  verb.word("FILE", second, "the text");
  verb.model(options.model);
  verb.number("--tokens", options.tokens, int64_t{2}, int64_t{1} << 30, "N", "only the first N tokens");
  verb.text("--against", options.against, "MODEL2",
            "also the KL divergence from this model, and how often the likeliest token agrees");
  verb.kv(options.against_kv, "--against-kv", "type of the other's KV cache; alone: against the same model with it");
  verb.engine(options.engine);
  verb.flag("--json", options.json, "as JSON");
  return finish<PerplexityOptions>(verb, words, options, [&](PerplexityOptions& perplexity) -> Result<void> {
    LAPIDARY_CHECK(set_model_and_file(perplexity.model, first, second, perplexity.file, "FILE", exists));
    if (!perplexity.against.empty() && !exists(perplexity.against)) return no_such_model(perplexity.against);
    return {};
  });
}

Result<Command> parse_bench(const std::vector<std::string>& words, const FileExists& exists) {
  constexpr int64_t most = int64_t{1} << 24;
  BenchOptions options;
  std::optional<std::string> model;
  Verb verb("bench",
            "How fast a model runs, as fractions of what this machine's memory and cores can do. Medians, with minimum "
            "and maximum.",
            "lapidary bench model.gguf --depth 0,2048,8192 --verify 1-8");
  add_model_word(verb, model);
  verb.model(options.model);
  verb.number("--pp", options.prefill_tokens, int64_t{0}, most, "N", "tokens of a prompt to read (512); 0: none");
  verb.number("--tg", options.decode_tokens, int64_t{0}, most, "N", "tokens to write (64); 0: none");
  verb.numbers("--depth", options.depths, int64_t{0}, most, false, "N,…",
               "tokens that are there before (0,2048); above 4096 they are made up");
  verb.numbers("--verify", options.verify_rows, int32_t{1}, int32_t{256}, true, "M-M|none",
               "also calls with this many new tokens, as speculation makes them (1-8)");
  verb.number("--verify-depth", options.verify_depth, int64_t{0}, most, "N", "tokens before those (512)");
  verb.number("--reps", options.reps, int32_t{1}, int32_t{1000}, "N", "repetitions (3)");
  verb.number("--edit", options.edit_tokens, int64_t{64}, int64_t{1} << 17, "N",
              "also write a text of N tokens a second time with changes, as an edit does; the tokens are prescribed");
  verb.text("--draft", options.draft, "F",
            "also write with this drafter, each of whose guesses is right with a prescribed chance");
  verb.numbers("--draft-right", options.draft_right, 0.0, 1.0, false, "P,…", "those chances (0.5,0.7,0.9)");
  verb.text("--grammar", options.grammar_file, "F",
            "instead: how schemas compile, judge their instances and mask the vocabulary (MODEL may be a "
            "tokenizer.json); lines of {\"name\", \"schema\", \"tests\": [{\"valid\", \"data\"}]}");
  verb.text("--details", options.details_file, "F", "with --grammar: what became of each schema, one a line");
  verb.engine(options.engine);
  verb.flag("--json", options.json, "as JSON");
  return finish<BenchOptions>(verb, words, options, [&](BenchOptions& bench) -> Result<void> {
    LAPIDARY_CHECK(set_model(bench.model, model, exists));
    if (!bench.draft.empty() && !exists(bench.draft)) return no_such_model(bench.draft);
    if (!bench.details_file.empty() && bench.grammar_file.empty())
      return fail(ErrorKind::wrong_use, "--details", "it belongs to --grammar");
    if (bench.depths.empty()) return fail(ErrorKind::wrong_use, "--depth", "give at least one");
    if (bench.prefill_tokens == 0 && bench.decode_tokens == 0 && bench.verify_rows.empty() && bench.edit_tokens == 0 &&
        bench.draft.empty())
      return fail(ErrorKind::wrong_use, "bench", "nothing is left to measure");
    return {};
  });
}

Result<Command> parse_quantize(const std::vector<std::string>& words, const FileExists& exists) {
  QuantizeOptions options;
  std::optional<std::string> input, output;
  Verb verb("quantize",
            "A model with fewer bits a weight, as a GGUF file. Pictures and sound of a folder go into a second file "
            "beside it, mmproj-OUT. Afterwards the two models are compared on a short text.",
            "lapidary quantize gemma-4-12b-it gemma-4-12b-q4_k_m.gguf --type q4_k_m");
  verb.word("IN", input, "Hugging Face folder (safetensors), or a GGUF file in F32, BF16, F16 or Q8_0");
  verb.word("OUT", output, "the file to write");
  verb.text("--type", options.type, "T",
            "q8_0, q6_k, q5_k_m, q4_k_m or q4_0 (also bf16, f16); bits a weight: 8.5, 6.6, 5.7, 4.9, 4.6");
  verb.text("--calibrate", options.calibrate, "F",
            "a text that shows which weights count more (its first 2048 tokens)");
  verb.flag("--requantize", options.requantize, "although the weights were quantised before, to less than 8 bits");
  verb.flag("--no-check", options.no_check, "leave the comparison out");
  verb.number("-t,--threads", options.threads, int32_t{1}, int32_t{1024}, "N", "threads; default: one a physical core");
  return finish<QuantizeOptions>(verb, words, options, [&](QuantizeOptions& quantize) -> Result<void> {
    if (!input || !output) return fail(ErrorKind::wrong_use, "quantize", "name the model and the file to write");
    if (quantize.type.empty())
      return fail(ErrorKind::wrong_use, "--type", "say which: q8_0, q6_k, q5_k_m, q4_k_m or q4_0");
    quantize.input = *input;
    quantize.output = *output;
    if (!exists(quantize.input)) return no_such_model(quantize.input);
    return {};
  });
}

Result<Command> parse_serve(const std::vector<std::string>& words, const FileExists& exists) {
  ServeOptions options;
  std::string cache_disk;
  Verb verb("serve",
            "Serves models to programs on this machine, in the dialects of OpenAI, Anthropic, Gemini, Ollama and "
            "llama-server.",
            "lapidary serve gemma-4-12b.gguf --alias small=models/spark");
  verb.words("MODEL", options.models, "GGUF files or Hugging Face folders; the first is the default; default: Spark");
  verb.texts("--alias", options.aliases, "NAME=MODEL", "a model under this name; may be repeated");
  verb.flag("--any-model", options.any_model, "unknown names mean the default model");
  verb.text("--host", options.host, "ADDRESS", "default: 127.0.0.1; one that other machines reach needs TLS");
  verb.number("--port", options.port, uint16_t{0}, uint16_t{65535}, "N", "default: 11535; 0: any that is free");
  verb.text("--socket", options.socket, "F", "a Unix socket as well, mode 0600");
  verb.number("-c,--context", options.context, int64_t{1}, int64_t{1} << 30, "N",
              "tokens of each slot; default: as many as fit");
  verb.number("--slots", options.slots, int32_t{1}, int32_t{64}, "N", "requests computed at the same time; default: 4");
  verb.number("--keep-alive", options.keep_alive_seconds, -1.0, 1e9, "SECONDS",
              "an unused model leaves after it; -1: never; default: 300");
  verb.text("--cache-dir", options.cache_folder, "DIR", "prefixes of prompts are kept here as well");
  verb.text("--cache-disk", cache_disk, "SIZE", "at most this much of them: 8G");
  verb.text("--key-file", options.key_file, "F", "the keys; default: lapidary/keys.json in XDG_STATE_HOME");
  verb.text("--tls-cert", options.tls_certificate_file, "F",
            "https: the certificate, and those that it rests on (PEM)");
  verb.text("--tls-key", options.tls_key_file, "F", "its private key (PEM, mode 0600)");
  verb.texts("--origin", options.origins, "URL", "a web page's origin that may ask; may be repeated");
  verb.flag("--no-key-on-loopback", options.no_key_on_loopback, "answers without a key; managing still needs one");
  verb.number("-t,--threads", options.engine.threads, int32_t{1}, int32_t{1024}, "N",
              "threads; default: one a physical core");
  verb.kv(options.engine.kv);
  return finish<ServeOptions>(verb, words, options, [&](ServeOptions& serve) -> Result<void> {
    for (const std::string& model : serve.models)
      if (!exists(model)) return no_such_model(model);
    if (serve.tls_certificate_file.empty() != serve.tls_key_file.empty())
      return fail(ErrorKind::wrong_use, "--tls-cert", "goes with --tls-key: TLS needs both");
    if (cache_disk.empty()) return {};
    const auto bytes = parse_size(cache_disk);
    if (!bytes)
      return fail(ErrorKind::wrong_use, "--cache-disk", fmt::format("expected a size (8G), found \"{}\"", cache_disk));
    serve.cache_disk_bytes = *bytes;
    return {};
  });
}

Result<Command> parse_doctor(const std::vector<std::string>& words) {
  DoctorOptions options;
  Verb verb("doctor", "What this machine has, which kernels it gets and why, and which models fit.", "lapidary doctor");
  verb.flag("--json", options.json, "as JSON");
  return finish<DoctorOptions>(verb, words, options);
}

}  // namespace

Result<void> assign_words(const std::vector<std::string>& words, const FileExists& exists, RunOptions& options) {
  const bool model_named = !options.model.path.empty(), prompt_named = options.prompt.has_value();
  if (words.size() == 2) {
    if (model_named || prompt_named)
      return fail(ErrorKind::wrong_use, words[1],
                  model_named ? "one word too many: -m names the model" : "one word too many: -p is the prompt");
    options.model.path = words[0];
    options.prompt = words[1];
  } else if (words.size() == 1) {
    if (model_named && prompt_named)
      return fail(ErrorKind::wrong_use, words[0], "one word too many: -m and -p name model and prompt");
    if (model_named)
      options.prompt = words[0];
    else if (prompt_named || (!words[0].empty() && exists(words[0])))
      options.model.path = words[0];
    else if (looks_like_path(words[0]))
      return no_such_model(words[0], "; if it is the prompt, say -p");
    else
      options.prompt = words[0];
  }
  if (!options.model.path.empty() && !exists(options.model.path)) return no_such_model(options.model.path);
  return {};
}

Result<Command> parse_command_line(const std::vector<std::string>& words, const FileExists& exists) {
  if (words.empty()) return fail(ErrorKind::wrong_use, "", "what is to be done? (lapidary --help lists the verbs)");
  const std::string& verb = words[0];
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (verb == "run") return parse_run(rest, exists);
  if (verb == "show") return parse_show(rest, exists);
  if (verb == "tokenize") return parse_tokenize(rest, exists);
  if (verb == "render") return parse_render(rest, exists);
  if (verb == "logits") return parse_logits(rest, exists);
  if (verb == "perplexity") return parse_perplexity(rest, exists);
  if (verb == "bench") return parse_bench(rest, exists);
  if (verb == "quantize") return parse_quantize(rest, exists);
  if (verb == "serve") return parse_serve(rest, exists);
  if (verb == "doctor") return parse_doctor(rest);
  if (verb == "--version" || verb == "-V" || verb == "version")
    return Command(TextToPrint{"lapidary " LAPIDARY_VERSION "\n"});
  if (verb == "--help" || verb == "-h" || verb == "help") return Command(TextToPrint{help_text});
  return fail(ErrorKind::wrong_use, "", fmt::format("no verb \"{}\" (lapidary --help lists the verbs)", verb));
}

}  // namespace lapidary
