#include "model/weights.h"

#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <string>

#include "tensor/dequantize.h"

namespace lapidary {
namespace {

const std::string golden = "tests/golden/";
const std::string text = "model.language_model.";

struct Checkpoint {
  HuggingFaceFolder folder;
  ModelConfig config;

  explicit Checkpoint(const std::string& path) {
    auto opened = HuggingFaceFolder::open(path);
    REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().text()));
    folder = std::move(*opened);
    auto read = read_config(folder);
    REQUIRE_MESSAGE(read.has_value(), (read ? "" : read.error().text()));
    config = std::move(*read);
  }
  ModelWeights weights() const {
    auto bound = bind_weights(folder, config);
    REQUIRE_MESSAGE(bound.has_value(), (bound ? "" : bound.error().text()));
    return std::move(*bound);
  }
  std::string refusal() const {
    const auto bound = bind_weights(folder, config);
    REQUIRE(!bound.has_value());
    return bound.error().text();
  }
  StoredTensor& tensor(const std::string& name) {
    const auto found = folder.tensors.tensors.find(name);
    REQUIRE_MESSAGE(found != folder.tensors.tensors.end(), name);
    return found->second;
  }
  void rename(const std::string& from, const std::string& to) {
    auto node = folder.tensors.tensors.extract(from);
    REQUIRE_MESSAGE(!node.empty(), from);
    node.key() = to;
    folder.tensors.tensors.insert(std::move(node));
  }
};

bool mentions(const std::string& whole, std::string_view part) { return whole.find(part) != std::string::npos; }

std::vector<float> row(const TensorView& matrix, int64_t index) {
  std::vector<float> values(static_cast<size_t>(matrix.columns));
  dequantize_row(matrix.dtype, matrix.data + index * matrix.row_bytes, values.data(), matrix.columns);
  return values;
}

void check_same(const TensorView& a, const TensorView& b) {
  REQUIRE(a.rows == b.rows);
  REQUIRE(a.columns == b.columns);
  for (const int64_t index : {int64_t{0}, a.rows / 2, a.rows - 1}) CHECK(row(a, index) == row(b, index));
}

void check_same(const LayerWeights& a, const LayerWeights& b, bool value_from_key) {
  check_same(a.query, b.query);
  check_same(a.key, b.key);
  CHECK((a.value.data == nullptr) == value_from_key);
  CHECK((b.value.data == nullptr) == value_from_key);
  if (!value_from_key) check_same(a.value, b.value);
  check_same(a.attention_output, b.attention_output);
  check_same(a.gate, b.gate);
  check_same(a.up, b.up);
  check_same(a.down, b.down);
  CHECK(a.attention_norm == b.attention_norm);
  CHECK(a.post_attention_norm == b.post_attention_norm);
  CHECK(a.feed_forward_norm == b.feed_forward_norm);
  CHECK(a.post_feed_forward_norm == b.post_feed_forward_norm);
  CHECK(a.query_norm == b.query_norm);
  CHECK(a.key_norm == b.key_norm);
  CHECK(a.layer_scalar == b.layer_scalar);
}

}  // namespace

