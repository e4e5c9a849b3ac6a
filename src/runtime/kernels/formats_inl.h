// How a panel of rows of each quantised type is unpacked: tensor/code_block_inl.h says what the bits mean, this does it
// for all rows of a panel at once. In every vector, lane r belongs to row r.
//
// A format has a Header, which holds for header_blocks blocks of 32 weights (GGML's own block), and in it Groups of
// group_blocks blocks whose bytes are read together. `index` is a block's place in the header, `part` in its group.
// codes<part>() gives 8 vectors: in vector j the codes of weights 4j to 4j + 3, one a byte.
#pragma once

namespace lapidary::LAPIDARY_VARIANT {
namespace {

LAPIDARY_INLINE Ints nibbles(Ints bytes, int shift) { return bits_and(shift_right(bytes, shift), every(0x0f0f0f0f)); }
LAPIDARY_INLINE Floats byte_as_float(Ints dwords, int byte) {
  return to_floats(bits_and(shift_right(dwords, 8 * byte), every(0xff)));
}
LAPIDARY_INLINE Floats signed_byte_as_float(Ints dwords, int byte) {
  return to_floats(shift_right_signed(shift_left(dwords, 24 - 8 * byte), 24));
}
// 16 bytes in 4 vectors: the low halves are weights 0 to 15, the high halves 16 to 31.
LAPIDARY_INLINE void nibbles_of_16(const Ints* bytes, Ints* codes) {
  for (int j = 0; j < 4; ++j) codes[j] = nibbles(bytes[j], 0);
  for (int j = 0; j < 4; ++j) codes[4 + j] = nibbles(bytes[j], 4);
}
// Bit i of each row's dword becomes bit 4 of code i: the product puts bits 0 to 3 at 4, 12, 20 and 28.
LAPIDARY_INLINE void add_fifth_bits(Ints bits, Ints* codes) {
  for (int j = 0; j < 8; ++j) {
    const Ints spread = multiply(bits_and(shift_right(bits, 4 * j), every(15)), every(0x02040810));
    codes[j] = bits_or(codes[j], bits_and(spread, every(0x10101010)));
  }
}
LAPIDARY_INLINE void look_up_iq4(Ints* codes) {
  for (int j = 0; j < 8; ++j) codes[j] = look_up(iq4_values, wants_signed_bytes ? 0 : 0x80, codes[j]);
}

struct Plain {
  static constexpr bool has_minimum = false, has_sub_scales = false;
  static constexpr int header_blocks = 1, group_blocks = 1;
};

struct Q4_0 : Plain {
  static constexpr int bits = 4, offset = 8, block_bytes = 18;
  struct Header {
    Floats scale;
  };
  struct Group {
    Ints bytes[4];
  };
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    header->scale = low_halves(load_dwords(rows, 0));
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int, Group* group) {
    load_transposed(rows, 2, group->bytes);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    nibbles_of_16(group.bytes, out);
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
};

struct IQ4_NL : Q4_0 {
  static constexpr int bits = 8, offset = 128;
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    nibbles_of_16(group.bytes, out);
    look_up_iq4(out);
  }
};

struct Q4_1 : Q4_0 {
  static constexpr int offset = 0, block_bytes = 20;
  static constexpr bool has_minimum = true;
  struct Header {
    Floats scale, minimum;
  };
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    const Ints both = load_dwords(rows, 0);
    header->scale = low_halves(both);
    header->minimum = times(high_halves(both), every_float(-1.0f));
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int, Group* group) {
    load_transposed(rows, 4, group->bytes);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    nibbles_of_16(group.bytes, out);
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
  LAPIDARY_INLINE static Floats minimum(const Header& header, int) { return header.minimum; }
};

struct Q5_0 : Plain {
  static constexpr int bits = 5, offset = 16, block_bytes = 22;
  struct Header {
    Floats scale;
    Ints fifth_bits;
  };
  using Group = Q4_0::Group;
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    header->scale = low_halves(load_dwords(rows, 0));
    header->fifth_bits = load_dwords(rows, 2);
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int, Group* group) {
    load_transposed(rows, 6, group->bytes);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header& header, const Group& group, int, Ints* out) {
    nibbles_of_16(group.bytes, out);
    add_fifth_bits(header.fifth_bits, out);
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
};

struct Q5_1 : Plain {
  static constexpr int bits = 5, offset = 0, block_bytes = 24;
  static constexpr bool has_minimum = true;
  struct Header {
    Floats scale, minimum;
    Ints fifth_bits;
  };
  using Group = Q4_0::Group;
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    const Ints both = load_dwords(rows, 0);
    header->scale = low_halves(both);
    header->minimum = times(high_halves(both), every_float(-1.0f));
    header->fifth_bits = load_dwords(rows, 4);
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int, Group* group) {
    load_transposed(rows, 8, group->bytes);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header& header, const Group& group, int, Ints* out) {
    nibbles_of_16(group.bytes, out);
    add_fifth_bits(header.fifth_bits, out);
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
  LAPIDARY_INLINE static Floats minimum(const Header& header, int) { return header.minimum; }
};

struct Q8_0 : Plain {
  static constexpr int bits = 8, offset = 128, block_bytes = 34;
  using Header = Q4_0::Header;
  struct Group {
    Ints bytes[8];
  };
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    header->scale = low_halves(load_dwords(rows, 0));
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int, Group* group) {
    load_transposed(rows, 2, group->bytes);
    load_transposed(rows, 18, group->bytes + 4);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    const Ints flip = every(static_cast<int32_t>(wants_signed_bytes ? 0 : 0x80808080));
    for (int j = 0; j < 8; ++j) out[j] = bits_xor(group.bytes[j], flip);
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
};

struct IQ4_XS : Plain {
  static constexpr int bits = 8, offset = 128, block_bytes = 136;
  static constexpr int header_blocks = 8;
  struct Header {
    Floats scale;
    Ints low_bits, high_bits;
  };
  using Group = Q4_0::Group;
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    const Ints both = load_dwords(rows, 0);
    header->scale = low_halves(both);
    header->high_bits = shift_right(both, 16);
    header->low_bits = load_dwords(rows, 4);
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int number, Group* group) {
    load_transposed(rows, 8 + 16 * number, group->bytes);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    nibbles_of_16(group.bytes, out);
    look_up_iq4(out);
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int index) {
    const Ints low = bits_and(shift_right(header.low_bits, 4 * index), every(15));
    const Ints high = bits_and(shift_right(header.high_bits, 2 * index), every(3));
    return times(header.scale, to_floats(subtract(bits_or(low, shift_left(high, 4)), every(32))));
  }
};

