// How the program ends.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace lapidary {

enum class ExitStatus : uint8_t {
  done = 0,
  failed = 1,
  wrong_use = 2,
  file_refused = 3,  // damaged, of a kind that is not handled, or not there
  out_of_memory = 4,
  interrupted = 130,
};

inline ExitStatus exit_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::wrong_use:
      return ExitStatus::wrong_use;
    case ErrorKind::not_found:
    case ErrorKind::refused:
    case ErrorKind::unsupported:
      return ExitStatus::file_refused;
    case ErrorKind::out_of_memory:
      return ExitStatus::out_of_memory;
    case ErrorKind::cancelled:
      return ExitStatus::interrupted;
    case ErrorKind::limit:
    case ErrorKind::io:
      return ExitStatus::failed;
  }
  return ExitStatus::failed;
}

}  // namespace lapidary
