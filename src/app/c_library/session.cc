#include "c_library/session.h"

#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "c_library/calls.h"
#include "c_library/request.h"

namespace lapidary {
namespace {

constexpr uint64_t medium_bytes_max = 256 << 20;

// `change` of what the session holds, which no generation is just replying to.
template <typename Change>
Result<void> change_session(lapidary_session* session, const Change& change) {
  LAPIDARY_CHECK(expect_given(session, "session"));
  const std::scoped_lock lock(session->state->mutex);
  if (session->state->generating) return wrong_use("session", "a generation of it is running");
  return change(session->state->content);
}

lapidary_status append_bytes(lapidary_session* session, MediaKind kind, const void* data, size_t bytes) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(data, "data"));
    if (bytes == 0 || bytes > medium_bytes_max)
      return wrong_use("bytes", fmt::format("expected 1 to {}, found {}", medium_bytes_max, bytes));
    MediaPart medium;
    medium.kind = kind;
    medium.bytes = std::make_shared<const std::string>(static_cast<const char*>(data), bytes);
    return change_session(session, [&](SessionContent& content) { return append_medium(content, std::move(medium)); });
  });
}

lapidary_status append_file(lapidary_session* session, MediaKind kind, const char* path) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(path, "path"));
    MediaPart medium;
    medium.kind = kind;
    medium.path = path;
    LAPIDARY_TRY(std::string bytes, read_file(path, medium_bytes_max));
    medium.bytes = std::make_shared<const std::string>(std::move(bytes));
    return change_session(session, [&](SessionContent& content) { return append_medium(content, std::move(medium)); });
  });
}

}  // namespace
}  // namespace lapidary

using namespace lapidary;  // NOLINT(build/namespaces): the functions of the interface are global

extern "C" {

lapidary_status lapidary_session_open(lapidary_model* model, lapidary_session** session) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(model, "model"));
    LAPIDARY_CHECK(expect_given(session, "session"));
    *session = new lapidary_session{model->service, model->info, std::make_shared<SessionState>()};
    return {};
  });
}

lapidary_status lapidary_session_close(lapidary_session* session) {
  delete session;
  return LAPIDARY_OK;
}

lapidary_status lapidary_session_fork(lapidary_session* session, lapidary_session** fork) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(fork, "fork"));
    const auto state = std::make_shared<SessionState>();
    LAPIDARY_CHECK(change_session(session, [&](const SessionContent& content) -> Result<void> {
      state->content = content;
      return {};
    }));
    *fork = new lapidary_session{session->service, session->model, state};
    return {};
  });
}

lapidary_status lapidary_session_begin_turn(lapidary_session* session, const char* role) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(role, "role"));
    return change_session(session, [&](SessionContent& content) { return begin_turn(content, role); });
  });
}

lapidary_status lapidary_session_append_json(lapidary_session* session, const char* json, size_t bytes,
                                             const char* folder) {
  return answer([&]() -> Result<void> {
    LAPIDARY_TRY(const std::string_view text, text_argument(json, bytes, "json"));
    return change_session(session, [&](SessionContent& content) { return append_json(content, text, folder); });
  });
}

lapidary_status lapidary_session_append_text(lapidary_session* session, const char* text, size_t bytes, int32_t how) {
  return answer([&]() -> Result<void> {
    LAPIDARY_TRY(const std::string_view whole, text_argument(text, bytes, "text"));
    if (how != LAPIDARY_TEXT_PLAIN && how != LAPIDARY_TEXT_SPECIAL)
      return wrong_use("how", fmt::format("expected LAPIDARY_TEXT_PLAIN or LAPIDARY_TEXT_SPECIAL, found {}", how));
    return change_session(session, [&](SessionContent& content) -> Result<void> {
      if (how == LAPIDARY_TEXT_PLAIN) return append_text(content, whole);
      LAPIDARY_TRY(std::vector<int32_t> ids,
                   session->service->with([&](Service& service) { return service.tokenize("", whole, true); }));
      return append_tokens(content, std::move(ids));
    });
  });
}

lapidary_status lapidary_session_append_tokens(lapidary_session* session, const int32_t* tokens, size_t count) {
  return answer([&]() -> Result<void> {
    if (count > 0) LAPIDARY_CHECK(expect_given(tokens, "tokens"));
    if (count > static_cast<size_t>(PTRDIFF_MAX) / sizeof(int32_t))
      return wrong_use("count", fmt::format("no array has {} tokens", count));
    std::vector<int32_t> ids(tokens, tokens + count);
    return change_session(session, [&](SessionContent& content) { return append_tokens(content, std::move(ids)); });
  });
}

lapidary_status lapidary_session_append_image(lapidary_session* session, const void* data, size_t bytes) {
  return append_bytes(session, MediaKind::image, data, bytes);
}

lapidary_status lapidary_session_append_audio(lapidary_session* session, const void* data, size_t bytes) {
  return append_bytes(session, MediaKind::audio, data, bytes);
}

lapidary_status lapidary_session_append_image_file(lapidary_session* session, const char* path) {
  return append_file(session, MediaKind::image, path);
}

lapidary_status lapidary_session_append_audio_file(lapidary_session* session, const char* path) {
  return append_file(session, MediaKind::audio, path);
}

lapidary_status lapidary_session_count_tokens(lapidary_session* session, const lapidary_generation_options* options,
                                              int64_t* tokens) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(tokens, "tokens"));
    LAPIDARY_TRY(const lapidary_generation_options whole, read_struct(options, "lapidary_generation_options"));
    GenerateRequest request;
    LAPIDARY_CHECK(change_session(session, [&](const SessionContent& content) -> Result<void> {
      LAPIDARY_TRY(request, prompt_request(content, whole));
      return {};
    }));
    LAPIDARY_TRY(const std::vector<int32_t> ids,
                 session->service->with([&](Service& service) { return service.prompt_ids(request); }));
    *tokens = static_cast<int64_t>(ids.size());
    return {};
  });
}
}
