#define LAPIDARY_VARIANT search_avx512
#define LAPIDARY_WIDTH 16
#include "quantize/block_search_inl.h"
