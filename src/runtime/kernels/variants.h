// The tables of this build, one source file each. Only dispatch.cc and tests look at this: a table may need
// instructions that the CPU lacks.
#pragma once

#include "kernels/ops.h"

namespace lapidary {

namespace ref {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avxvnni {
extern const Kernels kernels;
}
namespace avx512vnni {
extern const Kernels kernels;
}
namespace neon {
extern const Kernels kernels;
}
namespace neon_i8mm {
extern const Kernels kernels;
}

}  // namespace lapidary
