/* The header as a C program meets it: compiled as C11 with all warnings as errors, and used by c_library_test. */
#include "lapidary.h"

/* What a C compiler makes of the structs and numbers; a C++ compiler has to agree. */
size_t lapidary_test_size(int which);
lapidary_status lapidary_test_open(const char* path, int64_t context_tokens, lapidary_model** model);

size_t lapidary_test_size(int which) {
  switch (which) {
    case 0:
      return sizeof(lapidary_model_options);
    case 1:
      return sizeof(lapidary_model_info);
    case 2:
      return sizeof(lapidary_event);
    case 3:
      return sizeof(lapidary_generation_options);
    default:
      return sizeof(lapidary_probability);
  }
}

lapidary_status lapidary_test_open(const char* path, int64_t context_tokens, lapidary_model** model) {
  lapidary_model_options options = {0};
  options.struct_size = sizeof options;
  options.context_tokens = context_tokens;
  options.sequences_max = 3;
  options.memory_bytes_max = (uint64_t)1 << 30;
  options.prefix_cache_bytes = (uint64_t)64 << 20;
  return lapidary_model_open(path, &options, model);
}
