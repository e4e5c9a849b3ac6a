// avxvnni.cc for CPUs that have its one special instruction only in its AVX-512 form: the rest of it is tested there
// too.
#define LAPIDARY_VARIANT avxvnni_by_avx512
#define LAPIDARY_BYTE_DOT _mm256_dpbusd_epi32
namespace lapidary {
struct Kernels;
namespace LAPIDARY_VARIANT {
extern const Kernels kernels;
}
}  // namespace lapidary
#include "kernels/avxvnni.cc"
