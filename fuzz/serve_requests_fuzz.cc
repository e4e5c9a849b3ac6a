// A request's body -> native types, for every dialect. The first byte chooses the route. Whatever comes in, a request
// is refused with a status and a reason, or reaches the service with every number in its range.
#include <cmath>

#include "base/utf8.h"
#include "serve/context.h"
#include "serve/fake_service_for_test.h"
#include "serve/handlers.h"
#include "serve/routes.h"
#include "small_vocabulary.h"

namespace lapidary {
namespace {

void check_request(const GenerateRequest& request) {
  const SamplerOptions& sampler = request.options.sampler;
  fuzz::require(sampler.temperature >= 0 && sampler.temperature <= 100);
  fuzz::require(sampler.top_p >= 0 && sampler.top_p <= 1 && sampler.min_p >= 0 && sampler.min_p <= 1 &&
                sampler.top_k >= 0);
  fuzz::require(request.options.tokens_max >= 0 && request.top_logprobs >= -1 && request.top_logprobs <= 20);
  fuzz::require(std::isfinite(request.keep_alive_seconds));
  for (const std::string& stop : request.options.stop_strings) fuzz::require(!stop.empty());
  for (const int32_t id : request.ids) fuzz::require(id >= 0);
  for (const Message& message : request.conversation.messages)
    if (const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content))
      for (const ContentPart& part : *parts)
        if (const auto* media = std::get_if<MediaPart>(&part)) fuzz::require(media->bytes != nullptr);
}

void play(const GenerateRequest& request, const GenerateSink& sink) {
  check_request(request);
  sink(PromptEvent{3, 1, 0.1});
  if (request.top_logprobs >= 0) sink(TokenEvent{{1, "\xc3", -0.5}, {{1, "\xc3", -0.5}}});
  sink(TextDelta{"a"});
  sink(ToolCallEvent{ToolCall{"", "f", OrderedJson::object()}});
  sink(UsageEvent{});
}

}  // namespace
}  // namespace lapidary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  static const std::vector<std::string> paths = {"/v1/chat/completions",
                                                 "/v1/completions",
                                                 "/v1/responses",
                                                 "/v1/messages",
                                                 "/v1/messages/count_tokens",
                                                 "/api/chat",
                                                 "/api/generate",
                                                 "/api/show",
                                                 "/v1beta/models/fake:generateContent",
                                                 "/v1beta/models/fake:streamGenerateContent",
                                                 "/v1beta/models/fake:countTokens",
                                                 "/completion",
                                                 "/tokenize",
                                                 "/detokenize",
                                                 "/apply-template",
                                                 "/lapidary/keys"};
  if (size == 0) return 0;
  serve_test::FakeService service;
  service.script = play;
  KeyStore keys({});
  Context context(service, keys);
  HttpRequest request;
  request.method = "POST";
  request.path = paths[data[0] % paths.size()];
  request.body = std::string(reinterpret_cast<const char*>(data) + 1, size - 1);
  const RouteMatch match = find_route("POST", request.path);
  request.parameter = match.parameter;
  const auto exchange = std::make_shared<serve_test::FakeExchange>(std::move(request));
  match.route->handler(context, exchange);
  exchange->run();
  const HttpReply& answer = exchange->answer;
  fuzz::require(answer.status >= 200 && answer.status < 500);
  fuzz::require(!answer.body.empty());
  fuzz::require(utf8_repair(answer.body) == answer.body);
  exchange->leave();
  return 0;
}
