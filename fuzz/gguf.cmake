lapidary_fuzz(gguf SOURCES gguf_fuzz.cc LINK model tokenizer)
