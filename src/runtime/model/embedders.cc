#include "model/embedders.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/dequantize.h"

namespace lapidary {
namespace {

constexpr float layer_norm_eps = 1e-5F;  // of the patch embedder's three LayerNorms
constexpr int64_t panel_rows = 16;

// y = W x for all rows, split over the weight's rows.
void multiply(const TensorView& weights, const std::vector<float>& x, int32_t rows, std::vector<float>& y,
              const Kernels& kernels, ThreadPool& pool) {
  const ActivationRows activations{rows, weights.columns, x.data()};
  y.resize(static_cast<size_t>(rows) * static_cast<size_t>(weights.rows));
  pool.run((weights.rows + panel_rows - 1) / panel_rows, 1, [&](int64_t begin, int64_t end) {
    kernels.matmul(weights, begin * panel_rows, std::min(end * panel_rows, weights.rows), activations, y.data(),
                   weights.rows);
  });
}

// A patch as floats in [0, 1], in the order of the weight's columns: [row, column, channel], or channels first.
void unpack_patch(const uint8_t* patch, int64_t side, bool channels_first, float* out) {
  constexpr float unit = 1.0F / 255.0F;
  const int64_t pixels = side * side;
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t c = 0; c < 3; ++c)
      out[channels_first ? c * pixels + i : i * 3 + c] = static_cast<float>(patch[i * 3 + c]) * unit;
}

}  // namespace

Result<std::vector<float>> embed_image(const ImagePatches& patches, const ModelConfig& config,
                                       const VisionWeights& weights, const Kernels& kernels, ThreadPool& pool) {
  const VisionConfig& vision = *config.vision;
  const int64_t side = patches.patch, patch = side * side * 3, embed = vision.embed_dim;
  const int32_t count = patches.grid.columns * patches.grid.rows;
  if (side != vision.patch_pixels)
    return fail(ErrorKind::wrong_use, "image",
                fmt::format("patches of {} pixels for a model of {}", side, vision.patch_pixels));
  if (patches.grid.columns > vision.positions_max || patches.grid.rows > vision.positions_max)
    return fail(ErrorKind::limit, "image",
                fmt::format("{} x {} patches, but the model knows positions up to {}; take fewer image tokens",
                            patches.grid.columns, patches.grid.rows, vision.positions_max));

  std::vector<float> x(static_cast<size_t>(count) * static_cast<size_t>(patch)), y, z;
  pool.run(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = x.data() + i * patch;
      unpack_patch(patches.values.data() + i * patch, side, weights.channels_first, row);
      kernels.layer_norm(row, weights.patch_norm_weight.data(), weights.patch_norm_bias.data(), patch, layer_norm_eps,
                         row);
    }
  });
  multiply(weights.patch_projection, x, count, y, kernels, pool);
  pool.run(count, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> place(static_cast<size_t>(embed));
    for (int64_t i = begin; i < end; ++i) {
      float* row = y.data() + i * embed;
      kernels.add(row, weights.patch_projection_bias.data(), embed);
      kernels.layer_norm(row, weights.embed_norm_weight.data(), weights.embed_norm_bias.data(), embed, layer_norm_eps,
                         row);
      // Both positions are summed before they meet the patch, as in the reference.
      std::vector<float> place_y(static_cast<size_t>(embed));
      dequantize_row(weights.position_x, i % patches.grid.columns, place.data());
      dequantize_row(weights.position_y, i / patches.grid.columns, place_y.data());
      kernels.add(place.data(), place_y.data(), embed);
      kernels.add(row, place.data(), embed);
      kernels.layer_norm(row, weights.position_norm_weight.data(), weights.position_norm_bias.data(), embed,
                         layer_norm_eps, row);
      kernels.rms_norm(row, nullptr, embed, vision.norm_eps, row);
    }
  });
  multiply(weights.output_projection, y, count, z, kernels, pool);
  return z;
}

Result<std::vector<float>> embed_sound(const Sound& sound, const ModelConfig& config, const AudioWeights& weights,
                                       const Kernels& kernels, ThreadPool& pool) {
  const AudioConfig& audio = *config.audio;
  const int64_t frame = audio.frame_samples;
  std::vector<float> frames = make_frames(sound, audio.frame_samples), out;
  const auto count = static_cast<int32_t>(static_cast<int64_t>(frames.size()) / frame);
  for (int32_t i = 0; i < count; ++i) {
    float* row = frames.data() + i * frame;
    kernels.rms_norm(row, nullptr, frame, audio.norm_eps, row);
  }
  multiply(weights.output_projection, frames, count, out, kernels, pool);
  return out;
}

}  // namespace lapidary
