// operator new of the test and, as it has none of its own, of the library: fails when it is told to.
#pragma once

#include <cstdint>

namespace lapidary_test {

// How many allocations of this thread go well before one fails; negative: all do.
extern thread_local int64_t allocations_left;
extern thread_local bool allocation_failed;

}  // namespace lapidary_test
