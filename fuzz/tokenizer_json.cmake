lapidary_fuzz(tokenizer_json SOURCES tokenizer_json_fuzz.cc LINK tokenizer)
