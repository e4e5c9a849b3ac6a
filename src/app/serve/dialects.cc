#include "serve/dialects.h"

namespace lapidary {
namespace {

OrderedJson openai_error(const ApiError& error) {
  const char* type = "invalid_request_error";
  if (error.status == 401) type = "authentication_error";
  if (error.status == 403) type = "permission_error";
  if (error.status == 404) type = "not_found_error";
  if (error.status == 429) type = "rate_limit_error";
  if (error.status >= 500) type = "server_error";
  OrderedJson code, where;
  if (!error.code.empty()) code = error.code;
  if (!error.where.empty()) where = error.where;
  return {{"error", {{"message", error.message}, {"type", type}, {"param", where}, {"code", code}}}};
}

OrderedJson anthropic_error(const ApiError& error) {
  const char* type = "invalid_request_error";
  if (error.status == 401) type = "authentication_error";
  if (error.status == 403) type = "permission_error";
  if (error.status == 404) type = "not_found_error";
  if (error.status == 413) type = "request_too_large";
  if (error.status == 429) type = "rate_limit_error";
  if (error.status >= 500) type = error.status == 503 ? "overloaded_error" : "api_error";
  return {{"type", "error"}, {"error", {{"type", type}, {"message", error.message}}}};
}

OrderedJson gemini_error(const ApiError& error) {
  const char* status = "INVALID_ARGUMENT";
  if (error.status == 401) status = "UNAUTHENTICATED";
  if (error.status == 403) status = "PERMISSION_DENIED";
  if (error.status == 404) status = "NOT_FOUND";
  if (error.status == 429) status = "RESOURCE_EXHAUSTED";
  if (error.status == 500) status = "INTERNAL";
  if (error.status == 501) status = "UNIMPLEMENTED";
  if (error.status == 503) status = "UNAVAILABLE";
  return {{"error", {{"code", error.status}, {"message", error.message}, {"status", status}}}};
}

OrderedJson llama_error(const ApiError& error) {
  OrderedJson body = openai_error(error);
  body["error"]["code"] = error.status;
  return body;
}

}  // namespace

OrderedJson error_body(Dialect dialect, const ApiError& error) {
  switch (dialect) {
    case Dialect::openai:
      return openai_error(error);
    case Dialect::anthropic:
      return anthropic_error(error);
    case Dialect::gemini:
      return gemini_error(error);
    case Dialect::ollama:
      return {{"error", error.message}};
    case Dialect::llama:
      return llama_error(error);
  }
  return openai_error(error);
}

}  // namespace lapidary
