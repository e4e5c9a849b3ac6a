lapidary_fuzz(grammar_regex SOURCES grammar_regex_fuzz.cc LINK grammar)
