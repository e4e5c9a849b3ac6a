lapidary_fuzz(sound SOURCES sound_fuzz.cc LINK media)
