// A request and its answer as the rest of the server sees them: no socket, no library's type.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lapidary {

// What a key allows; each includes those before it.
enum class Scope : uint8_t { none, infer, manage, admin };

// Who asks, as far as the guard found out.
struct Caller {
  std::string key_id;  // "" : nobody said
  Scope scope = Scope::none;
  bool background = false;  // the key's default class
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;     // "GET"
  std::string path;       // percent-decoded, without the query
  HeaderList query;       // percent-decoded
  HeaderList headers;     // names in lower case, as often as they came
  std::string body;       // empty while only the head is known
  std::string parameter;  // what stood in the place of {} in the route's pattern
  Caller caller;
  bool unix_socket = false;

  // The first header of this (lower-case) name, or "".
  std::string_view header(std::string_view name) const {
    for (const auto& [key, value] : headers)
      if (key == name) return value;
    return "";
  }
  std::string_view query_value(std::string_view name) const {
    for (const auto& [key, value] : query)
      if (key == name) return value;
    return "";
  }
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HeaderList headers;
  bool close = false;  // the connection ends with this answer
};

// One request being answered: either reply(), or begin_stream(), send()…, end_stream(). Any thread may call; calls from
// one thread keep their order. What is said after the client has gone, or after the end, is dropped.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual void reply(HttpReply reply) = 0;
  virtual void begin_stream(HttpReply head) = 0;
  virtual void send(std::string bytes) = 0;
  virtual void end_stream() = 0;
  // `gone` is called once, on the loop's thread, if the client leaves or half-closes before the end; at once if it
  // already has. With nullptr: a half-close is no longer taken for leaving.
  virtual void on_gone(std::function<void()> gone) = 0;
  // Runs `work` on the loop's thread, after what was posted before.
  virtual void post(std::function<void()> work) = 0;
};

}  // namespace lapidary
