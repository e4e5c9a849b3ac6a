#include "cli/options.h"

#include <doctest/doctest.h>

namespace lapidary {
namespace {

bool there(const std::string& path) { return path == "model.gguf" || path == "folder" || path == "dir/model.gguf"; }

Result<Command> parse(const std::vector<std::string>& words) { return parse_command_line(words, there); }

RunOptions run(std::vector<std::string> words) {
  words.insert(words.begin(), "run");
  auto command = parse(words);
  REQUIRE_MESSAGE(command.has_value(), (command ? "" : command.error().text()));
  REQUIRE(std::holds_alternative<RunOptions>(*command));
  return std::get<RunOptions>(*command);
}

ErrorKind refusal(const std::vector<std::string>& words) {
  const auto command = parse(words);
  REQUIRE(!command.has_value());
  return command.error().kind;
}

}  // namespace

TEST_CASE("a word alone is the model if it is there, else the prompt, unless it looks like a path") {
  CHECK(run({"model.gguf"}).model.path == "model.gguf");
  CHECK(!run({"model.gguf"}).prompt);
  CHECK(run({"folder"}).model.path == "folder");
  CHECK(run({"hello"}).model.path == "");
  CHECK(run({"hello"}).prompt == "hello");
  CHECK(run({"why is it so?"}).prompt == "why is it so?");
  CHECK(refusal({"run", "no.gguf"}) == ErrorKind::not_found);
  CHECK(refusal({"run", "a/b"}) == ErrorKind::not_found);
  CHECK(refusal({"run", "tokenizer.json"}) == ErrorKind::not_found);
  CHECK(refusal({"run", "model.safetensors"}) == ErrorKind::not_found);
  CHECK(run({"-p", "a/b"}).prompt == "a/b");
  CHECK(run({""}).prompt == "");
}

TEST_CASE("--draft is off, or a drafter that is there") {
  CHECK(run({"hello"}).draft == "");
  CHECK(run({"hello", "--draft", "off"}).draft == "off");
  CHECK(run({"hello", "--draft", "dir/model.gguf"}).draft == "dir/model.gguf");
  CHECK(refusal({"run", "hello", "--draft", "nowhere.gguf"}) == ErrorKind::not_found);
  CHECK(refusal({"bench", "model.gguf", "--draft", "nowhere.gguf"}) == ErrorKind::not_found);
  const auto bench = parse({"bench", "model.gguf", "--draft", "folder", "--draft-right", "0.25,1", "--edit", "100"});
  REQUIRE(bench.has_value());
  CHECK(std::get<BenchOptions>(*bench).draft_right == std::vector<double>{0.25, 1});
  CHECK(std::get<BenchOptions>(*bench).edit_tokens == 100);
  CHECK(refusal({"bench", "model.gguf", "--draft", "folder", "--draft-right", "1.5"}) == ErrorKind::wrong_use);
}

TEST_CASE("two words, -m and -p") {
  CHECK(run({"model.gguf", "a/b.json"}).prompt == "a/b.json");
  CHECK(refusal({"run", "nowhere", "hello"}) == ErrorKind::not_found);
  CHECK(run({"-m", "model.gguf", "folder"}).prompt == "folder");
  CHECK(run({"-m", "model.gguf", "dir/none"}).prompt == "dir/none");
  CHECK(run({"-p", "hello", "folder"}).model.path == "folder");
  CHECK(refusal({"run", "-p", "hello", "nowhere"}) == ErrorKind::not_found);
  CHECK(refusal({"run", "-m", "nowhere"}) == ErrorKind::not_found);
  CHECK(refusal({"run", "-m", "model.gguf", "a", "b"}) == ErrorKind::wrong_use);
  CHECK(refusal({"run", "model.gguf", "a", "b"}) == ErrorKind::wrong_use);
  CHECK(refusal({"run", "-m", "model.gguf", "-p", "a", "b"}) == ErrorKind::wrong_use);
}

TEST_CASE("a prompt is taken as it is written") {
  CHECK(run({"[1,2]"}).prompt == "[1,2]");
  CHECK(run({"show"}).prompt == "show");
  CHECK(run({"--", "-x"}).prompt == "-x");
  CHECK(run({"-p", "-x --greedy"}).prompt == "-x --greedy");
  CHECK(run({"-p", "line\nbreak \"quoted\""}).prompt == "line\nbreak \"quoted\"");
}

TEST_CASE("repeated options take one value each and leave the words alone") {
  const RunOptions options =
      run({"--image", "a.png", "--image", "b.png", "hello", "--audio", "c.wav", "--stop", "x", "--stop", "[y,z]"});
  CHECK(options.images == std::vector<std::string>{"a.png", "b.png"});
  CHECK(options.sounds == std::vector<std::string>{"c.wav"});
  CHECK(options.stop_strings == std::vector<std::string>{"x", "[y,z]"});
  CHECK(options.prompt == "hello");
}

TEST_CASE("numbers are checked") {
  const RunOptions options = run({"--temp", "0.5", "--top-k", "64", "--top-p=0.95", "--min-p", "0.1", "--seed",
                                  "18446744073709551615", "-n", "010", "-c", "4096", "-t", "2"});
  CHECK(options.sampling.temperature == 0.5);
  CHECK(options.sampling.top_k == 64);
  CHECK(options.sampling.top_p == 0.95);
  CHECK(options.sampling.min_p == 0.1);
  CHECK(options.sampling.seed == 18446744073709551615ULL);
  CHECK(options.tokens_max == 10);
  CHECK(options.context == 4096);
  CHECK(options.engine.threads == 2);
  CHECK(run({"--context", "auto"}).context == context_auto);
  CHECK(run({"--image-tokens", "560"}).image_tokens == 560);
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"--temp", "-1"},
                                                                                    {"--temp", "nan"},
                                                                                    {"--temp", "1e999"},
                                                                                    {"--temp", "warm"},
                                                                                    {"--temp", ""},
                                                                                    {"--top-k", "-1"},
                                                                                    {"--top-k", "1.5"},
                                                                                    {"--top-p", "1.1"},
                                                                                    {"--min-p", "2"},
                                                                                    {"--seed", "-1"},
                                                                                    {"--seed", "18446744073709551616"},
                                                                                    {"-n", "0"},
                                                                                    {"-n", "5x"},
                                                                                    {"-c", "0"},
                                                                                    {"-c", "all"},
                                                                                    {"-t", "0"},
                                                                                    {"-t", "1000000"},
                                                                                    {"--image-tokens", "100"},
                                                                                    {"--kv", "q8"},
                                                                                    {"--nothing", "1"}}) {
    CAPTURE(name);
    CAPTURE(value);
    CHECK(refusal({"run", name, value}) == ErrorKind::wrong_use);
  }
}

