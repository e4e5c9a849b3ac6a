// What distinguishes the dialects outside their own files: the shape of an error.
#pragma once

#include "base/json.h"
#include "serve/api_error.h"
#include "serve/routes.h"

namespace lapidary {

OrderedJson error_body(Dialect dialect, const ApiError& error);

}  // namespace lapidary
