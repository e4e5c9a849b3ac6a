// Errors as values.
//
// A function that can fail because of the world (a file, a user, memory) returns Result<T>. A bug of ours is an
// assert. Nothing below the program (src/app/cli) prints or exits.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace lapidary {

enum class ErrorKind : uint8_t {
  wrong_use,      // the caller asked for something that makes no sense: bad option, bad value
  not_found,      // a file or a key that was named is not there
  refused,        // the input is damaged, hostile or not what it claims to be
  unsupported,    // the input is sound, but of a kind this program does not handle
  out_of_memory,  // what was asked for does not fit
  limit,          // a size or time limit was reached
  cancelled,      // the user stopped it
  io,             // the operating system said no
};

// What went wrong, in the form "WHERE: MESSAGE". `where` names the file and the place in it (byte offset, key, tensor);
// `message` says what was expected and what was found, in words for the user.
struct Error {
  ErrorKind kind = ErrorKind::refused;
  std::string where;
  std::string message;

  std::string text() const { return where.empty() ? message : where + ": " + message; }

  // Puts a wider place in front: in("model.gguf") turns "byte 24: ..." into "model.gguf: byte 24: ...".
  Error in(std::string_view outer) && {
    where = where.empty() ? std::string(outer) : std::string(outer) + ": " + where;
    return std::move(*this);
  }
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorKind kind, std::string where, std::string message) {
  return std::unexpected(Error{kind, std::move(where), std::move(message)});
}

// The usual shape of a parser's complaint: what should have stood there, and what did.
inline std::unexpected<Error> malformed(std::string where, std::string_view expected, std::string_view found) {
  std::string message = "expected ";
  message += expected;
  message += ", found ";
  message += found;
  return fail(ErrorKind::refused, std::move(where), std::move(message));
}

}  // namespace lapidary

#define LAPIDARY_CONCAT_INNER(a, b) a##b
#define LAPIDARY_CONCAT(a, b) LAPIDARY_CONCAT_INNER(a, b)

// LAPIDARY_TRY(auto x, expression): x is the value, or the enclosing function returns the error.
#define LAPIDARY_TRY(declaration, ...) \
  LAPIDARY_TRY_IMPL(LAPIDARY_CONCAT(result_, __COUNTER__), declaration, __VA_ARGS__)
#define LAPIDARY_TRY_IMPL(temporary, declaration, ...)                              \
  auto temporary = (__VA_ARGS__);                                                   \
  if (!temporary.has_value()) return std::unexpected(std::move(temporary).error()); \
  declaration = std::move(temporary).value()

// LAPIDARY_CHECK(expression): the same for Result<void>.
#define LAPIDARY_CHECK(...)                                                                 \
  do {                                                                                      \
    auto check_result = (__VA_ARGS__);                                                      \
    if (!check_result.has_value()) return std::unexpected(std::move(check_result).error()); \
  } while (false)
