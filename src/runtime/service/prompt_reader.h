// Request -> prompt: rendered, tokenised, media decoded, cut to the context if the request allows it. No engine is
// needed, so that it can be done on any thread while others compute.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "chat/turn_steps.h"
#include "engine/loaded_model.h"
#include "service/service.h"

namespace lapidary {

struct ReadPrompt {
  DecodedPrompt decoded;
  std::vector<uint64_t> media_hashes;  // of what the model is shown, for each of decoded.media; never 0
  ChatFormat format = ChatFormat::none;
  bool inside_thought = false;
  int64_t dropped_messages = 0;
  int64_t tokens() const { return static_cast<int64_t>(decoded.ids.size()); }
};

// Media without bytes are refused: a request must not name files of this machine. ErrorKind::limit if it does not fit
// `context` and nothing may be dropped; context 0: no limit.
Result<ReadPrompt> read_prompt(const GenerateRequest& request, const LoadedModel& model, int64_t context);

// The prompt as text, media by their placeholders' names.
Result<std::string> read_prompt_text(const GenerateRequest& request, const LoadedModel& model);

}  // namespace lapidary
