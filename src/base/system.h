// What the machine has. With mapped_file and thread_pool these are the only doors to the operating system.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lapidary {

struct MemoryState {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;  // the smaller of MemAvailable and what the control group still allows
  std::string limited_by;        // "memory", "control group" or "LAPIDARY_MEMORY_LIMIT", for messages
};

// LAPIDARY_MEMORY_LIMIT (bytes, or with K, M, G suffix, powers of 1024) stands in for what is available.
MemoryState memory_state();

// Parses "8G", "512M", "123"; nothing if it is not such a size.
std::optional<uint64_t> parse_size(const std::string& text);

uint64_t resident_bytes_now();   // of this process
uint64_t resident_bytes_peak();  // of this process

// Physical cores this process may use (its affinity and control group respected), without hyper-threads.
int physical_cores();
int logical_cores();
std::string cpu_name();

// Instruction-set extensions that matter to the kernels, as the CPU and the operating system offer them.
struct CpuFeatures {
  bool avx2 = false;  // with FMA and F16C
  bool avx_vnni = false;
  bool avx512 = false;  // F, BW, DQ, VL, VBMI-less
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool byte_dot_products = false;     // Arm: dotprod
  bool byte_matrix_products = false;  // Arm: i8mm
};
CpuFeatures cpu_features();

std::optional<std::string> environment(const char* name);

// The folder that holds the running program (resolved links), or "" if that cannot be told.
std::string program_folder();

// The folder that holds the shared library that this code is part of, or "" if it is part of a program.
std::string library_folder();

double monotonic_seconds();
double process_cpu_seconds();  // of all threads, user and system

// Binds the calling thread to the index-th of the processors that it may use (counted round). False: it stays free.
bool pin_thread(int index);

}  // namespace lapidary
