// A request's target: path and query, percent-decoded.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/http_message.h"

namespace lapidary {

// Refuses targets that do not begin with "/", broken escapes, and NUL or other control characters.
Result<void> parse_target(std::string_view target, HttpRequest& request);

// The target without its query, which may hold a key: what may be logged.
std::string target_for_logs(std::string_view target);

}  // namespace lapidary
