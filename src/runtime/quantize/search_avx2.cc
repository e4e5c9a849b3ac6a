#define LAPIDARY_VARIANT search_avx2
#define LAPIDARY_WIDTH 8
#include "quantize/block_search_inl.h"
