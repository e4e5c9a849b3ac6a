// A session and the options of a generation -> what the service is asked.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "c_library/session.h"
#include "lapidary.h"
#include "service/service.h"

namespace lapidary {

// What decides the prompt. ErrorKind::wrong_use if the session is empty.
Result<GenerateRequest> prompt_request(const SessionContent& content, const lapidary_generation_options& options);

// All of it. `warnings`: what the reply is not held to although it was declared.
Result<GenerateRequest> generate_request(const SessionContent& content, const lapidary_generation_options& options,
                                         const ModelInfo& model, std::vector<std::string>& warnings);

}  // namespace lapidary
