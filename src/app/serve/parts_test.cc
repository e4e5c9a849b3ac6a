// Keys, guard, addresses, media, forms and sounds: the parts that need no server.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "base/secret.h"
#include "serve/guard.h"
#include "serve/keys.h"
#include "serve/media.h"
#include "serve/multipart.h"
#include "serve/sound_pieces.h"
#include "serve/url.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("lapidary_serve_" + random_hex(8));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

std::string error_of(const Result<std::vector<Key>>& keys) { return keys ? "" : keys.error().text(); }

}  // namespace

TEST_CASE("keys are made once, in a file of mode 0600, and kept") {
  const Folder folder;
  const std::string path = (folder.path / "deep" / "keys.json").string();
  const auto first = KeyStore::open(path);
  REQUIRE(first.has_value());
  CHECK((fs::status(path).permissions() & fs::perms::all) == (fs::perms::owner_read | fs::perms::owner_write));
  const auto second = KeyStore::open(path);
  REQUIRE(second.has_value());
  CHECK((*first)->keys()[0].key == (*second)->keys()[0].key);
  CHECK((*first)->find((*first)->keys()[1].key)->scope == Scope::admin);
  CHECK_FALSE((*first)->find("").has_value());

  REQUIRE((*first)->add("guest", Scope::infer, true).has_value());
  CHECK_FALSE((*first)->add("guest", Scope::infer, true).has_value());
  CHECK_FALSE((*first)->refresh());
  CHECK((*second)->refresh());
  CHECK((*second)->has("guest"));
  REQUIRE((*second)->revoke("guest").has_value());
  CHECK((*first)->refresh());
  CHECK_FALSE((*first)->has("guest"));

  fs::permissions(path, fs::perms::group_read, fs::perm_options::add);
  CHECK((*first)->refresh());
  CHECK((*first)->keys().empty());  // others could have read them
  CHECK(KeyStore::open(path).error().kind == ErrorKind::refused);
}

TEST_CASE("a file of keys is read with care") {
  CHECK(error_of(parse_keys(R"({"keys": [{"id": "a", "key": "0123456789abcdef"}]})", "k")).empty());
  for (const char* text :
       {"", "[]", R"({"keys": 5})", R"({"keys": [{"id": "a", "key": "short"}]})",
        R"({"keys": [{"id": "a b", "key": "0123456789abcdef"}]})",
        R"({"keys": [{"id": "a", "key": "0123456789abcdef", "scope": "root"}]})",
        R"({"keys": [{"id": "a", "key": "0123456789abcdef", "scope": "none"}]})",
        R"({"keys": [{"id": "a", "key": "0123456789abcdef"}, {"id": "a", "key": "0123456789abcdeg"}]})"})
    CHECK_FALSE(error_of(parse_keys(text, "k")).empty());
}

TEST_CASE("?key= counts below /v1beta only, and no log shows it") {
  HttpRequest request;
  request.query = {{"key", "k"}};
  request.path = "/v1beta/models";
  CHECK(credentials(request).key == "k");
  for (const char* path : {"/v1/models", "/v1betas/models", "/"}) {
    request.path = path;
    CHECK_FALSE(credentials(request).given);
  }
  CHECK(target_for_logs("/v1beta/models?key=secret") == "/v1beta/models?***");
}

TEST_CASE("a certificate's wildcard lets in one label, and nothing else") {
  const KeyStore keys{{}};
  const Guard guard({{"*.example.test:1", "localhost:1"}, {}, true}, keys);
  const auto passes = [&](const std::string& host) {
    HttpRequest request;
    request.headers = {{"host", host}};
    return !guard.check(request, Scope::infer).has_value();
  };
  for (const char* host : {"a.example.test:1", "A.Example.test:1", "localhost:1"}) CHECK(passes(host));
  for (const char* host : {"example.test:1", ".example.test:1", "a.b.example.test:1", "*.example.test",
                           "a.example.test:2", "a.example.test", "evil.test:1", "localhost:1.example.test:1"})
    CHECK_FALSE(passes(host));
}

