#include "c_library/model.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/system.h"
#include "c_library/calls.h"
#include "engine/loaded_model.h"

namespace lapidary {
namespace {

Result<void> check_options(const lapidary_model_options& options) {
  if (options.context_tokens < 0) return wrong_use("context_tokens", "expected 0 or more");
  if (options.sequences_max < 0 || options.sequences_max > 1024)
    return wrong_use("sequences_max", fmt::format("expected 0 to 1024, found {}", options.sequences_max));
  if (options.waiting_max < 0) return wrong_use("waiting_max", "expected 0 or more");
  if (options.threads < 0 || options.threads > 4096)
    return wrong_use("threads", fmt::format("expected 0 to 4096, found {}", options.threads));
  if (options.reserved != 0) return wrong_use("reserved", "expected 0");
  if (options.cache_folder == nullptr && options.cache_disk_bytes != 0)
    return wrong_use("cache_disk_bytes", "there is no cache_folder");
  return {};
}

Result<ServiceOptions> service_options(const char* path, const lapidary_model_options& options) {
  LAPIDARY_CHECK(check_options(options));
  ModelSource source;
  source.path = path == nullptr ? bundled_model_path() : path;
  if (source.path.empty())
    return fail(ErrorKind::not_found, "Spark",
                path == nullptr ? "the model in the box is not there (LAPIDARY_MODELS names its folder's parent)"
                                : "the path of the model is empty");
  if (options.projector != nullptr) source.projector = options.projector;
  ServiceOptions service;
  service.models.push_back(std::move(source));
  service.context = options.context_tokens;
  if (options.sequences_max > 0) service.slots = options.sequences_max;
  if (options.waiting_max > 0) service.queue_max = options.waiting_max;
  service.keep_alive_seconds = -1;
  service.prefix_cache_bytes = options.prefix_cache_bytes;
  if (options.cache_folder != nullptr) service.cache_folder = options.cache_folder;
  service.cache_disk_bytes = options.cache_disk_bytes;
  service.threads = options.threads;
  service.kernels = environment("LAPIDARY_KERNELS");
  if (options.kernels != nullptr) service.kernels = options.kernels;
  service.memory_limit_bytes = options.memory_bytes_max;
  return service;
}

void describe(lapidary_model& model) {
  const ModelInfo& info = model.info;
  lapidary_model_info& described = model.described;
  described.struct_size = sizeof described;
  described.name = info.name.c_str();
  described.architecture = info.architecture.c_str();
  described.quantization = info.quantization.c_str();
  described.parameters = info.parameters;
  described.file_bytes = static_cast<int64_t>(info.file_bytes);
  described.context_tokens = info.context;
  described.context_trained_tokens = info.context_trained;
  described.sees = info.sees ? 1 : 0;
  described.hears = info.hears ? 1 : 0;
  described.thinks = info.thinks ? 1 : 0;
  described.calls_tools = info.calls_tools ? 1 : 0;
  described.chats = info.chats ? 1 : 0;
  described.greedy = info.sampler.greedy ? 1 : 0;
  described.temperature = info.sampler.temperature;
  described.top_k = info.sampler.top_k;
  described.top_p = info.sampler.top_p;
  described.min_p = info.sampler.min_p;
}

Result<std::unique_ptr<lapidary_model>> open_model(const char* path, const lapidary_model_options& options) {
  LAPIDARY_TRY(ServiceOptions wanted, service_options(path, options));
  LAPIDARY_TRY(std::unique_ptr<Service> service, Service::start(std::move(wanted)));
  auto model = std::make_unique<lapidary_model>();
  LAPIDARY_TRY(model->info, service->model(""));
  if (model->info.context <= 0)
    return fail(ErrorKind::out_of_memory, model->info.path, "not even the smallest context fits beside its weights");
  model->service = std::make_shared<SharedService>(std::move(service));
  describe(*model);
  return model;
}

// Copies as much of `text` as there is room for, and a NUL.
void copy_text(const std::string& text, char* to, size_t capacity) {
  if (capacity == 0) return;
  const size_t bytes = std::min(text.size(), capacity - 1);
  std::copy_n(text.data(), bytes, to);
  to[bytes] = '\0';
}

}  // namespace
}  // namespace lapidary

using namespace lapidary;  // NOLINT(build/namespaces): the functions of the interface are global

extern "C" {

lapidary_status lapidary_model_open(const char* path, const lapidary_model_options* options, lapidary_model** model) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(model, "model"));
    LAPIDARY_TRY(const lapidary_model_options whole, read_struct(options, "lapidary_model_options"));
    LAPIDARY_TRY(auto opened, open_model(path, whole));
    *model = opened.release();
    return {};
  });
}

lapidary_status lapidary_model_close(lapidary_model* model) {
  return answer([&]() -> Result<void> {
    if (model == nullptr) return {};
    if (in_callback()) return wrong_use("lapidary_model_close", "a callback cannot wait for the thread that it is on");
    model->service->close();
    delete model;
    return {};
  });
}

lapidary_status lapidary_model_describe(lapidary_model* model, const lapidary_model_info** info) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(model, "model"));
    LAPIDARY_CHECK(expect_given(info, "info"));
    *info = &model->described;
    return {};
  });
}

lapidary_status lapidary_model_tokenize(lapidary_model* model, const char* text, size_t bytes, int32_t how,
                                        int32_t* tokens, size_t capacity, size_t* count) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(model, "model"));
    LAPIDARY_CHECK(expect_given(count, "count"));
    if (capacity > 0) LAPIDARY_CHECK(expect_given(tokens, "tokens"));
    if (how != LAPIDARY_TEXT_PLAIN && how != LAPIDARY_TEXT_SPECIAL)
      return wrong_use("how", fmt::format("expected LAPIDARY_TEXT_PLAIN or LAPIDARY_TEXT_SPECIAL, found {}", how));
    LAPIDARY_TRY(const std::string_view whole, text_argument(text, bytes, "text"));
    LAPIDARY_TRY(const std::vector<int32_t> ids, model->service->with([&](Service& service) {
      return service.tokenize("", whole, how == LAPIDARY_TEXT_SPECIAL);
    }));
    std::copy_n(ids.begin(), std::min(capacity, ids.size()), tokens);
    *count = ids.size();
    return {};
  });
}

lapidary_status lapidary_model_detokenize(lapidary_model* model, const int32_t* tokens, size_t count, char* text,
                                          size_t capacity, size_t* bytes) {
  return answer([&]() -> Result<void> {
    LAPIDARY_CHECK(expect_given(model, "model"));
    LAPIDARY_CHECK(expect_given(bytes, "bytes"));
    if (count > 0) LAPIDARY_CHECK(expect_given(tokens, "tokens"));
    if (capacity > 0) LAPIDARY_CHECK(expect_given(text, "text"));
    const std::vector<int32_t> ids(tokens, tokens + count);
    LAPIDARY_TRY(const std::string whole,
                 model->service->with([&](Service& service) { return service.detokenize("", ids); }));
    copy_text(whole, text, capacity);
    *bytes = whole.size();
    return {};
  });
}
}
