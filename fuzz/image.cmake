lapidary_fuzz(image SOURCES image_fuzz.cc LINK media)
