// multipart/form-data (RFC 7578), as clients send files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lapidary {

struct FormPart {
  std::string name, filename;
  std::string_view data;  // into the body
};

struct Form {
  std::vector<FormPart> parts;
  const FormPart* find(std::string_view name) const;
};

// At most 64 parts with headers of at most 8 KiB each. `body` must outlive the form.
Result<Form> parse_form(std::string_view content_type, std::string_view body);

}  // namespace lapidary
