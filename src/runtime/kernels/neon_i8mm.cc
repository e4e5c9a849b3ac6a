#define LAPIDARY_VARIANT neon_i8mm
#define LAPIDARY_VARIANT_NAME "neon-i8mm"
#define LAPIDARY_MATRIX_PRODUCTS
#include "kernels/lanes_neon_inl.h"
#include "kernels/some_lanes_inl.h"
#include "kernels/variant_inl.h"
