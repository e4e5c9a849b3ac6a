// The one thing that is read from a picture's EXIF block: how the camera was held.
// Spec: Exif 2.3 4.6 (a TIFF 6.0 directory), tag 0x0112; JPEG APP1, PNG eXIf, WebP EXIF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "media/image.h"

namespace lapidary {

// The orientation, 1..8, of a JPEG, PNG or WebP file. 1 (as it is) when there is none or the block is damaged: a broken
// note about a picture is no reason to refuse the picture.
int32_t exif_orientation(std::span<const std::byte> file);

// The same from a bare EXIF block, which begins with "II" or "MM" (an "Exif\0\0" before it is skipped).
int32_t tiff_orientation(std::span<const std::byte> block);

// Turns and mirrors a stored picture so that it stands upright. `orientation` is 1..8.
Image upright(Image image, int32_t orientation);

}  // namespace lapidary