// What Q4_K and Q5_K share: 6-bit scales and minimums, and nibbles in pairs of blocks.
struct ScalesAndMinimums : Plain {
  static constexpr bool has_minimum = true;
  static constexpr int header_blocks = 8, group_blocks = 2, offset = 0;
  struct Header {
    Floats scale, minimum;
    Ints scales[2], minimums[2];  // blocks 0 to 3 and 4 to 7, one a byte
  };
  struct Group {
    Ints bytes[8];
  };
  LAPIDARY_INLINE static void read_scales(const Rows& rows, Header* header) {
    Ints dwords[4];
    load_transposed(rows, 0, dwords);
    header->scale = low_halves(dwords[0]);
    header->minimum = high_halves(dwords[0]);
    const auto high_bits = [](Ints a) { return bits_and(shift_right(a, 2), every(0x30303030)); };
    header->scales[0] = bits_and(dwords[1], every(0x3f3f3f3f));
    header->scales[1] = bits_or(nibbles(dwords[3], 0), high_bits(dwords[1]));
    header->minimums[0] = bits_and(dwords[2], every(0x3f3f3f3f));
    header->minimums[1] = bits_or(nibbles(dwords[3], 4), high_bits(dwords[2]));
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int index) {
    return times(header.scale, byte_as_float(header.scales[index / 4], index % 4));
  }
  LAPIDARY_INLINE static Floats minimum(const Header& header, int index) {
    return times(header.minimum, byte_as_float(header.minimums[index / 4], index % 4));
  }
};

struct Q4_K : ScalesAndMinimums {
  static constexpr int bits = 4, block_bytes = 144;
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) { read_scales(rows, header); }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int number, Group* group) {
    load_transposed(rows, 16 + 32 * number, group->bytes);
    load_transposed(rows, 32 + 32 * number, group->bytes + 4);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    for (int j = 0; j < 8; ++j) out[j] = nibbles(group.bytes[j], 4 * part);
  }
};

