#include <fmt/format.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "media/image_codecs.h"

namespace lapidary {
namespace {

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
struct ReleaseFrame {
  void operator()(WebPIterator* frame) const { WebPDemuxReleaseIterator(frame); }
};

std::string_view status_name(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "data that ends early";
    default:
      return "damaged data";
  }
}

}  // namespace

Result<Image> decode_webp(std::span<const std::byte> file, const ImageLimits& limits) {
  const WebPData data{reinterpret_cast<const uint8_t*>(file.data()), file.size()};
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemuxPartial(&data, &state));
  if (demuxer == nullptr || state < WEBP_DEMUX_PARSED_HEADER)
    return malformed("header", "a sound WebP header", "damaged or missing parts");
  ImageClaim claim{WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
                   WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT), file.size()};
  claim.channels = 4;
  LAPIDARY_CHECK(check_claim(claim, limits));
  if (state != WEBP_DEMUX_DONE)
    return malformed(fmt::format("byte {}", file.size()), "more of the picture", "the end of the file");

  WebPIterator frame{};
  const std::unique_ptr<WebPIterator, ReleaseFrame> release(&frame);
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) return malformed("header", "a picture in the file", "none");
  // The demuxer has checked that the frame lies within the canvas; what is outside the frame stays transparent.
  Image image = new_image(claim);
  const size_t row_bytes = static_cast<size_t>(image.width) * 4;
  const size_t start = static_cast<size_t>(frame.y_offset) * row_bytes + static_cast<size_t>(frame.x_offset) * 4;

  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return fail(ErrorKind::unsupported, "", "libwebp is of another version");
  config.output.colorspace = MODE_RGBA;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.pixels.data() + start;
  config.output.u.RGBA.stride = static_cast<int>(row_bytes);
  config.output.u.RGBA.size = image.pixels.size() - start;
  const VP8StatusCode status = WebPDecode(frame.fragment.bytes, frame.fragment.size, &config);
  if (status == VP8_STATUS_OUT_OF_MEMORY) return fail(ErrorKind::out_of_memory, "", "no memory for the WebP decoder");
  if (status != VP8_STATUS_OK) return malformed("picture", "sound WebP data", status_name(status));
  composite_on_white(image);
  return image;
}

}  // namespace lapidary
