#define LAPIDARY_VARIANT neon
#include "kernels/lanes_neon_inl.h"
#include "kernels/some_lanes_inl.h"
#include "kernels/variant_inl.h"
