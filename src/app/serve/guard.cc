#include "serve/guard.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

size_t count(const HttpRequest& request, std::string_view name) {
  return static_cast<size_t>(
      std::ranges::count_if(request.headers, [&](const auto& header) { return header.first == name; }));
}

// "*.example:1" stands for "a.example:1", as in a certificate (RFC 9525 section 6.3).
bool host_matches(std::string_view pattern, std::string_view host) {
  if (!pattern.starts_with("*.")) return pattern == host;
  const size_t label = host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-");
  return label != std::string_view::npos && label > 0 && host.substr(label) == pattern.substr(1);
}

}  // namespace

Credentials credentials(const HttpRequest& request) {
  Credentials found;
  const auto take = [&](std::string_view key) {
    found.contradictory = found.contradictory || (found.given && key != found.key);
    found.given = true;
    found.key = key;
  };
  for (const auto& [name, value] : request.headers) {
    if (name == "authorization") {
      constexpr std::string_view bearer = "bearer ";
      take(lower_case(value.substr(0, bearer.size())) == bearer ? value.substr(bearer.size()) : "");
    } else if (name == "x-api-key" || name == "x-goog-api-key") {
      take(value);
    }
  }
  if (request.path.starts_with("/v1beta/"))
    for (const auto& [name, value] : request.query)
      if (name == "key") take(value);
  return found;
}

bool Guard::origin_allowed(std::string_view origin) const {
  return std::ranges::find(options_.origins, origin) != options_.origins.end();
}

std::optional<Refusal> Guard::check_place(const HttpRequest& request) const {
  const std::string host = lower_case(request.header("host"));
  const bool known =
      std::ranges::any_of(options_.hosts, [&](const std::string& pattern) { return host_matches(pattern, host); }) ||
      (request.unix_socket && host == "localhost");
  if (count(request, "host") != 1 || !known) return Refusal{403, "this server is not reached by that Host"};
  const std::string_view origin = request.header("origin");
  if (count(request, "origin") > 1 || (count(request, "origin") == 1 && !origin_allowed(origin)))
    return Refusal{403, "web pages of that Origin may not ask here (--origin allows one)"};
  const std::string site = lower_case(request.header("sec-fetch-site"));
  if (!site.empty() && site != "same-origin" && site != "none" && origin.empty())
    return Refusal{403, "a web page of another site may not ask here"};
  return std::nullopt;
}

std::optional<Refusal> Guard::check_key(HttpRequest& request, Scope needed) const {
  const Credentials given = credentials(request);
  if (given.contradictory) return Refusal{401, "several keys that differ"};
  if (given.given)
    if (auto caller = keys_->find(given.key)) request.caller = *caller;
  // Clients that must send some key send any: it counts as none.
  if (request.caller.scope == Scope::none && options_.no_key_on_loopback) request.caller.scope = Scope::infer;
  if (needed == Scope::none) return std::nullopt;
  if (request.caller.scope == Scope::none)
    return Refusal{
        401, given.given ? "this key is not known here" : "a key is needed (`lapidary serve` prints it at its start)"};
  if (request.caller.scope < needed)
    return Refusal{403, fmt::format("this needs a key of scope {}, and yours is for {}", scope_name(needed),
                                    scope_name(request.caller.scope))};
  return std::nullopt;
}

std::optional<Refusal> Guard::check(HttpRequest& request, Scope needed) const {
  if (auto refusal = check_place(request)) return refusal;
  return check_key(request, needed);
}

}  // namespace lapidary
