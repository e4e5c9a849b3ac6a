#include "media/signature.h"

#include <algorithm>
#include <array>
#include <string>

namespace lapidary {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::string_view bytes;
  MediaFormat format;
};

// In order: a longer signature stands before a shorter one that it begins with.
constexpr auto signatures = std::to_array<Signature>({
    {"\x89PNG\r\n\x1a\n"sv, MediaFormat::png},
    {"\xff\xd8\xff"sv, MediaFormat::jpeg},
    {"GIF87a"sv, MediaFormat::gif},
    {"GIF89a"sv, MediaFormat::gif},
    {"RF64"sv, MediaFormat::wav},
    {"RIFX"sv, MediaFormat::wav},
    {"riff\x2e\x91\xcf\x11"sv, MediaFormat::wav},  // Sony Wave64
    {"fLaC"sv, MediaFormat::flac},
    {"OggS"sv, MediaFormat::ogg},
    {"ID3"sv, MediaFormat::mp3},
    {".snd"sv, MediaFormat::au},
    {"dns."sv, MediaFormat::au},
    {"caff"sv, MediaFormat::caf},
    {"II*\0"sv, MediaFormat::tiff},
    {"MM\0*"sv, MediaFormat::tiff},
    {"II+\0"sv, MediaFormat::tiff},  // BigTIFF
    {"MM\0+"sv, MediaFormat::tiff},
    {"BM"sv, MediaFormat::bmp},
    {"\xff\x0a"sv, MediaFormat::jpeg_xl},
    {"\0\0\0\x0cJXL \r\n\x87\n"sv, MediaFormat::jpeg_xl},
    {"\0\0\0\x0cjP  \r\n\x87\n"sv, MediaFormat::jpeg_2000},
    {"\xff\x4f\xff\x51"sv, MediaFormat::jpeg_2000},
    {"8BPS"sv, MediaFormat::photoshop},
    {"\0\0\1\0"sv, MediaFormat::icon},
    {"%PDF-"sv, MediaFormat::pdf},
    {"\x30\x26\xb2\x75\x8e\x66\xcf\x11"sv, MediaFormat::wma},
    {"#!AMR"sv, MediaFormat::amr},
    {"ADIF"sv, MediaFormat::aac},
    {"\x1a\x45\xdf\xa3"sv, MediaFormat::matroska},
});

bool has_at(std::string_view text, size_t offset, std::string_view expected) {
  return text.size() >= offset && text.substr(offset).starts_with(expected);
}

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

// A WAV file may be no more than a wrapper around MPEG audio: its format chunk says so.
bool is_mpeg_in_wav(std::string_view text) {
  for (uint64_t offset = 12; text.size() >= 10 && offset <= text.size() - 10;) {
    const uint64_t size = little_endian(text.substr(offset + 4, 4));
    if (has_at(text, offset, "fmt ")) {
      const uint64_t encoding = little_endian(text.substr(offset + 8, 2));
      return encoding == 0x50 || encoding == 0x55;
    }
    offset += 8 + size + (size & 1);
  }
  return false;
}

// RIFF and IFF name their content after the length.
MediaFormat recognise_chunked(std::string_view text) {
  if (has_at(text, 0, "RIFF")) {
    if (has_at(text, 8, "WAVE")) return is_mpeg_in_wav(text) ? MediaFormat::mp3 : MediaFormat::wav;
    if (has_at(text, 8, "WEBP")) return MediaFormat::webp;
    if (has_at(text, 8, "AVI ")) return MediaFormat::avi;
  }
  if (has_at(text, 0, "FORM") && (has_at(text, 8, "AIFF") || has_at(text, 8, "AIFC"))) return MediaFormat::aiff;
  return MediaFormat::unknown;
}

// ISO base media: the brand says whether it is a picture, a sound or a film.
MediaFormat recognise_iso(std::string_view text) {
  if (!has_at(text, 4, "ftyp")) return MediaFormat::unknown;
  for (const auto brand : {"avif"sv, "avis"sv})
    if (has_at(text, 8, brand)) return MediaFormat::avif;
  for (const auto brand : {"heic"sv, "heix"sv, "heim"sv, "heis"sv, "hevc"sv, "hevx"sv, "mif1"sv, "msf1"sv})
    if (has_at(text, 8, brand)) return MediaFormat::heic;
  for (const auto brand : {"M4A "sv, "M4B "sv, "M4P "sv})
    if (has_at(text, 8, brand)) return MediaFormat::m4a;
  return MediaFormat::mp4;
}