TEST_CASE("a checkpoint and its BF16 GGUF files give the same weights, embedders included") {
  const Checkpoint checkpoint(golden + "unified/model");
  const ModelWeights a = checkpoint.weights();
  const auto model = Gguf::open(golden + "unified/model/gguf/model-bf16.gguf");
  const auto projector = Gguf::open(golden + "unified/model/gguf/mmproj.gguf");
  const ModelConfig config = read_config(*model, &*projector).value();
  const auto bound = bind_weights(*model, &*projector, config);
  REQUIRE_MESSAGE(bound.has_value(), (bound ? "" : bound.error().text()));
  const ModelWeights& b = *bound;
  check_same(a.embedding, b.embedding);
  CHECK(a.head.data == a.embedding.data);
  CHECK(b.head.data == b.embedding.data);
  CHECK(a.output_norm == b.output_norm);
  REQUIRE(a.layers.size() == b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    check_same(a.layers[i], b.layers[i], config.layers[i].value_from_key);
    CHECK(a.layers[i].layer_scalar != 1.0F);
  }

  // The position table is [positions, 2, embed] in one and [2, positions, embed] in the other.
  check_same(a.vision->position_x, b.vision->position_x);
  check_same(a.vision->position_y, b.vision->position_y);
  CHECK(row(a.vision->position_x, 3) != row(a.vision->position_y, 3));
  check_same(a.vision->output_projection, b.vision->output_projection);
  check_same(a.audio->output_projection, b.audio->output_projection);
  CHECK(a.vision->embed_norm_weight == b.vision->embed_norm_weight);
  CHECK(a.vision->position_norm_bias == b.vision->position_norm_bias);
  CHECK(a.vision->patch_projection_bias == b.vision->patch_projection_bias);
  // Columns of patches are [row, column, channel] in one and [channel, row, column] in the other.
  CHECK(!a.vision->channels_first);
  CHECK(b.vision->channels_first);
  const std::vector<float> by_pixel = row(a.vision->patch_projection, 7), by_plane = row(b.vision->patch_projection, 7);
  const size_t pixels = by_pixel.size() / 3;
  for (const size_t pixel : {size_t{0}, size_t{1}, pixels - 1})
    for (size_t channel = 0; channel < 3; ++channel) {
      CHECK(by_pixel[pixel * 3 + channel] == by_plane[channel * pixels + pixel]);
      CHECK(a.vision->patch_norm_weight[pixel * 3 + channel] == b.vision->patch_norm_weight[channel * pixels + pixel]);
    }
}

TEST_CASE("Gemma 3: norms of a checkpoint are stored less one; its GGUF files hold what is multiplied with") {
  const Checkpoint checkpoint(golden + "gemma3/model");
  const ModelWeights a = checkpoint.weights();
  const auto model = Gguf::open(golden + "gemma3/model/gguf/model-q8_0.gguf");
  const ModelWeights b = bind_weights(*model, nullptr, read_config(*model, nullptr).value()).value();
  REQUIRE(a.output_norm.size() == b.output_norm.size());
  for (size_t i = 0; i < a.output_norm.size(); ++i) CHECK(a.output_norm[i] == doctest::Approx(b.output_norm[i]));
  for (size_t i = 0; i < a.layers[2].query_norm.size(); ++i)
    CHECK(a.layers[2].query_norm[i] == doctest::Approx(b.layers[2].query_norm[i]));
  CHECK(a.layers[2].layer_scalar == 1.0F);
  CHECK(b.layers[2].layer_scalar == 1.0F);
}

TEST_CASE("mixed types are bound as they are, each by its own blocks") {
  const auto model = Gguf::open(golden + "unified/model/gguf/model-kmix.gguf");
  const auto projector = Gguf::open(golden + "unified/model/gguf/mmproj.gguf");
  const ModelConfig config = read_config(*model, &*projector).value();
  const auto bound = bind_weights(*model, &*projector, config);
  REQUIRE_MESSAGE(bound.has_value(), (bound ? "" : bound.error().text()));
  std::set<DType> types;
  for (const LayerWeights& layer : bound->layers)
    for (const TensorView* matrix : {&layer.query, &layer.key, &layer.attention_output, &layer.up, &layer.down}) {
      types.insert(matrix->dtype);
      const DTypeInfo& info = dtype_info(matrix->dtype);
      CHECK(matrix->row_bytes == matrix->columns / info.block_values * info.block_bytes);
    }
  CHECK(types.contains(DType::q4_k));
  CHECK(types.contains(DType::q6_k));
  CHECK(types.size() >= 3);
}

TEST_CASE("a missing tensor or a wrong shape is named with what was expected and what was found") {
  Checkpoint checkpoint("models/spark");
  CHECK(bind_weights(checkpoint.folder, checkpoint.config).has_value());
  const std::string name = text + "layers.3.mlp.up_proj.weight";
  std::swap(checkpoint.tensor(name).shape[0], checkpoint.tensor(name).shape[1]);
  CHECK(mentions(checkpoint.refusal(), name));
  CHECK(mentions(checkpoint.refusal(), "expected [768, 256], found [256, 768]"));
  checkpoint.tensor(name).shape = {768 * 256};
  CHECK(mentions(checkpoint.refusal(), "found [196608]"));
  checkpoint.folder.tensors.tensors.erase(name);
  CHECK(mentions(checkpoint.refusal(), "none of that name"));
  CHECK(mentions(checkpoint.refusal(), "models/spark"));
}

