#define LAPIDARY_VARIANT avx512vnni
#include "kernels/lanes_avx512_inl.h"
#include "kernels/variant_inl.h"
