#include "serve/multipart.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary {
namespace {

constexpr size_t parts_max = 64, part_header_bytes_max = 8 << 10, boundary_bytes_max = 70;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

// The value of a parameter: key=word, or key="words".
std::string parameter(std::string_view header, std::string_view key) {
  const std::string lower = lower_case(header);
  for (size_t at = lower.find(';'); at != std::string::npos; at = lower.find(';', at + 1)) {
    size_t begin = at + 1;
    while (begin < lower.size() && (lower[begin] == ' ' || lower[begin] == '\t')) ++begin;
    if (lower.compare(begin, key.size(), key) != 0 || begin + key.size() >= lower.size() ||
        lower[begin + key.size()] != '=')
      continue;
    std::string_view value = header.substr(begin + key.size() + 1);
    if (!value.starts_with('"')) return std::string(value.substr(0, value.find_first_of("; \t")));
    value.remove_prefix(1);
    std::string unquoted;
    for (size_t i = 0; i < value.size() && value[i] != '"'; ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) ++i;
      unquoted += value[i];
    }
    return unquoted;
  }
  return "";
}

Result<FormPart> parse_part(std::string_view text, size_t number) {
  const std::string where = fmt::format("form part {}", number);
  const size_t end = text.substr(0, part_header_bytes_max).find("\r\n\r\n");
  if (end == std::string_view::npos) return malformed(where, "headers and an empty line", "none");
  FormPart part;
  part.data = text.substr(end + 4);
  std::string_view headers = text.substr(0, end);
  while (!headers.empty()) {
    const std::string_view line = headers.substr(0, headers.find("\r\n"));
    headers.remove_prefix(std::min(headers.size(), line.size() + 2));
    if (!lower_case(line.substr(0, 20)).starts_with("content-disposition:")) continue;
    part.name = parameter(line, "name");
    part.filename = parameter(line, "filename");
  }
  if (part.name.empty()) return malformed(where, "a name", "none");
  return part;
}

}  // namespace

const FormPart* Form::find(std::string_view name) const {
  const auto found = std::ranges::find_if(parts, [&](const FormPart& part) { return part.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

Result<Form> parse_form(std::string_view content_type, std::string_view body) {
  if (!lower_case(content_type).starts_with("multipart/form-data"))
    return malformed("Content-Type", "multipart/form-data", fmt::format("\"{}\"", content_type.substr(0, 60)));
  const std::string boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > boundary_bytes_max)
    return malformed("Content-Type", fmt::format("a boundary of 1 to {} characters", boundary_bytes_max),
                     std::to_string(boundary.size()));
  const std::string line = "\r\n--" + boundary;
  Form form;
  // The first boundary may stand at the very beginning.
  const std::string_view first = std::string_view(line).substr(2);
  size_t at = body.starts_with(first) ? first.size() : body.find(line);
  if (at == std::string_view::npos) return malformed("body", "the boundary", "none");
  if (!body.starts_with(first)) at += line.size();
  while (!body.substr(at).starts_with("--")) {
    if (!body.substr(at).starts_with("\r\n"))
      return malformed("body", "a new line after the boundary", "something else");
    const size_t begin = at + 2, end = body.find(line, begin);
    if (end == std::string_view::npos) return malformed("body", "a boundary at its end", "none: the body is cut off");
    if (form.parts.size() >= parts_max) return malformed("body", fmt::format("at most {} parts", parts_max), "more");
    LAPIDARY_TRY(FormPart part, parse_part(body.substr(begin, end - begin), form.parts.size() + 1));
    form.parts.push_back(std::move(part));
    at = end + line.size();
  }
  return form;
}

}  // namespace lapidary
