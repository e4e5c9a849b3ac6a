#define LAPIDARY_VARIANT avx2
#include "kernels/lanes_avx2_inl.h"
#include "kernels/some_lanes_inl.h"
#include "kernels/variant_inl.h"
