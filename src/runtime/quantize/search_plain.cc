#define LAPIDARY_VARIANT search_plain
#define LAPIDARY_WIDTH 4
#include "quantize/block_search_inl.h"
