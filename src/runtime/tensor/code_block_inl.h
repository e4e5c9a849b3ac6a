// One unpacker per quantised type: the layout of its block, as offsets into it, and what the bits mean.
// Included by code_block.cc and dequantize.cc only.
#pragma once

#include <cstring>

#include "tensor/code_block.h"
#include "tensor/dequantize.h"

namespace lapidary::blocks {

inline const uint8_t* block_at(const std::byte* row, int64_t index, int64_t block_bytes) {
  return reinterpret_cast<const uint8_t*>(row) + index * block_bytes;
}

inline float half_at(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, sizeof(half));
  return half_to_float(half);
}

inline void no_sub_scales(CodeBlock* out) { out->sub_scales[0] = out->sub_scales[1] = 1; }

// 16 bytes: the low halves are weights 0 to 15, the high halves 16 to 31.
inline void unpack_nibbles_of_16(const uint8_t* bytes, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) codes[i] = bytes[i] & 15;
  for (int i = 0; i < 16; ++i) codes[16 + i] = bytes[i] >> 4;
}

// Bit i of a little-endian word of 32 is bit 4 of code i.
inline void add_fifth_bits(const uint8_t* bytes, uint8_t* codes) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | (bits >> i & 1) << 4);
}

struct Q4_0 {
  static constexpr CodeTraits traits = {8, false, false};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index, 18);
    out->scale = half_at(block);
    out->minimum = 0;
    no_sub_scales(out);
    unpack_nibbles_of_16(block + 2, out->codes);
  }
};

struct Q4_1 {
  static constexpr CodeTraits traits = {0, false, true};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index, 20);
    out->scale = half_at(block);
    out->minimum = -half_at(block + 2);
    no_sub_scales(out);
    unpack_nibbles_of_16(block + 4, out->codes);
  }
};

struct Q5_0 {
  static constexpr CodeTraits traits = {16, false, false};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index, 22);
    out->scale = half_at(block);
    out->minimum = 0;
    no_sub_scales(out);
    unpack_nibbles_of_16(block + 6, out->codes);
    add_fifth_bits(block + 2, out->codes);
  }
};

struct Q5_1 {
  static constexpr CodeTraits traits = {0, false, true};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index, 24);
    out->scale = half_at(block);
    out->minimum = -half_at(block + 2);
    no_sub_scales(out);
    unpack_nibbles_of_16(block + 8, out->codes);
    add_fifth_bits(block + 4, out->codes);
  }
};

struct Q8_0 {
  static constexpr CodeTraits traits = {128, false, false};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index, 34);
    out->scale = half_at(block);
    out->minimum = 0;
    no_sub_scales(out);
    for (int i = 0; i < 32; ++i) out->codes[i] = block[2 + i] ^ 0x80;  // a signed byte plus 128
  }
};

// The K types: super-blocks of 256, eight of our blocks each.

// 12 bytes hold eight scales and eight minimums of 6 bits: 0-3 in the low bits of bytes 0-3 and 4-7; 4-7 have their low
// 4 bits in bytes 8-11 (scales in the low halves, minimums in the high ones), their high 2 bits above those of 0-3.
inline void scale_and_minimum(const uint8_t* bytes, int part, int* scale, int* minimum) {
  if (part < 4) {
    *scale = bytes[part] & 63;
    *minimum = bytes[part + 4] & 63;
  } else {
    *scale = (bytes[part + 4] & 15) | (bytes[part - 4] >> 6) << 4;
    *minimum = (bytes[part + 4] >> 4) | (bytes[part] >> 6) << 4;
  }
}

// Each 32 bytes hold two of our blocks: the low halves, then the high ones.
inline void unpack_nibbles_of_32(const uint8_t* bytes, int part, uint8_t* codes) {
  const uint8_t* pair = bytes + part / 2 * 32;
  const int shift = part % 2 * 4;
  for (int i = 0; i < 32; ++i) codes[i] = pair[i] >> shift & 15;
}

inline void unpack_scale_and_minimum(const uint8_t* block, int part, CodeBlock* out) {
  int scale, minimum;
  scale_and_minimum(block + 4, part, &scale, &minimum);
  out->scale = half_at(block) * static_cast<float>(scale);
  out->minimum = half_at(block + 2) * static_cast<float>(minimum);
  no_sub_scales(out);
}

struct Q4_K {
  static constexpr CodeTraits traits = {0, false, true};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index / 8, 144);
    const int part = static_cast<int>(index % 8);
    unpack_scale_and_minimum(block, part, out);
    unpack_nibbles_of_32(block + 16, part, out->codes);
  }
};

