lapidary_fuzz(tokenize SOURCES tokenize_fuzz.cc LINK tokenizer)
