// What every function of the C interface does around its work: arguments are checked, structs are read by their size,
// exceptions end, and the failure is remembered for lapidary_error_text().
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "base/result.h"
#include "lapidary.h"

namespace lapidary {

lapidary_status status_of(ErrorKind kind);

// For the calling thread; cut at 2047 bytes, never within a character. Allocates nothing.
lapidary_status remember_failure(lapidary_status status, std::string_view text) noexcept;
lapidary_status remember_failure(const Error& error) noexcept;
// Of the exception that is being handled.
lapidary_status remember_exception() noexcept;

// The status of a function whose work is `body`: Result<void>().
template <typename Body>
lapidary_status answer(const Body& body) noexcept {
  try {
    const Result<void> done = body();
    return done ? LAPIDARY_OK : remember_failure(done.error());
  } catch (...) {
    return remember_exception();
  }
}

inline std::unexpected<Error> wrong_use(std::string where, std::string message) {
  return fail(ErrorKind::wrong_use, std::move(where), std::move(message));
}

template <typename Pointed>
Result<void> expect_given(Pointed* argument, const char* name) {
  if (argument == nullptr) return wrong_use(name, "expected a pointer, found NULL");
  return {};
}

// A text argument; `bytes` may be LAPIDARY_WHOLE_STRING. NULL is an empty text if it has no bytes.
Result<std::string_view> text_argument(const char* text, size_t bytes, const char* name);

// A caller's struct, made whole: what its header does not know is zero; what this library does not know has to be.
// NULL: all zero.
template <typename Struct>
Result<Struct> read_struct(const Struct* given, const char* name) {
  constexpr size_t bytes_max = 1 << 16;
  Struct whole{};
  if (given == nullptr) return whole;
  const size_t bytes = given->struct_size;
  if (bytes < sizeof(Struct) || bytes > bytes_max)  // once there is a second version: below the first one's size
    return wrong_use(fmt::format("{}.struct_size", name), fmt::format("expected {}, found {}", sizeof(Struct), bytes));
  const auto* all = reinterpret_cast<const unsigned char*>(given);
  if (std::any_of(all + sizeof(Struct), all + bytes, [](unsigned char byte) { return byte != 0; }))
    return fail(ErrorKind::unsupported, name, "a field is set that this library is too old to know");
  std::memcpy(&whole, given, sizeof(Struct));
  return whole;
}

// Whether this thread is in a caller's callback, where waiting would never end.
bool in_callback();
class CallbackScope {
 public:
  CallbackScope();
  ~CallbackScope();
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;
};

}  // namespace lapidary