TEST_CASE("targets") {
  HttpRequest request;
  REQUIRE(parse_target("/a%20b/c?d=e%26f+g&h", request).has_value());
  CHECK(request.path == "/a b/c");
  CHECK(request.query_value("d") == "e&f g");
  for (const char* bad : {"", "a", "http://a/", "/%", "/%4", "/%4g", "/%00", "/a?b=%0a", "*"})
    CHECK_FALSE(parse_target(bad, request).has_value());
}

TEST_CASE("base64, both alphabets, with and without its end") {
  for (const char* text : {"Zm9vYg==", "Zm9vYg", "Zm9v\nYg=="}) CHECK(decode_base64(text, "x").value() == "foob");
  CHECK(decode_base64("-_-_", "x").value() == decode_base64("+/+/", "x").value());
  for (const char* bad : {"Z", "Zm9v=Yg", "Zm9v*", "Zg===", "Zm9vY"}) CHECK_FALSE(decode_base64(bad, "x").has_value());
  for (const std::string bytes : {"", "a", "ab", "abc", "abcd"})
    CHECK(decode_base64(encode_base64(bytes), "x").value() == bytes);
}

TEST_CASE("forms") {
  const std::string type = "multipart/form-data; boundary=\"X y\"";
  const std::string body =
      "--X y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".wav\"\r\nContent-Type: "
      "audio/wav\r\n\r\n"
      "1\r\n--X\r\n2\r\n--X y\r\ncontent-disposition: form-data; name=model\r\n\r\nspark\r\n--X y--\r\n";
  const auto form = parse_form(type, body);
  REQUIRE(form.has_value());
  REQUIRE(form->parts.size() == 2);
  CHECK(form->find("file")->data == "1\r\n--X\r\n2");
  CHECK(form->find("file")->filename == "a \"b\".wav");
  CHECK(form->find("model")->data == "spark");
  CHECK(form->find("other") == nullptr);
  for (size_t length = 0; length + 4 < body.size(); ++length)
    CHECK_FALSE(parse_form(type, body.substr(0, length)).has_value());
  CHECK_FALSE(parse_form("multipart/form-data", body).has_value());
  CHECK_FALSE(parse_form("application/json", body).has_value());
}

TEST_CASE("a long sound is cut in its pauses") {
  Sound sound;
  sound.samples.assign(size_t{16000} * 65, 0.5F);
  for (const size_t pause : {20, 47})
    std::fill_n(sound.samples.begin() + static_cast<ptrdiff_t>(pause * 16000), 8000, 0.0F);
  const auto pieces = cut_at_pauses(sound);
  REQUIRE(pieces.size() == 3);
  CHECK(pieces[0].begin_seconds == 0);
  CHECK(pieces[2].end_seconds == 65);
  for (size_t i = 0; i < pieces.size(); ++i) {
    CHECK(pieces[i].end_seconds - pieces[i].begin_seconds < 30);
    if (i > 0) CHECK(pieces[i].begin_seconds == pieces[i - 1].end_seconds);
  }
  CHECK(pieces[0].end_seconds == doctest::Approx(20.25).epsilon(0.02));
  CHECK(pieces[1].end_seconds == doctest::Approx(47.25).epsilon(0.02));
  Sound ramp;
  for (int i = 0; i < 1000; ++i) ramp.samples.push_back(static_cast<float>(i) / 1000);
  const std::string wav = wav_bytes(ramp, {0, 1000.0 / 16000});
  const auto again = decode_sound(std::as_bytes(std::span(wav)), "piece");
  REQUIRE(again.has_value());
  CHECK(again->samples == ramp.samples);
  CHECK(cut_at_pauses(ramp).size() == 1);
}

}  // namespace lapidary
