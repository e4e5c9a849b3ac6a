#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <vector>

#include "base/byte_cursor.h"
#include "base/checked.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/output_file.h"
#include "base/system.h"
#include "base/thread_pool.h"
#include "base/utf8.h"

namespace lapidary {

TEST_CASE("byte cursor: reads inside, refuses outside, says where") {
  const uint32_t words[] = {1, 2};
  ByteCursor cursor(std::as_bytes(std::span(words)));
  CHECK(cursor.read<uint32_t>("first").value() == 1);
  CHECK(cursor.take(4, "second").value().size() == 4);
  const auto beyond = cursor.read<uint8_t>("third");
  REQUIRE(!beyond.has_value());
  CHECK(beyond.error().where == "byte 8");
  CHECK(beyond.error().message.find("third") != std::string::npos);
  CHECK(!cursor.take(UINT64_MAX, "everything").has_value());
  CHECK(!cursor.seek(9, "a tensor").has_value());
}

TEST_CASE("checked arithmetic") {
  CHECK(checked_multiply<uint64_t>(1ULL << 32, 1ULL << 31) == 1ULL << 63);
  CHECK(!checked_multiply<uint64_t>(1ULL << 32, 1ULL << 32));
  CHECK(!checked_add<uint64_t>(UINT64_MAX, 1));
  CHECK(checked_align_up<uint64_t>(33, 32) == 64);
  CHECK(!checked_align_up<uint64_t>(UINT64_MAX, 32));
}

TEST_CASE("thread pool: every part once, for any number of threads") {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 7, 64, 1000}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
      for (int round = 0; round < 20; ++round)
        pool.run(count, 3, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) hits[static_cast<size_t>(i)].fetch_add(1);
        });
      for (auto& hit : hits) CHECK(hit.load() == 20);
    }
  }
}

TEST_CASE("json: limits and places") {
  CHECK(parse_json("{\"a\":[1,2,{}]}", "x").value()["a"].size() == 3);
  CHECK(parse_json("{\"a\":", "x").error().text().find("byte") != std::string::npos);
  CHECK(!parse_json(std::string(100'000, '['), "x").has_value());
  CHECK(!parse_json("[1,2,3]", "x", {.values_max = 3}).has_value());
  CHECK(!parse_ordered_json("{\"a\":1,\"b\":2}", "x", {.members_max = 1}).has_value());
  CHECK(!parse_json("1 2", "x").has_value());
  CHECK(!parse_json("\"\xff\"", "x").has_value());
  const Json object = {{"n", -1}, {"f", 1.5}, {"big", 18446744073709551615ULL}};
  CHECK(json_integer(object, "none", 7, 0, 10, "x").value() == 7);
  for (const char* key : {"n", "f", "big"}) CHECK(!json_integer(object, key, 0, 0, 10, "x").has_value());
}

TEST_CASE("utf-8") {
  CHECK(utf8_length("é") == 2);
  CHECK(utf8_length("😊") == 4);
  CHECK(utf8_length("\xC0\x80") == 0);
  CHECK(utf8_length("\xED\xA0\x80") == 0);
  CHECK(utf8_incomplete_tail("a\xF0\x9F\x98") == 3);
  CHECK(utf8_incomplete_tail("a\xF0\x9F\x98\x8A") == 0);
  CHECK(utf8_incomplete_tail("a\xFF") == 0);
  CHECK(utf8_repair("a\xFF\xC3") == "a\xEF\xBF\xBD\xEF\xBF\xBD");
  std::string text;
  utf8_append(text, 0x1F60A);
  CHECK(text == "😊");
  CHECK(utf8_decode(text, 4) == 0x1F60A);
}

TEST_CASE("an output file appears complete, in place of what had its name, or not at all") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("lapidary-output-" + std::to_string(monotonic_seconds()));
  fs::create_directories(folder);
  const auto entries = [&] { return std::distance(fs::directory_iterator(folder), {}); };
  const std::string path = (folder / "file").string();
  const std::string text = "0123456789";
  const auto bytes = std::as_bytes(std::span(text));
  for (int round = 0; round < 2; ++round) {
    auto file = OutputFile::create(path, 10);
    REQUIRE(file);
    CHECK(file->write_at(5, bytes.subspan(5)));
    CHECK(file->append(bytes.first(2)));
    CHECK(file->append(bytes.subspan(2, 3)));
    CHECK(fs::exists(path) == (round > 0));
    CHECK(file->commit());
    CHECK(read_file(path, 100).value() == text);
    CHECK(entries() == 1);
  }
  {
    auto abandoned = OutputFile::create(path, 10);
    REQUIRE(abandoned);
    CHECK(abandoned->write_at(0, bytes.first(1)));
  }
  CHECK(read_file(path, 100).value() == text);
  CHECK(entries() == 1);
  const auto too_large = OutputFile::create((folder / "large").string(), uint64_t{1} << 60);
  REQUIRE(!too_large);
  CHECK(too_large.error().kind == ErrorKind::limit);
  CHECK(OutputFile::create(folder.string(), 1).error().kind == ErrorKind::refused);
  CHECK(OutputFile::create((folder / "no" / "file").string(), 1).error().kind == ErrorKind::io);
  CHECK(entries() == 1);
  const std::string secret = (folder / "private" / "file").string();
  CHECK(make_private_folder((folder / "private").string()));
  CHECK(make_private_folder((folder / "private").string()));  // it is there
  CHECK(fs::status(folder / "private").permissions() == fs::perms::owner_all);
  auto own = OutputFile::create(secret, 10, Readers::owner);
  REQUIRE(own);
  CHECK(own->commit());
  CHECK(fs::status(secret).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  fs::rename(secret, secret + ".partial-17");  // as one killed between the two names leaves it
  remove_partial_files((folder / "private").string());
  CHECK(fs::is_empty(folder / "private"));
  fs::remove_all(folder);
}

TEST_CASE("sizes") {
  CHECK(parse_size("8G") == 8ULL << 30);
  CHECK(parse_size("512MiB") == 512ULL << 20);
  CHECK(!parse_size("many"));
  CHECK(!parse_size("-1"));
  CHECK(memory_state().total_bytes > 0);
  CHECK(physical_cores() >= 1);
}

}  // namespace lapidary
