#include "serve/media.h"

#include <fmt/format.h>

#include <array>

namespace lapidary {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::array<int8_t, 256> make_values() {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (size_t i = 0; i < alphabet.size(); ++i) values[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  values['-'] = 62;
  values['_'] = 63;
  for (const char c : {' ', '\n', '\r', '\t'}) values[static_cast<uint8_t>(c)] = -2;
  return values;
}

}  // namespace

Result<std::string> decode_base64(std::string_view text, const std::string& where) {
  static const std::array<int8_t, 256> values = make_values();
  if (text.size() / 4 * 3 > media_bytes_max)
    return fail(ErrorKind::refused, where, fmt::format("expected at most {} MB, found more", media_bytes_max >> 20));
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0, padding = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const int8_t value = values[static_cast<uint8_t>(text[i])];
    if (value == -2) continue;
    if (text[i] == '=') {
      ++padding;
      continue;
    }
    if (value < 0 || padding > 0)
      return malformed(where, "base64", padding > 0 ? "more after its end" : fmt::format("another character at {}", i));
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (++count == 4) {
      bytes += static_cast<char>(bits >> 16);
      bytes += static_cast<char>(bits >> 8);
      bytes += static_cast<char>(bits);
      bits = 0, count = 0;
    }
  }
  if (count == 1 || padding > 2) return malformed(where, "base64", "a text that is cut off");
  if (count == 2) bytes += static_cast<char>(bits >> 4);
  if (count == 3) {
    bytes += static_cast<char>(bits >> 10);
    bytes += static_cast<char>(bits >> 2);
  }
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0U);
    for (size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

Result<MediaPart> medium_from_base64(MediaKind kind, std::string_view base64, const std::string& where) {
  LAPIDARY_TRY(std::string bytes, decode_base64(base64, where));
  if (bytes.empty()) return malformed(where, kind == MediaKind::image ? "a picture" : "a sound", "nothing");
  MediaPart part;
  part.kind = kind;
  part.path = where;
  part.bytes = std::make_shared<const std::string>(std::move(bytes));
  return part;
}

Result<MediaPart> medium_from_url(MediaKind kind, const std::string& url, const std::string& where) {
  const std::string scheme = url.substr(0, std::min(url.find(':'), size_t{8}));
  if (scheme == "http" || scheme == "https")
    return fail(ErrorKind::wrong_use, where,
                "this server fetches nothing from the network: send the file itself, as a data: URL");
  if (scheme != "data")
    return fail(ErrorKind::wrong_use, where,
                "expected a data: URL; files of this machine are not opened for a request");
  const size_t comma = url.find(',');
  if (comma == std::string::npos || comma > 200) return malformed(where, "data:TYPE;base64,…", "no comma");
  if (std::string_view(url).substr(0, comma).find(";base64") == std::string_view::npos)
    return malformed(where, "data:TYPE;base64,…", "another encoding");
  return medium_from_base64(kind, std::string_view(url).substr(comma + 1), where);
}

}  // namespace lapidary
