#include <string>

#include "base/system.h"
#include "kernels/ops.h"
#include "kernels/variants.h"

namespace lapidary {

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> tables;
  [[maybe_unused]] const CpuFeatures cpu = cpu_features();
#if defined(__x86_64__)
  if (cpu.avx512 && cpu.avx512_vnni) tables.push_back(&avx512vnni::kernels);
  if (cpu.avx2 && cpu.avx_vnni) tables.push_back(&avxvnni::kernels);
  if (cpu.avx2) tables.push_back(&avx2::kernels);
#elif defined(__aarch64__)
  if (cpu.byte_matrix_products && cpu.byte_dot_products) tables.push_back(&neon_i8mm::kernels);
  if (cpu.byte_dot_products) tables.push_back(&neon::kernels);
#endif
  tables.push_back(&ref::kernels);
  return tables;
}

Result<const Kernels*> select_kernels(const std::optional<std::string>& forced) {
  const std::vector<const Kernels*> tables = available_kernels();
  if (!forced.has_value()) return tables.front();
  std::string names;
  for (const Kernels* table : tables) {
    if (table->name == *forced) return table;
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  return fail(ErrorKind::wrong_use, "LAPIDARY_KERNELS",
              "no kernels \"" + *forced + "\" on this CPU; it can run: " + names);
}

}  // namespace lapidary