TEST_CASE("every tensor that the forward pass needs is missed when it is not there") {
  const Checkpoint whole(golden + "unified/model");
  size_t needed = 0;
  for (const auto& [name, tensor] : whole.folder.tensors.tensors) {
    Checkpoint less = whole;
    less.folder.tensors.tensors.erase(name);
    const auto bound = bind_weights(less.folder, less.config);
    CAPTURE(name);
    CHECK(!bound.has_value());
    ++needed;
  }
  CHECK(needed > 100);

  const auto model = Gguf::open(golden + "unified/model/gguf/model-q4_0.gguf");
  const ModelConfig config = read_config(*model, nullptr).value();
  CHECK(bind_weights(*model, nullptr, config).has_value());
  ModelConfig more = config;
  more.layers.push_back(config.layers[0]);
  const auto bound = bind_weights(*model, nullptr, more);
  REQUIRE(!bound.has_value());
  CHECK(mentions(bound.error().text(), "blk.9.attn_q.weight"));
}

TEST_CASE("advisory 10: a norm that is no number is refused by the name of its tensor") {
  Checkpoint checkpoint(golden + "unified/model");
  const std::string name = text + "layers.2.input_layernorm.weight";
  StoredTensor& tensor = checkpoint.tensor(name);
  std::vector<std::byte> bytes(tensor.bytes.begin(), tensor.bytes.end());
  const uint16_t infinite = 0x7f80;
  std::memcpy(bytes.data() + 8, &infinite, sizeof(infinite));
  tensor.bytes = bytes;
  CHECK(mentions(checkpoint.refusal(), name));
  CHECK(mentions(checkpoint.refusal(), "finite"));
}

TEST_CASE("the text model is found wherever a checkpoint nests it") {
  for (const char* prefix : {"language_model.model.", "model.", "language_model.", ""}) {
    Checkpoint checkpoint(golden + "dense/model");
    std::vector<std::string> names;
    for (const auto& [name, tensor] : checkpoint.folder.tensors.tensors)
      if (name.starts_with(text)) names.push_back(name);
    REQUIRE(names.size() > 50);
    for (const std::string& name : names) checkpoint.rename(name, prefix + name.substr(text.size()));
    CAPTURE(prefix);
    CHECK(bind_weights(checkpoint.folder, checkpoint.config).has_value());
  }
}

TEST_CASE("the picture embedder is found under both of its names, with and without \"model.\"") {
  for (const std::string nest : {"vision_embedder.", "embed_vision.", "embed_vision.vision_embedder."})
    for (const std::string outer : {"model.", ""}) {
      Checkpoint checkpoint(golden + "unified/model");
      std::vector<std::string> names;
      for (const auto& [name, tensor] : checkpoint.folder.tensors.tensors)
        if (name.find("vision_embedder.") != std::string::npos || name.find("embed_vision.") != std::string::npos ||
            name.find("embed_audio.") != std::string::npos)
          names.push_back(name);
      REQUIRE(names.size() == 11);
      for (const std::string& name : names) {
        std::string inner = name.substr(std::string_view("model.").size());
        if (inner.starts_with("vision_embedder.")) inner = nest + inner.substr(inner.find('.') + 1);
        if (outer + inner != name) checkpoint.rename(name, outer + inner);
      }
      CAPTURE(outer + nest);
      CHECK(bind_weights(checkpoint.folder, checkpoint.config).has_value());
    }
}

TEST_CASE("the head is the embedding, unless there is one of its own") {
  Checkpoint checkpoint(golden + "dense/model");
  const std::string embedding = text + "embed_tokens.weight";
  checkpoint.folder.config["tie_word_embeddings"] = false;
  CHECK(mentions(checkpoint.refusal(), "lm_head.weight"));
  StoredTensor head = checkpoint.tensor(embedding);
  std::vector<std::byte> bytes(head.bytes.begin(), head.bytes.end());
  head.bytes = bytes;
  checkpoint.folder.tensors.tensors["lm_head.weight"] = head;
  const ModelWeights weights = checkpoint.weights();
  CHECK(weights.head.data == bytes.data());
  CHECK(weights.embedding.data != bytes.data());
}

}  // namespace lapidary
