#include "serve/api_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary {

// `where` is the field alone; what lies inside it is told by the message.
ApiError::ApiError(const Error& error) : message(error.text()), where(error.where.substr(0, error.where.find(": "))) {
  switch (error.kind) {
    case ErrorKind::wrong_use:
    case ErrorKind::refused:
    case ErrorKind::unsupported:
      status = 400;
      break;
    case ErrorKind::limit:
      status = 400;
      code = "context_length_exceeded";
      break;
    case ErrorKind::not_found:
      status = 404;
      break;
    case ErrorKind::out_of_memory:
    case ErrorKind::cancelled:
      status = 503;
      break;
    case ErrorKind::io:
      status = 500;
      break;
  }
}

ApiError submission_error(const Error& error, double retry_after_seconds) {
  ApiError result(error);
  if (error.kind == ErrorKind::limit) {
    result.status = 429;
    result.code = "rate_limit_exceeded";
    result.retry_after_seconds = std::max(1.0, retry_after_seconds);
  }
  if (error.kind == ErrorKind::not_found) result.code = "model_not_found";
  return result;
}

std::string retry_after(const ApiError& error) {
  if (error.retry_after_seconds <= 0) return "";
  return std::to_string(std::max<int64_t>(1, std::llround(std::ceil(std::min(error.retry_after_seconds, 3600.0)))));
}

}  // namespace lapidary