struct Q5_K : ScalesAndMinimums {
  static constexpr int bits = 5, block_bytes = 176;
  struct Header : ScalesAndMinimums::Header {
    Ints fifth_bits[8];  // bit `index` of byte i is that of weight i
  };
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    read_scales(rows, header);
    load_transposed(rows, 16, header->fifth_bits);
    load_transposed(rows, 32, header->fifth_bits + 4);
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int number, Group* group) {
    load_transposed(rows, 48 + 32 * number, group->bytes);
    load_transposed(rows, 64 + 32 * number, group->bytes + 4);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header& header, const Group& group, int index, Ints* out) {
    for (int j = 0; j < 8; ++j) {
      const Ints fifth = shift_left(bits_and(shift_right(header.fifth_bits[j], index), every(0x01010101)), 4);
      out[j] = bits_or(nibbles(group.bytes[j], 4 * part), fifth);
    }
  }
};

struct Q6_K : Plain {
  static constexpr int bits = 6, offset = 32, block_bytes = 210;
  static constexpr bool has_sub_scales = true;
  static constexpr int header_blocks = 8, group_blocks = 4;
  struct Header {
    Floats scale;
    Ints sub_scales[4];
  };
  struct Group {
    Ints low[16], high[8];
  };
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    load_transposed(rows, 192, header->sub_scales);
    header->scale = high_halves(load_dwords(rows, 206));
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int number, Group* group) {
    for (int i = 0; i < 4; ++i) load_transposed(rows, 64 * number + 16 * i, group->low + 4 * i);
    for (int i = 0; i < 2; ++i) load_transposed(rows, 128 + 32 * number + 16 * i, group->high + 4 * i);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header&, const Group& group, int, Ints* out) {
    for (int j = 0; j < 8; ++j) {
      const Ints high = part < 2 ? shift_left(group.high[j], 4 - 2 * part) : shift_right(group.high[j], 2 * part - 4);
      out[j] = bits_or(nibbles(group.low[part % 2 * 8 + j], part / 2 * 4), bits_and(high, every(0x30303030)));
    }
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
  LAPIDARY_INLINE static Floats sub_scale(const Header& header, int index, int half) {
    return signed_byte_as_float(header.sub_scales[index / 2], index % 2 * 2 + half);
  }
};

struct Q3_K : Plain {
  static constexpr int bits = 3, offset = 4, block_bytes = 110;
  static constexpr bool has_sub_scales = true;
  static constexpr int header_blocks = 8, group_blocks = 4;
  struct Header {
    Floats scale;
    Ints sub_scales[4];  // raised by 32
    Ints third_bits[8];  // bit `index` of byte i is that of weight i
  };
  struct Group {
    Ints bytes[8];
  };
  LAPIDARY_INLINE static void read_header(const Rows& rows, Header* header) {
    load_transposed(rows, 0, header->third_bits);
    load_transposed(rows, 16, header->third_bits + 4);
    Ints dwords[4];  // bytes 94 to 109: the scales start at 96, in the middle of a dword
    load_transposed(rows, 94, dwords);
    header->scale = high_halves(dwords[3]);
    Ints packed[3];
    for (int i = 0; i < 3; ++i) packed[i] = bits_or(shift_right(dwords[i], 16), shift_left(dwords[i + 1], 16));
    const auto high_bits = [&packed](int shift) { return bits_and(shift_right(packed[2], shift), every(0x03030303)); };
    for (int i = 0; i < 4; ++i)
      header->sub_scales[i] = bits_or(nibbles(packed[i % 2], i / 2 * 4), shift_left(high_bits(2 * i), 4));
  }
  LAPIDARY_INLINE static void read_group(const Rows& rows, int number, Group* group) {
    load_transposed(rows, 32 + 32 * number, group->bytes);
    load_transposed(rows, 48 + 32 * number, group->bytes + 4);
  }
  template <int part>
  LAPIDARY_INLINE static void codes(const Header& header, const Group& group, int index, Ints* out) {
    for (int j = 0; j < 8; ++j) {
      const Ints low = bits_and(shift_right(group.bytes[j], 2 * part), every(0x03030303));
      const Ints third = bits_and(shift_right(header.third_bits[j], index), every(0x01010101));
      out[j] = bits_or(low, shift_left(third, 2));
    }
  }
  LAPIDARY_INLINE static Floats scale(const Header& header, int) { return header.scale; }
  LAPIDARY_INLINE static Floats sub_scale(const Header& header, int index, int half) {
    const int group = 2 * index + half;
    const Ints byte = bits_and(shift_right(header.sub_scales[group / 4], 8 * (group % 4)), every(0xff));
    return to_floats(subtract(byte, every(32)));
  }
};

}  // namespace
}  // namespace lapidary::LAPIDARY_VARIANT
