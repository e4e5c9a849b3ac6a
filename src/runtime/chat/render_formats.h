// The chat formats that render() chooses from.
#pragma once

#include "base/result.h"
#include "chat/render.h"

namespace lapidary {

Result<Prompt> render_gemma3(const Conversation& conversation);
Result<Prompt> render_gemma4(const Conversation& conversation);

}  // namespace lapidary
