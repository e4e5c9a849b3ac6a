// States on disk: found after a restart, the same bits; damaged, foreign or too many files do no harm.
#include "service/disk_cache.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/system.h"
#include "formats/temporary_folder_test.h"
#include "service/service_for_test.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using namespace service_test;

// A long conversation about pictures; it ends in a question.
GenerateRequest long_chat(int which) {
  GenerateRequest request = samples().front().request;
  std::string system = fmt::format("You are Spark number {}.", which);
  for (int i = 0; i < 35; ++i) system += fmt::format(" Rule {} holds.", i);
  request.conversation.messages.insert(request.conversation.messages.begin(), message("system", system));
  request.top_logprobs = 5;
  request.options.tokens_max = 10;
  return request;
}

void wait_for_files(Service& service, uint64_t count) {
  for (int i = 0; i < 1000 && service.state().disk_cache_files < count; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

std::vector<fs::path> saved_files(const std::string& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".kv") files.push_back(entry.path());
  return files;
}

ServiceOptions with_disk(const std::string& folder) {
  ServiceOptions options = spark_options();
  options.cache_folder = folder;
  options.cache_disk_bytes = 256 << 20;
  return options;
}

}  // namespace

TEST_CASE("after a restart the prompt is not read again, and the answer has the same bits") {
  const TemporaryFolder folder;
  const GenerateRequest request = long_chat(1);
  const Alone expected = alone(*spark_engine(), request);
  double cold_seconds = 0;
  {
    const auto service = start(with_disk(folder.path()));
    Client client;
    const auto ticket = service->submit(request, client.sink());
    cold_seconds = client.usage().prompt_seconds;
    CHECK(same_bits(client, expected));
    wait_for_files(*service, 1);
    CHECK(service->state().disk_cache_files >= 1);
  }
  const auto service = start(with_disk(folder.path()));
  Client client;
  const auto ticket = service->submit(request, client.sink());
  const UsageEvent& usage = client.usage();
  CHECK(same_bits(client, expected));
  CHECK(usage.reused_tokens > usage.prompt_tokens - 32);
  fmt::print("{} prompt tokens: {:.1f} ms cold, {:.1f} ms from disk\n", usage.prompt_tokens, 1e3 * cold_seconds,
             1e3 * usage.prompt_seconds);
}

TEST_CASE("damaged, cut and foreign files are thrown away, and the answer is right") {
  const TemporaryFolder folder;
  const GenerateRequest request = long_chat(1);
  const Alone expected = alone(*spark_engine(), request);
  std::string whole;
  fs::path path;
  {
    const auto service = start(with_disk(folder.path()));
    Client client;
    const auto ticket = service->submit(request, client.sink());
    client.wait();
    wait_for_files(*service, 1);
    REQUIRE(saved_files(folder.path()).size() == 1);
    path = saved_files(folder.path())[0];
    CHECK((fs::status(path).permissions() & fs::perms::all) == (fs::perms::owner_read | fs::perms::owner_write));
    whole = read_file(path.string(), 1ULL << 30).value();
  }
  std::mt19937_64 random(3);
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    std::string bytes = whole;
    if (round == 0) bytes.clear();
    if (round == 1) bytes.resize(bytes.size() - 1);
    if (round == 2) bytes += "more";
    if (round == 3) bytes.resize(random() % bytes.size());
    if (round == 4) bytes[8] = static_cast<char>(0xFF);  // says it has more tokens
    if (round > 4) bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
    std::ofstream(path, std::ios::binary) << bytes;
    std::ofstream(path.string() + ".partial-123", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
    const auto service = start(with_disk(folder.path()));
    Client client;
    const auto ticket = service->submit(request, client.sink());
    client.wait();
    CHECK(same_bits(client, expected));
    CHECK_FALSE(fs::exists(path.string() + ".partial-123"));
    CHECK(client.usage().reused_tokens == 0);
  }
}

TEST_CASE("states of another identity are not looked at; the folder stays within its budget") {
  const TemporaryFolder folder;
  ServiceOptions options = with_disk(folder.path());
  uint64_t one = 0;
  {
    const auto service = start(options);
    Client client;
    const auto ticket = service->submit(long_chat(1), client.sink());
    client.wait();
    wait_for_files(*service, 1);
    one = service->state().disk_cache_bytes;
    REQUIRE(one > 0);
  }
  if (const auto kernels = available_kernels(); kernels.size() > 2) {
    options.kernels = std::string(kernels[kernels.size() - 2]->name);
    const auto service = start(options);
    Client client;
    GenerateRequest request = long_chat(1);
    request.options.tokens_max = 1;
    const auto ticket = service->submit(request, client.sink());
    CHECK(client.usage().reused_tokens == 0);
  }
  options = with_disk(folder.path());
  options.cache_disk_bytes = 2 * one + one / 2;
  const auto service = start(options);
  for (int i = 1; i <= 5; ++i) {
    Client client;
    const auto ticket = service->submit(long_chat(i), client.sink());
    client.wait();
    for (int wait = 0; wait < 500; ++wait) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const ServiceState state = service->state();
      CHECK(state.disk_cache_bytes <= options.cache_disk_bytes);
      if (wait > 40 && state.disk_cache_files == 2) break;
    }
  }
  wait_for_files(*service, 2);  // the last one may still be on its way
  CHECK(service->state().disk_cache_files == 2);
}

TEST_CASE("restore takes only what fits the model and the length") {
  const auto engine = spark_engine();
  const auto fresh = [&] { return KvCache(engine->config(), engine->kv_pool(), engine->kv_type()); };
  KvCache state = fresh();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(state.reserve(50).has_value());
    state.commit(50);
  }
  std::vector<std::byte> bytes;
  REQUIRE(state
              .save([&](std::span<const std::byte> piece) -> Result<void> {
                bytes.insert(bytes.end(), piece.begin(), piece.end());
                return {};
              })
              .has_value());
  CHECK(bytes.size() == state.saved_bytes());
  KvCache other = fresh();
  CHECK(other.restore(150, bytes, "state").has_value());
  CHECK(other.length() == 150);
  for (const int64_t length : {0, -1, 128, 193, 100'000})
    CHECK_FALSE(other.restore(length, bytes, "state").has_value());
  CHECK(other.length() == 0);
  CHECK_FALSE(other.restore(150, std::span(bytes).first(bytes.size() - 1), "state").has_value());
  for (const size_t at : {0, 8}) {
    std::vector<std::byte> wrong = bytes;
    wrong[at] ^= std::byte{1};
    CHECK_FALSE(other.restore(150, wrong, "state").has_value());
  }
  state.clear();
  CHECK(engine->kv_pool().bytes_in_use() == 0);
}

}  // namespace lapidary
