#include "serve/url.h"

#include <fmt/format.h>

namespace lapidary {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const bool whole = text.size() - i > 2;
      const int high = whole ? hex_digit(text[i + 1]) : -1;
      const int low = whole ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return fail(ErrorKind::refused, "target", "a broken %-escape");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) return fail(ErrorKind::refused, "target", "a control character");
    decoded += c;
  }
  return decoded;
}

}  // namespace

Result<void> parse_target(std::string_view target, HttpRequest& request) {
  if (!target.starts_with('/')) return fail(ErrorKind::refused, "target", "expected a path that begins with /");
  target = target.substr(0, target.find('#'));
  const size_t mark = target.find('?');
  LAPIDARY_TRY(request.path, decode(target.substr(0, mark), false));
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const size_t equals = pair.find('=');
    LAPIDARY_TRY(std::string key, decode(pair.substr(0, equals), true));
    LAPIDARY_TRY(std::string value,
                 decode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), true));
    request.query.emplace_back(std::move(key), std::move(value));
  }
  return {};
}

std::string target_for_logs(std::string_view target) {
  const size_t mark = target.find('?');
  if (mark == std::string_view::npos) return std::string(target);
  return std::string(target.substr(0, mark)) + "?***";
}

}  // namespace lapidary
