// The golden sets of tests/golden/tokenizer, for tests of several ways to the same vocabulary.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

namespace lapidary::golden {

inline Json read_json(const std::string& path) {
  const auto text = read_file(path, uint64_t{64} << 20);
  REQUIRE_MESSAGE(text.has_value(), path);
  return parse_json(*text, path).value();
}

// FIPS 180-4.
inline std::string sha256(std::string_view data) {
  std::array<uint32_t, 64> k{};
  std::array<uint32_t, 8> h{};
  // The constants are the fractions of the cube and square roots of the first primes.
  const auto fraction = [](long double root) {
    return static_cast<uint32_t>((root - static_cast<int>(root)) * 4294967296.0L);
  };
  for (uint32_t prime = 2, count = 0; count < 64; ++prime) {
    bool divisible = false;
    for (uint32_t d = 2; d * d <= prime; ++d) divisible |= prime % d == 0;
    if (divisible) continue;
    if (count < 8) h[count] = fraction(sqrtl(prime));
    k[count++] = fraction(cbrtl(prime));
  }
  std::string message(data);
  message += '\x80';
  while (message.size() % 64 != 56) message += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) message += static_cast<char>(data.size() * 8 >> shift & 0xFF);
  for (size_t block = 0; block < message.size(); block += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<unsigned char>(message[block + i]);
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto s = h;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t t1 = s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                          ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
      const uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) +
                          ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      s = {t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += s[i];
  }
  std::string hex;
  for (const uint32_t word : h)
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  return hex;
}

inline std::string first_characters(const std::string& text, size_t count) {
  size_t at = 0;
  for (; count > 0 && at < text.size(); --count) at += utf8_length(std::string_view(text).substr(at));
  return text.substr(0, at);
}

inline std::string repeat(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

// The very long lines whose hashes the sets hold; `text_sha256` there proves that these are the same.
inline std::string long_line(const std::string& name) {
  if (name == "words_100k") return first_characters(repeat("lorem ipsum dolor sit amet consectetur ", 4000), 100'000);
  if (name == "one_letter_100k") return std::string(100'000, 'a');
  if (name == "newlines_10k") return std::string(10'000, '\n');
  if (name == "spaces_10k") return std::string(10'000, ' ');
  if (name == "cjk_100k") return first_characters(repeat("日本語の文章と中国話", 12'000), 100'000);
  std::string digits;
  for (int i = 0; i < 60'000; ++i) {
    std::string hex;
    for (int rest = i * 7919 % 9973; rest > 0 || hex.empty(); rest /= 16)
      hex.insert(hex.begin(), "0123456789abcdef"[rest % 16]);
    digits += hex;
  }
  return digits.substr(0, 100'000);
}

inline std::string hash_of_ids(const std::vector<int32_t>& ids) {
  return sha256({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

// Every string and long line of the set at `path`: ids, and the text of the ids. `unknown` is a text this form of the
// vocabulary has no token for.
inline void check_set(const Tokenizer& tokenizer, const std::string& path, const std::string& unknown = "") {
  const Json set = read_json(path);
  REQUIRE(set["strings"].size() >= 300);
  for (const Json& row : set["strings"]) {
    const auto text = row["text"].get<std::string>();
    if (!unknown.empty() && text.find(unknown) != std::string::npos) continue;
    INFO("text: ", text);
    const auto ids = row["ids"].get<std::vector<int32_t>>();
    CHECK(tokenizer.encode(text, SpecialParsing::on) == ids);
    CHECK(tokenizer.decode(ids, SpecialParsing::on) == row["decoded"].get<std::string>());
  }
  REQUIRE(set["long"].size() == 6);
  for (const Json& row : set["long"]) {
    const std::string name = row["name"], text = long_line(name);
    INFO("line: ", name);
    REQUIRE(sha256(text) == row["text_sha256"].get<std::string>());
    const auto ids = tokenizer.encode(text, SpecialParsing::on);
    CHECK(ids.size() == row["count"].get<size_t>());
    CHECK(hash_of_ids(ids) == row["ids_sha256_int32_le"].get<std::string>());
    CHECK(tokenizer.decode(ids, SpecialParsing::on) == text);
  }
}

}  // namespace lapidary::golden
