// A form: the first line is the Content-Type, the rest the body. Parts lie inside the body, in order, and have names.
#include "serve/multipart.h"
#include "serve/url.h"
#include "small_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  const std::string_view text = fuzz::text_of(data, size);
  const std::string_view type = text.substr(0, text.find('\n'));
  const std::string_view body = text.substr(std::min(text.size(), type.size() + 1));
  HttpRequest request;
  if (parse_target(type, request)) fuzz::require(!request.path.empty());
  const auto form = parse_form(type, body);
  if (!form) {
    fuzz::require(!form.error().message.empty());
    return 0;
  }
  const char* at = body.data();
  for (const FormPart& part : form->parts) {
    fuzz::require(!part.name.empty());
    fuzz::require(part.data.data() >= at && part.data.data() + part.data.size() <= body.data() + body.size());
    at = part.data.data() + part.data.size();
  }
  return 0;
}