TEST_CASE("every verb has a help text with an example, and the program has a version") {
  for (const char* verb :
       {"run", "show", "tokenize", "render", "logits", "perplexity", "bench", "quantize", "serve", "doctor"}) {
    CAPTURE(verb);
    const auto command = parse({verb, "--help"});
    REQUIRE(command.has_value());
    REQUIRE(std::holds_alternative<TextToPrint>(*command));
    CHECK(std::get<TextToPrint>(*command).text.find("Example: ") != std::string::npos);
  }
  CHECK(std::get<TextToPrint>(parse({"--version"}).value()).text.starts_with("lapidary "));
  CHECK(std::get<TextToPrint>(parse({"--help"}).value()).text.find("Examples:") != std::string::npos);
  CHECK(refusal({}) == ErrorKind::wrong_use);
  CHECK(refusal({"dance"}) == ErrorKind::wrong_use);
}

TEST_CASE("serve: models, names for them, sizes") {
  const auto command =
      parse({"serve", "model.gguf", "folder", "--alias", "small=dir/model.gguf", "--port", "0", "--keep-alive", "-1",
             "--cache-disk", "8G", "--origin", "http://a", "--no-key-on-loopback"});
  REQUIRE(command.has_value());
  const auto& options = std::get<ServeOptions>(*command);
  CHECK(options.models == std::vector<std::string>{"model.gguf", "folder"});
  CHECK(options.aliases == std::vector<std::string>{"small=dir/model.gguf"});
  CHECK(options.port == 0);
  CHECK(options.keep_alive_seconds == -1);
  CHECK(options.cache_disk_bytes == uint64_t{8} << 30);
  CHECK(options.no_key_on_loopback);
  CHECK(refusal({"serve", "nowhere"}) == ErrorKind::not_found);
  CHECK(refusal({"serve", "--port", "65536"}) == ErrorKind::wrong_use);
  CHECK(refusal({"serve", "--slots", "0"}) == ErrorKind::wrong_use);
  CHECK(refusal({"serve", "--tls-key", "k.pem"}) == ErrorKind::wrong_use);
  CHECK(refusal({"serve", "--cache-disk", "much"}) == ErrorKind::wrong_use);
}

