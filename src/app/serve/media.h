// Pictures and sound that come inside a request. Nothing is fetched and no file is opened on a client's word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "chat/conversation.h"

namespace lapidary {

constexpr uint64_t media_bytes_max = 64 << 20;  // of one medium, decoded from base64

// Standard or URL-safe alphabet, with or without padding; white space is skipped. Refuses anything else.
Result<std::string> decode_base64(std::string_view text, const std::string& where);
std::string encode_base64(std::string_view bytes);

// A medium from base64.
Result<MediaPart> medium_from_base64(MediaKind kind, std::string_view base64, const std::string& where);
// A medium from a data: URL. http(s) URLs, file: and paths are refused with the reason.
Result<MediaPart> medium_from_url(MediaKind kind, const std::string& url, const std::string& where);

}  // namespace lapidary
