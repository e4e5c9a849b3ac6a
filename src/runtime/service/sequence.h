// One request being computed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "chat/turn_steps.h"
#include "engine/engine.h"
#include "service/job.h"
#include "service/prefix_cache.h"

namespace lapidary {

// Owned by the engine's thread.
struct Sequence {
  Sequence(std::shared_ptr<Job> its_job, Engine& engine)
      : job(std::move(its_job)), cache(engine.config(), engine.kv_pool(), engine.kv_type()) {}

  std::shared_ptr<Job> job;
  KvCache cache;
  std::shared_ptr<TokenLine> line = std::make_shared<TokenLine>();  // the prompt, then the reply as far as it was read
  int64_t prompt_tokens = 0;
  std::vector<SoftBlock> blocks;                            // embeddings are computed when the first of them is needed
  std::vector<std::shared_ptr<const DecodedMedium>> media;  // of the blocks, until then
  ChatFormat format = ChatFormat::none;
  bool inside_thought = false;

  // Reading the prompt, chunk by chunk.
  bool begun = false;
  int64_t reused = 0;
  std::vector<int64_t> borders;  // lengths at which turns begin: states there last
  std::vector<int64_t> ladder;   // lengths at which a state is still to be kept, ascending
  int64_t chunk_end = 0;         // of the chunk that `rows` and `pass` belong to; cache.length(): none
  std::vector<BatchRow> rows;
  PassState pass;
  double prompt_begin_seconds = 0;

  // Writing the reply.
  std::optional<ReplyGeneration> reply;
  std::vector<GenerateEvent> given;  // by the reply, not yet handed out
  std::vector<int32_t> tokens;       // to be read next: the one that was sampled, and those that a constraint forces
  PromptEvent read;

  bool interactive = false;  // as it counts now: by its class or by its age
  double admitted_seconds = 0;
  double progress_seconds = 0;     // when it last got on
  double stays_until_seconds = 0;  // not pushed aside before
  int32_t slot = -1;               // -1: pushed aside

  bool reading() const { return !reply.has_value(); }
  int64_t left_to_read() const { return prompt_tokens - cache.length(); }
};

}  // namespace lapidary
