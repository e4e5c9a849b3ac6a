#include "quantize/importance.h"

#include <fmt/format.h>

#include <algorithm>

namespace lapidary {
namespace {

constexpr int64_t piece_tokens = 512;
constexpr double least = 0.02;  // of the average

// A matrix of the model -> its name.
std::map<const TensorView*, std::string> names_of(const ModelWeights& weights) {
  std::map<const TensorView*, std::string> names;
  names[&weights.head] = weights.head.data == weights.embedding.data ? "token_embd.weight" : "output.weight";
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& layer = weights.layers[i];
    for (const auto& [matrix, name] :
         {std::pair{&layer.query, "attn_q"}, std::pair{&layer.key, "attn_k"}, std::pair{&layer.value, "attn_v"},
          std::pair{&layer.attention_output, "attn_output"}, std::pair{&layer.gate, "ffn_gate"},
          std::pair{&layer.up, "ffn_up"}, std::pair{&layer.down, "ffn_down"}})
      names[matrix] = fmt::format("blk.{}.{}.weight", i, name);
  }
  return names;
}

std::vector<float> weights_of(const std::vector<double>& squares) {
  double total = 0;
  for (const double square : squares) total += square;
  const double mean = total / static_cast<double>(squares.size());
  std::vector<float> weights;
  weights.reserve(squares.size());
  for (const double square : squares)
    weights.push_back(mean > 0 ? static_cast<float>((square / mean + least) / (1 + least)) : 1.0F);
  return weights;
}

}  // namespace

Result<Importance> measure_importance(Engine& engine, std::span<const int32_t> text, const Progress& progress) {
  const auto names = names_of(engine.model().weights());
  std::map<const TensorView*, std::vector<double>> squares;
  engine.decoder().observe_products([&](const TensorView& weights, const float* x, int32_t rows) {
    if (!names.contains(&weights)) return;
    std::vector<double>& sums = squares[&weights];
    sums.resize(static_cast<size_t>(weights.columns));
    for (int32_t row = 0; row < rows; ++row, x += weights.columns)
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  });
  const int32_t bos = engine.config().tokens.bos;
  const auto total = static_cast<int64_t>(text.size());
  Result<void> result;
  for (int64_t first = 0; first < total && result; first += piece_tokens) {
    const int64_t count = std::min(piece_tokens, total - first);
    TokenizedPrompt prompt;
    if (bos >= 0) prompt.ids.push_back(bos);
    prompt.ids.insert(prompt.ids.end(), text.begin() + first, text.begin() + first + count);
    Session session(engine, static_cast<int64_t>(prompt.ids.size()));
    result = session.evaluate(
        prompt, 0, [](int64_t, int64_t, const float*) -> Result<void> { return {}; }, nullptr,
        [&](int64_t done, int64_t) { return !progress || progress(std::min(first + done, total), total); });
  }
  engine.decoder().observe_products({});
  if (!result) return std::unexpected(result.error());
  Importance importance;
  for (const auto& [matrix, sums] : squares) importance[names.at(matrix)] = weights_of(sums);
  return importance;
}

}  // namespace lapidary
