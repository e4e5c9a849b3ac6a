// What went wrong with a request, before a dialect gives it its own shape.
#pragma once

#include <string>

#include "base/result.h"

namespace lapidary {

struct ApiError {
  int status = 400;
  std::string code;     // "": by status; "context_length_exceeded", "model_not_found" …
  std::string message;  // for people
  std::string where;    // the field that is wrong, or ""
  double retry_after_seconds = 0;

  ApiError() = default;
  ApiError(int http_status, std::string what, std::string machine_code = "")
      : status(http_status), code(std::move(machine_code)), message(std::move(what)) {}
  ApiError(const Error& error);  // NOLINT(google-explicit-constructor): so that LAPIDARY_TRY works in handlers
};

template <typename T>
using ApiResult = std::expected<T, ApiError>;

inline std::unexpected<ApiError> api_fail(int status, std::string message, std::string code = "") {
  return std::unexpected(ApiError(status, std::move(message), std::move(code)));
}

// Why a submission was refused at once: no such model, or too many waiting.
ApiError submission_error(const Error& error, double retry_after_seconds);

// Whole seconds for Retry-After, at least 1; "" if there is nothing to say.
std::string retry_after(const ApiError& error);

}  // namespace lapidary
