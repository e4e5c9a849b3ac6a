// What a file is, told from its first bytes and never from its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace lapidary {

// clang-format off: a line a family
enum class MediaFormat : uint8_t {
  unknown,
  // pictures that are read
  png, jpeg, webp, gif,
  // sounds that are read
  wav, flac, ogg, mp3, aiff, au,
  // recognised so that the error can say how to convert them
  heic, avif, tiff, bmp, jpeg_xl, jpeg_2000, photoshop, icon, svg, pdf,
  m4a, aac, wma, amr, caf,
  mp4, matroska, avi,
};
// clang-format on

enum class MediaClass : uint8_t { unknown, picture, sound, video, document };

struct MediaFormatInfo {
  std::string_view name;  // for messages: "a HEIC picture"
  MediaClass media_class = MediaClass::unknown;
};

MediaFormat recognise_media(std::span<const std::byte> file);
MediaFormatInfo media_format_info(MediaFormat format);

}  // namespace lapidary
