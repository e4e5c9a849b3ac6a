#include "base/sha256.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace lapidary {
namespace {

std::string digest_of(std::string_view text, size_t piece) {
  Sha256 hash;
  for (size_t at = 0; at < text.size(); at += piece) hash.add_values(std::span(text.substr(at, piece)));
  return hash.finish_hex();
}

}  // namespace

TEST_CASE("SHA-256: the standard's examples, and every length around a block, in pieces of any size") {
  CHECK(digest_of("", 1) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest_of("abc", 1) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest_of(std::string(1'000'000, 'a'), 999) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (const size_t length : {55, 56, 63, 64, 65, 119, 128})
    for (const size_t piece : {1, 7, 64})
      CHECK(digest_of(std::string(length, 'x'), piece) == digest_of(std::string(length, 'x'), length));
  CHECK(digest_of(std::string(56, 'x'), 5) == "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e");
}

}  // namespace lapidary
