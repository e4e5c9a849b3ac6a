#include "bench/machine_loops.h"

#include <cstring>

#include "base/system.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lapidary {
namespace {

// Tells the compiler that `value` is used.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "m"(value) : "memory");
}

void read_words(const std::byte* data, uint64_t bytes) {
  uint64_t sums[8] = {};
  for (uint64_t i = 0; i < bytes; i += sizeof(sums)) {
    uint64_t words[8];
    std::memcpy(words, data + i, sizeof(words));
    for (int k = 0; k < 8; ++k) sums[k] ^= words[k];
  }
  keep(sums);
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) __m256i load_256(const std::byte* data) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(data));
}

__attribute__((target("avx2"))) void read_one_stream_256(const std::byte* data, uint64_t bytes) {
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (uint64_t i = 0; i < bytes; i += 128) {
    a = _mm256_xor_si256(a, load_256(data + i));
    b = _mm256_xor_si256(b, load_256(data + i + 32));
    c = _mm256_xor_si256(c, load_256(data + i + 64));
    d = _mm256_xor_si256(d, load_256(data + i + 96));
  }
  keep(_mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d)));
}

__attribute__((target("avx2"))) void read_four_streams_256(const std::byte* data, uint64_t bytes) {
  const uint64_t quarter = bytes / 4;
  __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (uint64_t i = 0; i < quarter; i += 64)
    for (uint64_t k = 0; k < 4; ++k) {
      sums[k] = _mm256_xor_si256(sums[k], load_256(data + k * quarter + i));
      sums[k] = _mm256_xor_si256(sums[k], load_256(data + k * quarter + i + 32));
    }
  keep(_mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3])));
}

__attribute__((target("avx512f"))) void read_one_stream_512(const std::byte* data, uint64_t bytes) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  for (uint64_t i = 0; i < bytes; i += 256) {
    a = _mm512_xor_si512(a, _mm512_load_si512(data + i));
    b = _mm512_xor_si512(b, _mm512_load_si512(data + i + 64));
    c = _mm512_xor_si512(c, _mm512_load_si512(data + i + 128));
    d = _mm512_xor_si512(d, _mm512_load_si512(data + i + 192));
  }
  keep(_mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
}

// Twelve sums at once hide the latency of each instruction. Assembly, so that the compiler leaves the loop as it is.
constexpr int sums_at_once = 12;
#define LAPIDARY_TWELVE_TIMES(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11)

#define LAPIDARY_KEEP(i) asm volatile("" : : "x"(sum##i));  // in its register: one place in memory would hold it there

// AVX2 without VNNI: bytes to words, words to sums, added; 32 multiply-adds.
#define LAPIDARY_STEP_AVX2(i)                                             \
  {                                                                       \
    __m256i product;                                                      \
    asm volatile("vpmaddubsw %2,%1,%0" : "=x"(product) : "x"(x), "x"(y)); \
    asm volatile("vpmaddwd %1,%0,%0" : "+x"(product) : "x"(one));         \
    asm volatile("vpaddd %1,%0,%0" : "+x"(sum##i) : "x"(product));        \
  }
// VNNI: one instruction, in the encoding that the CPU has.
#define LAPIDARY_STEP_VEX(i) asm volatile("%{vex%} vpdpbusd %2,%1,%0" : "+x"(sum##i) : "x"(x), "x"(y));
#define LAPIDARY_STEP_EVEX(i) asm volatile("vpdpbusd %2,%1,%0" : "+v"(sum##i) : "v"(x), "v"(y));

#define LAPIDARY_MULTIPLY_LOOP(step, zero)                                                                     \
  auto sum0 = zero, sum1 = sum0, sum2 = sum0, sum3 = sum0, sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0, \
       sum8 = sum0, sum9 = sum0, sum10 = sum0, sum11 = sum0;                                                   \
  for (int64_t round = 0; round < rounds; ++round) {                                                           \
    LAPIDARY_TWELVE_TIMES(step)                                                                                \
  }                                                                                                            \
  LAPIDARY_TWELVE_TIMES(LAPIDARY_KEEP)

__attribute__((target("avx2"))) void multiply_avx2(int64_t rounds) {
  const __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);
  LAPIDARY_MULTIPLY_LOOP(LAPIDARY_STEP_AVX2, _mm256_setzero_si256())
}

__attribute__((target("avx2"))) void multiply_vnni_256(int64_t rounds) {
  const __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(1);
  LAPIDARY_MULTIPLY_LOOP(LAPIDARY_STEP_VEX, _mm256_setzero_si256())
}

__attribute__((target("avx512f,avx512vnni"))) void multiply_vnni_512(int64_t rounds) {
  const __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(1);
  LAPIDARY_MULTIPLY_LOOP(LAPIDARY_STEP_EVEX, _mm512_setzero_si512())
}

#endif

}  // namespace

std::vector<ReadLoop> read_loops() {
  std::vector<ReadLoop> loops;
#if defined(__x86_64__)
  const CpuFeatures cpu = cpu_features();
  if (cpu.avx512) loops.push_back(read_one_stream_512);
  if (cpu.avx2) {
    loops.push_back(read_one_stream_256);
    loops.push_back(read_four_streams_256);
  }
#endif
  if (loops.empty()) loops.push_back(read_words);
  return loops;
}

std::optional<Int8Loop> int8_loop([[maybe_unused]] std::string_view variant) {
#if defined(__x86_64__)
  constexpr double operations_256 = sums_at_once * 32 * 2, operations_512 = sums_at_once * 64 * 2;
  const CpuFeatures cpu = cpu_features();
  if (variant == "avx2" && cpu.avx2) return Int8Loop{multiply_avx2, operations_256};
  if (variant == "avxvnni" && cpu.avx_vnni) return Int8Loop{multiply_vnni_256, operations_256};
  if (variant == "avx512vnni" && cpu.avx512_vnni) return Int8Loop{multiply_vnni_512, operations_512};
#endif
  return std::nullopt;
}

}  // namespace lapidary
