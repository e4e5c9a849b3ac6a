lapidary_fuzz(grammar_gbnf SOURCES grammar_gbnf_fuzz.cc LINK grammar)
