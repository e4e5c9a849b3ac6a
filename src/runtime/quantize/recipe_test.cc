#include "quantize/recipe.h"

#include <doctest/doctest.h>

namespace lapidary {
namespace {

ModelConfig layers(int count) {
  ModelConfig config;
  config.layers.resize(static_cast<size_t>(count));
  for (int i = 5; i < count; i += 6) config.layers[static_cast<size_t>(i)].value_from_key = true;
  return config;
}

DType chosen(const char* name, QuantizedType type, int64_t columns = 3840, bool lattice = false) {
  return type_of({name, columns, lattice}, type, layers(48));
}

}  // namespace

TEST_CASE("names of types") {
  for (const char* name : {"f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"}) {
    REQUIRE(quantized_type(name));
    CHECK(name_of(*quantized_type(name)) == name);
  }
  CHECK(!quantized_type("Q4_0"));
  CHECK(!quantized_type("iq4_xs"));
  CHECK(gguf_file_type(QuantizedType::q4_k_m) == 15);
}

TEST_CASE("a mix gives values, and some down projections, two bits more") {
  CHECK(chosen("blk.10.attn_q.weight", QuantizedType::q4_k_m) == DType::q4_k);
  CHECK(chosen("blk.0.attn_v.weight", QuantizedType::q4_k_m) == DType::q6_k);
  CHECK(chosen("blk.7.attn_v.weight", QuantizedType::q5_k_m) == DType::q6_k);
  CHECK(chosen("blk.7.attn_v.weight", QuantizedType::q4_0) == DType::q4_0);
  CHECK(chosen("blk.8.ffn_down.weight", QuantizedType::q4_k_m) == DType::q6_k);
  CHECK(chosen("blk.47.ffn_down.weight", QuantizedType::q5_k_m) == DType::q6_k);
  CHECK(chosen("blk.10.ffn_down.weight", QuantizedType::q5_k_m) == DType::q5_k);
  // Layer 11 has one projection for K and V.
  CHECK(chosen("blk.11.attn_k.weight", QuantizedType::q4_k_m) == DType::q6_k);
  CHECK(chosen("blk.10.attn_k.weight", QuantizedType::q4_k_m) == DType::q4_k);
  CHECK(chosen("blk.11.attn_k.weight", QuantizedType::q4_0) == DType::q4_0);
}

TEST_CASE("the embedding is Q6_K at least, but where it is a lattice") {
  CHECK(chosen("token_embd.weight", QuantizedType::q4_0) == DType::q6_k);
  CHECK(chosen("token_embd.weight", QuantizedType::q4_0, 3840, true) == DType::q4_0);
  CHECK(chosen("token_embd.weight", QuantizedType::q4_k_m, 3840, true) == DType::q6_k);
  CHECK(chosen("token_embd.weight", QuantizedType::q8_0) == DType::q8_0);
  CHECK(chosen("token_embd.weight", QuantizedType::bf16) == DType::bf16);
  CHECK(chosen("output.weight", QuantizedType::q5_k_m) == DType::q6_k);
}

TEST_CASE("rows that are no whole blocks get the next type up") {
  CHECK(chosen("blk.1.attn_q.weight", QuantizedType::q4_k_m, 640) == DType::q5_0);
  CHECK(chosen("blk.1.attn_q.weight", QuantizedType::q5_k_m, 640) == DType::q5_1);
  CHECK(chosen("token_embd.weight", QuantizedType::q4_0, 640) == DType::q8_0);
  CHECK(chosen("blk.1.attn_q.weight", QuantizedType::q4_0, 100) == DType::f16);
}

TEST_CASE("which tensors are quantised") {
  for (const char* name : {"token_embd.weight", "output.weight", "blk.3.attn_output.weight", "blk.47.ffn_down.weight"})
    CHECK(is_quantizable(name));
  for (const char* name :
       {"output_norm.weight", "rope_freqs.weight", "blk.3.attn_norm.weight", "blk.3.layer_output_scale.weight",
        "blk.attn_q.weight", "blk.3attn_q.weight", "v.patch_embd.weight", "blk.3.attn_q.bias"})
    CHECK(!is_quantizable(name));
}

}  // namespace lapidary
