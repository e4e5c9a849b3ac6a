// Who may come in. Asked about every request before anything else, whether its path and method are known or not:
// the name it was sent to, the page it comes from, its key, and what the key allows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/http_message.h"
#include "serve/keys.h"

namespace lapidary {

struct GuardOptions {
  std::vector<std::string>
      hosts;  // exactly what may stand in Host: "127.0.0.1:11535"; "*.example:1" stands for one label
  std::vector<std::string> origins;  // web pages that may ask: "http://127.0.0.1:11535"
  bool no_key_on_loopback = false;   // a request without a key is as good as one with scope infer
};

struct Refusal {
  int status = 403;
  std::string message;
};

class Guard {
 public:
  Guard(GuardOptions options, const KeyStore& keys) : options_(std::move(options)), keys_(&keys) {}

  // `needed`: of the route; none: no key is asked for. A path that is not known needs infer.
  std::optional<Refusal> check(HttpRequest& request, Scope needed) const;

  bool origin_allowed(std::string_view origin) const;

 private:
  std::optional<Refusal> check_place(const HttpRequest& request) const;
  std::optional<Refusal> check_key(HttpRequest& request, Scope needed) const;
  GuardOptions options_;
  const KeyStore* keys_;
};

// The one place that knows how a key may be spelled: Authorization: Bearer, x-api-key, x-goog-api-key, and ?key= below
// /v1beta. Several that differ are as good as none.
struct Credentials {
  std::string key;
  bool given = false, contradictory = false;
};
Credentials credentials(const HttpRequest& request);

}  // namespace lapidary
