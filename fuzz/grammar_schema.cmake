lapidary_fuzz(grammar_schema SOURCES grammar_schema_fuzz.cc LINK grammar)
