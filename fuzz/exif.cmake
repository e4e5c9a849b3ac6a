lapidary_fuzz(exif SOURCES exif_fuzz.cc LINK media)
