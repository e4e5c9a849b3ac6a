// AVX2 with vpdpbusd. A test compiles this file also for CPUs that have that instruction only in its AVX-512 form.
#if !defined(LAPIDARY_VARIANT)
#define LAPIDARY_VARIANT avxvnni
#define LAPIDARY_BYTE_DOT _mm256_dpbusd_avx_epi32
#endif
#include "kernels/lanes_avx2_inl.h"
#include "kernels/some_lanes_inl.h"
#include "kernels/variant_inl.h"
