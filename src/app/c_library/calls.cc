#include "c_library/calls.h"

#include <system_error>

namespace lapidary {
namespace {

constexpr size_t text_bytes_max = 2048;
// No destructor and nothing on the heap: valid as long as the thread, and when memory is out.
thread_local char failure_text[text_bytes_max] = "";
thread_local int callbacks = 0;

}  // namespace

lapidary_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::wrong_use:
      return LAPIDARY_WRONG_USE;
    case ErrorKind::not_found:
      return LAPIDARY_NOT_FOUND;
    case ErrorKind::refused:
      return LAPIDARY_REFUSED;
    case ErrorKind::unsupported:
      return LAPIDARY_UNSUPPORTED;
    case ErrorKind::out_of_memory:
      return LAPIDARY_OUT_OF_MEMORY;
    case ErrorKind::limit:
      return LAPIDARY_LIMIT;
    case ErrorKind::cancelled:
      return LAPIDARY_CANCELLED;
    case ErrorKind::io:
      return LAPIDARY_IO;
  }
  return LAPIDARY_INTERNAL;
}

lapidary_status remember_failure(lapidary_status status, std::string_view text) noexcept {
  size_t bytes = std::min(text.size(), text_bytes_max - 1);
  if (bytes < text.size())
    while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  std::ranges::copy(text.substr(0, bytes), failure_text);
  failure_text[bytes] = '\0';
  return status;
}

lapidary_status remember_failure(const Error& error) noexcept {
  try {
    return remember_failure(status_of(error.kind), error.text());
  } catch (...) {
    return remember_failure(status_of(error.kind), error.message);
  }
}

lapidary_status remember_exception() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return remember_failure(LAPIDARY_OUT_OF_MEMORY, "there is no memory for it");
  } catch (const std::system_error& error) {  // no thread to be had
    return remember_failure(LAPIDARY_IO, error.what());
  } catch (const std::exception& exception) {
    return remember_failure(LAPIDARY_INTERNAL, exception.what());
  } catch (...) {
    return remember_failure(LAPIDARY_INTERNAL, "an exception of an unknown type");
  }
}

Result<std::string_view> text_argument(const char* text, size_t bytes, const char* name) {
  if (text == nullptr && bytes != 0) return wrong_use(name, "expected a text, found NULL");
  if (bytes == LAPIDARY_WHOLE_STRING) return std::string_view(text);
  if (bytes > static_cast<size_t>(PTRDIFF_MAX)) return wrong_use(name, fmt::format("no text has {} bytes", bytes));
  return text == nullptr ? std::string_view() : std::string_view(text, bytes);
}

bool in_callback() { return callbacks > 0; }
CallbackScope::CallbackScope() { ++callbacks; }
CallbackScope::~CallbackScope() { --callbacks; }

}  // namespace lapidary

extern "C" {

uint32_t lapidary_version(void) {
  return LAPIDARY_VERSION_MAJOR * 1000000 + LAPIDARY_VERSION_MINOR * 1000 + LAPIDARY_VERSION_PATCH;
}

const char* lapidary_version_text(void) {
  static_assert(std::string_view(LAPIDARY_VERSION_STRING) == LAPIDARY_PROJECT_VERSION,
                "include/lapidary.h has another version than CMakeLists.txt");
  return LAPIDARY_VERSION_STRING;
}

const char* lapidary_status_name(lapidary_status status) {
  switch (status) {
    case LAPIDARY_OK:
      return "ok";
    case LAPIDARY_WRONG_USE:
      return "wrong use";
    case LAPIDARY_NOT_FOUND:
      return "not found";
    case LAPIDARY_REFUSED:
      return "refused";
    case LAPIDARY_UNSUPPORTED:
      return "unsupported";
    case LAPIDARY_OUT_OF_MEMORY:
      return "out of memory";
    case LAPIDARY_LIMIT:
      return "limit";
    case LAPIDARY_CANCELLED:
      return "cancelled";
    case LAPIDARY_IO:
      return "input or output";
    case LAPIDARY_TIMEOUT:
      return "timeout";
    case LAPIDARY_INTERNAL:
      return "internal";
    default:
      return "unknown";
  }
}

const char* lapidary_error_text(void) { return lapidary::failure_text; }
}
