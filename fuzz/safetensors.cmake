lapidary_fuzz(safetensors SOURCES safetensors_fuzz.cc LINK formats)
