set(model_format_sources config_common.cc config_gguf.cc config_hugging_face.cc weights.cc)
set(model_format_tests config_test.cc weights_test.cc)