TEST_CASE("the other verbs") {
  const auto render = std::get<RenderOptions>(parse({"render", "folder", "chat.json", "--expand"}).value());
  CHECK(render.model.path == "folder");
  CHECK(render.chat_file == "chat.json");
  CHECK(render.expand);
  CHECK(std::get<RenderOptions>(parse({"render", "chat.json"}).value()).chat_file == "chat.json");
  CHECK(refusal({"render"}) == ErrorKind::wrong_use);
  const auto perplexity = std::get<PerplexityOptions>(
      parse({"perplexity", "folder", "text.txt", "--tokens", "512", "--against", "model.gguf"}).value());
  CHECK(perplexity.file == "text.txt");
  CHECK(perplexity.tokens == 512);
  CHECK(perplexity.against == "model.gguf");
  const auto logits = std::get<LogitsOptions>(
      parse({"logits", "folder", "--text", "t", "--image", "i", "--out", "o.npy", "--last", "3"}).value());
  CHECK(logits.images == std::vector<std::string>{"i"});
  CHECK(logits.last == 3);
  CHECK(refusal({"logits", "folder", "--out", "o.npy"}) == ErrorKind::wrong_use);
  CHECK(refusal({"logits", "folder", "--ids", "a", "--text", "b", "--out", "o.npy"}) == ErrorKind::wrong_use);
  CHECK(refusal({"logits", "folder", "--ids", "a"}) == ErrorKind::wrong_use);
  CHECK(refusal({"logits", "folder", "--ids", "a", "--out", "o", "--image", "i"}) == ErrorKind::wrong_use);
  const auto bench = std::get<BenchOptions>(
      parse({"bench", "folder", "--depth", "0,8192", "--verify", "1-3,8", "--verify-depth", "64", "--tg", "0"})
          .value());
  CHECK(bench.depths == std::vector<int64_t>{0, 8192});
  CHECK(bench.verify_rows == std::vector<int32_t>{1, 2, 3, 8});
  CHECK(bench.decode_tokens == 0);
  CHECK(std::get<BenchOptions>(parse({"bench", "--verify", "none"}).value()).verify_rows.empty());
  for (const char* wrong : {"3-1", "0-2", "1-", "-3", "1,,2", "1,2,", "1-200", "x"}) {
    CAPTURE(wrong);
    CHECK(refusal({"bench", "--verify", wrong}) == ErrorKind::wrong_use);
  }
  CHECK(refusal({"bench", "--depth", "0-4"}) == ErrorKind::wrong_use);
  CHECK(refusal({"bench", "--depth", "none"}) == ErrorKind::wrong_use);
  CHECK(refusal({"bench", "--pp", "0", "--tg", "0", "--verify", "none"}) == ErrorKind::wrong_use);
  const auto quantize =
      std::get<QuantizeOptions>(parse({"quantize", "folder", "out.gguf", "--type", "q6_k", "--no-check"}).value());
  CHECK(quantize.input == "folder");
  CHECK(quantize.output == "out.gguf");
  CHECK(quantize.no_check);
  CHECK(refusal({"quantize", "folder", "--type", "q6_k"}) == ErrorKind::wrong_use);
  CHECK(refusal({"quantize", "folder", "out.gguf"}) == ErrorKind::wrong_use);
  CHECK(refusal({"quantize", "nowhere", "out.gguf", "--type", "q6_k"}) == ErrorKind::not_found);
  CHECK(refusal({"show", "nowhere"}) == ErrorKind::not_found);
  CHECK(refusal({"run", "--raw", "--think", "x"}) == ErrorKind::wrong_use);
  CHECK(std::get<TokenizeOptions>(parse({"tokenize", "--decode", "--special"}).value()).decode);
}

}  // namespace lapidary
