#include "c_library/failing_memory_for_test.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace lapidary_test {
thread_local int64_t allocations_left = -1;
thread_local bool allocation_failed = false;
}  // namespace lapidary_test

void* operator new(size_t bytes) {
  using lapidary_test::allocations_left;
  if (allocations_left == 0) {
    lapidary_test::allocation_failed = true;
    allocations_left = -1;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
