// Every path and method that the server knows, with the scope it needs, in one table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/api_error.h"
#include "serve/context.h"
#include "serve/http_message.h"

namespace lapidary {

enum class Dialect : uint8_t { openai, anthropic, gemini, ollama, llama };

// On a worker's thread.
using Handler = void (*)(Context& context, const std::shared_ptr<Exchange>& exchange);

struct Route {
  const char* method;
  const char* pattern;  // at most one {}, which stands for any text that is not empty
  Scope scope;
  Dialect dialect;
  Handler handler;
  const char* about;  // for /openapi.json
};

const std::vector<Route>& route_table();

struct RouteMatch {
  const Route* route = nullptr;  // null: no such path, or not with this method
  bool path_known = false;
  std::string parameter;
};
RouteMatch find_route(std::string_view method, std::string_view path);

// By the path's beginning, also for paths that are not known.
Dialect dialect_of(std::string_view path);

// An error in a dialect's own shape.
HttpReply shape_error(Dialect dialect, const ApiError& error);

}  // namespace lapidary