// The frame headers of MPEG audio: 11 bits of ones, then version, layer, rate. Layer 0 is AAC's framing.
MediaFormat recognise_mpeg_frame(std::string_view text) {
  if (text.size() < 4) return MediaFormat::unknown;
  const auto byte = [&](size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
  if (byte(0) != 0xff || (byte(1) & 0xe0) != 0xe0) return MediaFormat::unknown;
  const unsigned version = byte(1) >> 3 & 3, layer = byte(1) >> 1 & 3;
  if (layer == 0) return (byte(1) & 0xf0) == 0xf0 ? MediaFormat::aac : MediaFormat::unknown;
  const unsigned bit_rate = byte(2) >> 4, sample_rate = byte(2) >> 2 & 3;
  return version != 1 && bit_rate != 15 && sample_rate != 3 ? MediaFormat::mp3 : MediaFormat::unknown;
}

bool looks_like_svg(std::string_view text) {
  const std::string_view start = text.substr(0, 1024);
  const size_t first = start.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  return first != std::string_view::npos && start[first] == '<' && start.find("<svg") != std::string_view::npos;
}

}  // namespace

MediaFormat recognise_media(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  for (const Signature& signature : signatures)
    if (text.starts_with(signature.bytes)) return signature.format;
  for (const auto recognise_family : {recognise_chunked, recognise_iso, recognise_mpeg_frame}) {
    const MediaFormat format = recognise_family(text);
    if (format != MediaFormat::unknown) return format;
  }
  return looks_like_svg(text) ? MediaFormat::svg : MediaFormat::unknown;
}

MediaFormatInfo media_format_info(MediaFormat format) {
  using enum MediaFormat;
  switch (format) {
    case unknown:
      return {"a file of an unknown kind", MediaClass::unknown};
    case png:
      return {"a PNG picture", MediaClass::picture};
    case jpeg:
      return {"a JPEG picture", MediaClass::picture};
    case webp:
      return {"a WebP picture", MediaClass::picture};
    case gif:
      return {"a GIF picture", MediaClass::picture};
    case wav:
      return {"a WAV sound", MediaClass::sound};
    case flac:
      return {"a FLAC sound", MediaClass::sound};
    case ogg:
      return {"an Ogg sound", MediaClass::sound};
    case mp3:
      return {"an MP3 sound", MediaClass::sound};
    case aiff:
      return {"an AIFF sound", MediaClass::sound};
    case au:
      return {"an AU sound", MediaClass::sound};
    case caf:
      return {"a CAF sound", MediaClass::sound};
    case heic:
      return {"a HEIC picture", MediaClass::picture};
    case avif:
      return {"an AVIF picture", MediaClass::picture};
    case tiff:
      return {"a TIFF picture", MediaClass::picture};
    case bmp:
      return {"a BMP picture", MediaClass::picture};
    case jpeg_xl:
      return {"a JPEG XL picture", MediaClass::picture};
    case jpeg_2000:
      return {"a JPEG 2000 picture", MediaClass::picture};
    case photoshop:
      return {"a Photoshop picture", MediaClass::picture};
    case icon:
      return {"an icon", MediaClass::picture};
    case svg:
      return {"an SVG drawing", MediaClass::document};
    case pdf:
      return {"a PDF document", MediaClass::document};
    case m4a:
      return {"an M4A sound", MediaClass::sound};
    case aac:
      return {"an AAC sound", MediaClass::sound};
    case wma:
      return {"a Windows Media file", MediaClass::sound};
    case amr:
      return {"an AMR sound", MediaClass::sound};
    case mp4:
      return {"an MP4 or QuickTime film", MediaClass::video};
    case matroska:
      return {"a Matroska or WebM film", MediaClass::video};
    case avi:
      return {"an AVI film", MediaClass::video};
  }
  return {};
}

}  // namespace lapidary
