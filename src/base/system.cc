#include "base/system.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

namespace lapidary {
namespace {

// A line "Key:   1234 kB" of a /proc file, in bytes.
uint64_t proc_kilobytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  return 0;
}

std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // not there, or "max"
}

// What the control group (v2, with v1 as fallback) still allows; page cache it could drop counts as free.
std::optional<uint64_t> control_group_available() {
  std::string folder;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line))
    if (line.starts_with("0::")) folder = line.substr(3);
  std::optional<uint64_t> best;
  const auto consider = [&](uint64_t limit, uint64_t used, uint64_t droppable) {
    const uint64_t held = used > droppable ? used - droppable : 0;
    const uint64_t free = limit > held ? limit - held : 0;
    best = best ? std::min(*best, free) : free;
  };
  // Every ancestor's limit binds too.
  for (std::filesystem::path path = folder; !folder.empty(); path = path.parent_path()) {
    const std::string base = "/sys/fs/cgroup" + path.string();
    if (const auto limit = number_in(base + "/memory.max")) {
      std::ifstream stat(base + "/memory.stat");
      std::string key;
      uint64_t value = 0, file_bytes = 0;
      while (stat >> key >> value)
        if (key == "file") file_bytes = value;
      consider(*limit, number_in(base + "/memory.current").value_or(0), file_bytes);
    }
    if (path == path.parent_path()) break;
  }
  if (const auto limit = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"); limit && *limit < (1ULL << 60))
    consider(*limit, number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes").value_or(0), 0);
  return best;
}

}  // namespace

std::optional<uint64_t> parse_size(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(number >= 0)) return std::nullopt;
  double factor = 1;
  switch (std::toupper(static_cast<unsigned char>(*end))) {
    case 'K':
      factor = 1024.0, ++end;
      break;
    case 'M':
      factor = 1024.0 * 1024, ++end;
      break;
    case 'G':
      factor = 1024.0 * 1024 * 1024, ++end;
      break;
    case 'T':
      factor = 1024.0 * 1024 * 1024 * 1024, ++end;
      break;
    default:
      break;
  }
  if (std::toupper(static_cast<unsigned char>(*end)) == 'I') ++end;
  if (std::toupper(static_cast<unsigned char>(*end)) == 'B') ++end;
  if (*end != '\0' || number * factor > 1e18) return std::nullopt;
  return static_cast<uint64_t>(number * factor);
}

MemoryState memory_state() {
  MemoryState state;
  state.total_bytes = proc_kilobytes("/proc/meminfo", "MemTotal:");
  state.available_bytes = proc_kilobytes("/proc/meminfo", "MemAvailable:");
  state.limited_by = "memory";
  if (const auto group = control_group_available(); group && *group < state.available_bytes) {
    state.available_bytes = *group;
    state.limited_by = "control group";
  }
  if (const auto text = environment("LAPIDARY_MEMORY_LIMIT"))
    if (const auto limit = parse_size(*text)) {
      state.available_bytes = *limit;
      state.limited_by = "LAPIDARY_MEMORY_LIMIT";
    }
  return state;
}

uint64_t resident_bytes_now() { return proc_kilobytes("/proc/self/status", "VmRSS:"); }
uint64_t resident_bytes_peak() { return proc_kilobytes("/proc/self/status", "VmHWM:"); }

int logical_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN));
}

int physical_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return logical_cores();
  std::set<std::string> cores;  // hyper-threads of one core list the same siblings
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!(file >> siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  int count = std::max(1, static_cast<int>(cores.size()));
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");  // "200000 100000": two cores' worth of time
  double quota = 0, period = 0;
  if (quota_file >> quota >> period && quota > 0 && period > 0)
    count = std::clamp(static_cast<int>(std::lround(quota / period)), 1, count);
  return count;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with("model name"))
      if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  return "unknown CPU";
}

CpuFeatures cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__)
  // __builtin_cpu_supports also checks that the operating system saves the wide registers.
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  features.avx512_bf16 = features.avx512 && __builtin_cpu_supports("avx512bf16");
  // Compilers learnt the names "f16c" and "avxvnni" late: ask the CPU (leaf 1 ECX bit 29; leaf 7.1 EAX bit 4).
  uint32_t a = 1, b = 0, c = 0, d = 0;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  features.avx2 = features.avx2 && (c >> 29 & 1) != 0;
  a = 0, c = 0;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (a >= 7) {
    a = 7, c = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (a >= 1) {
      a = 7, c = 1;
      asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
      features.avx_vnni = features.avx2 && (a >> 4 & 1) != 0;
    }
  }
#elif defined(__aarch64__) && defined(__linux__)
  features.byte_dot_products = (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  features.byte_matrix_products = (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#endif
  return features;
}

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here sets variables
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::string program_folder() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : path.parent_path().string();
}

std::string library_folder() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<const void*>(&library_folder), &info) == 0 || info.dli_fname == nullptr) return "";
  std::error_code error;
  const auto file = std::filesystem::canonical(info.dli_fname, error);
  // Of a program it is the word that it was called by.
  return error || file.filename().string().find(".so") == std::string::npos ? "" : file.parent_path().string();
}

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double process_cpu_seconds() {
  struct rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

bool pin_thread(int index) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (index < 0 || ::sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) == 0) return false;
  int left = index % CPU_COUNT(&allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || left-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return ::sched_setaffinity(0, sizeof(one), &one) == 0;
  }
  return false;
}

}  // namespace lapidary