struct Q5_K {
  static constexpr CodeTraits traits = {0, false, true};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index / 8, 176);
    const int part = static_cast<int>(index % 8);
    unpack_scale_and_minimum(block, part, out);
    unpack_nibbles_of_32(block + 48, part, out->codes);
    const uint8_t* high = block + 16;  // bit `part` of byte i
    for (int i = 0; i < 32; ++i) out->codes[i] = static_cast<uint8_t>(out->codes[i] | (high[i] >> part & 1) << 4);
  }
};

struct Q6_K {
  static constexpr CodeTraits traits = {32, true, false};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index / 8, 210);
    const int part = static_cast<int>(index % 8);
    const int within = part % 4;  // of the half of 128 weights
    const uint8_t* low = block + part / 4 * 64 + within % 2 * 32;
    const uint8_t* high = block + 128 + part / 4 * 32;
    const int low_shift = within / 2 * 4;
    const int high_shift = within * 2;
    for (int i = 0; i < 32; ++i)
      out->codes[i] = static_cast<uint8_t>((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4);
    for (int group = 0; group < 2; ++group) out->sub_scales[group] = static_cast<int8_t>(block[192 + 2 * part + group]);
    out->scale = half_at(block + 208);
    out->minimum = 0;
  }
};

struct Q3_K {
  static constexpr CodeTraits traits = {4, true, false};
  // 16 scales of 6 bits: low 4 bits in bytes 0-7 (halves: 0-7 low, 8-15 high), high 2 bits in bytes 8-11.
  static int sub_scale(const uint8_t* bytes, int group) {
    const int low = bytes[group % 8] >> (group / 8 * 4) & 15;
    const int high = bytes[8 + group % 4] >> (group / 4 * 2) & 3;
    return (low | high << 4) - 32;
  }
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index / 8, 110);
    const int part = static_cast<int>(index % 8);
    const uint8_t* low = block + 32 + part / 4 * 32;
    const int shift = part % 4 * 2;
    for (int i = 0; i < 32; ++i)  // a high bit that is set means 4 more, that is, an offset of none
      out->codes[i] = static_cast<uint8_t>((low[i] >> shift & 3) | (block[i] >> part & 1) << 2);
    for (int group = 0; group < 2; ++group) out->sub_scales[group] = sub_scale(block + 96, 2 * part + group);
    out->scale = half_at(block + 108);
    out->minimum = 0;
  }
};

struct IQ4_NL {
  static constexpr CodeTraits traits = {128, false, false};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index, 18);
    out->scale = half_at(block);
    out->minimum = 0;
    no_sub_scales(out);
    unpack_nibbles_of_16(block + 2, out->codes);
    for (uint8_t& code : out->codes) code = static_cast<uint8_t>(iq4_values[code] + 128);
  }
};

struct IQ4_XS {
  static constexpr CodeTraits traits = {128, false, false};
  static void unpack(const std::byte* row, int64_t index, CodeBlock* out) {
    const uint8_t* block = block_at(row, index / 8, 136);
    const int part = static_cast<int>(index % 8);
    const int low = block[4 + part / 2] >> (part % 2 * 4) & 15;
    const int high = (block[2] | block[3] << 8) >> (2 * part) & 3;
    out->scale = half_at(block) * static_cast<float>((low | high << 4) - 32);
    out->minimum = 0;
    no_sub_scales(out);
    unpack_nibbles_of_16(block + 8 + part * 16, out->codes);
    for (uint8_t& code : out->codes) code = static_cast<uint8_t>(iq4_values[code] + 128);
  }
};

// Calls visit.template operator()<Blocks>() with the unpacker of a quantised type; false for the others.
template <typename Visit>
bool visit_quantized(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return false;
    case DType::q8_0:
      visit.template operator()<Q8_0>();
      return true;
    case DType::q4_0:
      visit.template operator()<Q4_0>();
      return true;
    case DType::q4_1:
      visit.template operator()<Q4_1>();
      return true;
    case DType::q5_0:
      visit.template operator()<Q5_0>();
      return true;
    case DType::q5_1:
      visit.template operator()<Q5_1>();
      return true;
    case DType::q3_k:
      visit.template operator()<Q3_K>();
      return true;
    case DType::q4_k:
      visit.template operator()<Q4_K>();
      return true;
    case DType::q5_k:
      visit.template operator()<Q5_K>();
      return true;
    case DType::q6_k:
      visit.template operator()<Q6_K>();
      return true;
    case DType::iq4_nl:
      visit.template operator()<IQ4_NL>();
      return true;
    case DType::iq4_xs:
      visit.template operator()<IQ4_XS>();
      return true;
  }
  return false;
}

}  // namespace lapidary::blocks
