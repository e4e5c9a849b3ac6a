// From a folder, and from GGUF, to files that our own reader takes back.
#include "quantize/quantize_model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "engine/engine.h"
#include "formats/temporary_folder_test.h"
#include "tensor/code_block.h"
#include "tensor/dequantize.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr const char* spark = "models/spark";
constexpr QuantizedType all_types[] = {QuantizedType::bf16, QuantizedType::f16,    QuantizedType::q8_0,
                                       QuantizedType::q6_k, QuantizedType::q5_k_m, QuantizedType::q4_k_m,
                                       QuantizedType::q4_0};

std::string quantize(const std::string& from, const std::string& to, QuantizedType type, int threads = 2) {
  const auto source = ModelSource::open(from);
  REQUIRE_MESSAGE(source, source.error().text());
  const auto plan = plan_quantization(*source, type);
  REQUIRE(plan);
  ThreadPool pool(threads);
  const auto written = write_quantized(*plan, source->files(), to, pool, {});
  REQUIRE_MESSAGE(written, written.error().text());
  CHECK(fs::file_size(to) == plan->file_bytes);
  if (source->projector()) {
    const fs::path path(to);
    const std::string beside = (path.parent_path() / ("mmproj-" + path.filename().string())).string();
    REQUIRE(write_quantized(plan_projector(*source->projector()), source->files(), beside, pool, {}));
  }
  return to;
}

std::unique_ptr<LoadedModel> loaded(const std::string& path) {
  auto model = LoadedModel::open(path);
  REQUIRE_MESSAGE(model, model.error().text());
  return std::move(*model);
}

std::vector<float> logits_of(const std::string& path) {
  EngineOptions options;
  options.threads = 1;
  auto engine = Engine::create(std::shared_ptr<const LoadedModel>(loaded(path)), options);
  REQUIRE(engine);
  Session session(**engine, 64);
  TokenizedPrompt prompt;
  prompt.ids = {2, 105, 300, 400, 500, 600, 700};
  REQUIRE(session.set_prompt(prompt));
  return {session.logits().begin(), session.logits().end()};
}

std::string bytes_of(const std::string& path) { return read_file(path, 1 << 30).value(); }

}  // namespace

TEST_CASE("a folder in 16 bits is the same model") {
  const TemporaryFolder folder;
  const std::string file = quantize(spark, (folder.path() / "a.gguf").string(), QuantizedType::bf16);
  CHECK(logits_of(file) == logits_of(spark));
}

TEST_CASE("what a folder's config says is in the file: layers, ropes, tokens, stops, sampling, media") {
  const TemporaryFolder folder;
  for (const char* from :
       {spark, "tests/golden/unified/model", "tests/golden/gemma3/model", "tests/golden/dense/model"}) {
    CAPTURE(from);
    const auto a = loaded(from);
    const auto b = loaded(quantize(from, (folder.path() / "model.gguf").string(), QuantizedType::bf16));
    const ModelConfig &x = a->config(), &y = b->config();
    CHECK(x.architecture == y.architecture);
    CHECK(x.hidden == y.hidden);
    CHECK(x.vocabulary == y.vocabulary);
    CHECK(x.context_max == y.context_max);
    CHECK(x.window == y.window);
    CHECK(x.norm_eps == y.norm_eps);
    CHECK(x.attention_scale == y.attention_scale);
    CHECK(x.logit_softcap == y.logit_softcap);
    CHECK(x.rope_full == y.rope_full);
    CHECK(x.rope_sliding == y.rope_sliding);
    REQUIRE(x.layers.size() == y.layers.size());
    for (size_t i = 0; i < x.layers.size(); ++i) {
      CHECK(x.layers[i].kind == y.layers[i].kind);
      CHECK(x.layers[i].kv_heads == y.layers[i].kv_heads);
      CHECK(x.layers[i].head_dim == y.layers[i].head_dim);
      CHECK(x.layers[i].feed_forward == y.layers[i].feed_forward);
      CHECK(x.layers[i].value_from_key == y.layers[i].value_from_key);
    }
    CHECK(x.tokens.bos == y.tokens.bos);
    CHECK(x.generation.top_k == y.generation.top_k);
    CHECK(x.vision.has_value() == y.vision.has_value());
    CHECK(x.audio.has_value() == y.audio.has_value());
    for (const int32_t stop : x.generation.stop_tokens)
      CHECK(std::ranges::find(y.generation.stop_tokens, stop) != y.generation.stop_tokens.end());
    const std::string text = "Hello  world!\n\n\tCafé — 123 <|turn> <unk> \xF0\x9F\x98\x8A";
    for (const SpecialParsing special : {SpecialParsing::off, SpecialParsing::on})
      CHECK(a->tokenizer().encode(text, special) == b->tokenizer().encode(text, special));
  }
}

TEST_CASE("every type gives a model whose matrices have that type, near the source, and whose vectors are exact") {
  const TemporaryFolder folder;
  const std::vector<float> source = logits_of(spark);
  const auto original = loaded(spark);
  double last = -1;
  for (const QuantizedType type : all_types) {
    CAPTURE(name_of(type));
    const std::string file = quantize(spark, (folder.path() / "model.gguf").string(), type);
    const auto model = loaded(file);
    for (const LayerWeights& layer : model->weights().layers) {
      CHECK(layer.query.dtype == type_of({"blk.0.attn_q.weight", 256, false}, type, model->config()));
      CHECK(dtype_info(layer.down.dtype).block_values > 0);
    }
    CHECK(model->weights().layers[3].attention_norm == original->weights().layers[3].attention_norm);
    CHECK(model->weights().layers[5].layer_scalar == original->weights().layers[5].layer_scalar);
    CHECK(model->weights().output_norm == original->weights().output_norm);
    const std::vector<float> own = logits_of(file);
    double error = 0, size = 0;
    for (size_t i = 0; i < own.size(); ++i) {
      error += std::pow(static_cast<double>(own[i]) - source[i], 2);
      size += std::pow(static_cast<double>(source[i]), 2);
    }
    CHECK(error < 0.1 * size);
    if (type == QuantizedType::q4_0) CHECK(error > last);
    if (type == QuantizedType::q8_0) last = error;
  }
}

TEST_CASE("the bytes do not depend on the threads") {
  const TemporaryFolder folder;
  const std::string a = quantize(spark, (folder.path() / "a.gguf").string(), QuantizedType::q4_k_m, 1);
  const std::string b = quantize(spark, (folder.path() / "b.gguf").string(), QuantizedType::q4_k_m, 3);
  CHECK(bytes_of(a) == bytes_of(b));
}

TEST_CASE("from GGUF: keys are copied, and the weights are those of the folder") {
  const TemporaryFolder folder;
  const std::string middle = quantize(spark, (folder.path() / "middle.gguf").string(), QuantizedType::bf16);
  const std::string direct = quantize(spark, (folder.path() / "direct.gguf").string(), QuantizedType::q4_k_m);
  const std::string twice = quantize(middle, (folder.path() / "twice.gguf").string(), QuantizedType::q4_k_m);
  CHECK(logits_of(twice) == logits_of(direct));
  const auto a = Gguf::open(direct), b = Gguf::open(twice);
  REQUIRE(a);
  REQUIRE(b);
  CHECK(a->metadata().size() == b->metadata().size());
  CHECK(b->integer("general.file_type", 0, 100).value() == 15);
  // A file that llama.cpp's own library wrote, split keys and all, passes too.
  quantize("tests/golden/unified/model/gguf/model-bf16.gguf", (folder.path() / "golden.gguf").string(),
           QuantizedType::q6_k);
  CHECK(loaded((folder.path() / "golden.gguf").string())->config().layers.size() == 9);
}

TEST_CASE("a source that is quantised already is told") {
  const auto of = [](const char* path) { return quantized_already(*ModelSource::open(path)); };
  CHECK(of("tests/golden/unified/model/gguf/model-q4_0.gguf") == DType::q4_0);
  CHECK(of("tests/golden/dense/model/gguf/model-q8_0.gguf") == DType::q8_0);
  CHECK(!of("tests/golden/unified/model/gguf/model-bf16.gguf"));
  CHECK(!of(spark));
}

TEST_CASE("weights on a lattice are found, and Q4_0 keeps them exactly") {
  const TemporaryFolder folder;
  // Spark through Q4_0 and back to 16 bits: what quantisation-aware training leaves.
  const std::string q4_0 = quantize(spark, (folder.path() / "q4_0.gguf").string(), QuantizedType::q4_0);
  const std::string lattice = quantize(q4_0, (folder.path() / "lattice.gguf").string(), QuantizedType::bf16);
  const auto source = ModelSource::open(lattice);
  REQUIRE(source);
  const auto plan = plan_quantization(*source, QuantizedType::q4_0);
  REQUIRE(plan);
  CHECK(plan->lattice);
  CHECK(!plan->head_lattice);  // Q6_K
  CHECK(!plan_quantization(*ModelSource::open(spark), QuantizedType::q4_0)->lattice);
  const std::string again = quantize(lattice, (folder.path() / "again.gguf").string(), QuantizedType::q4_0);
  const auto a = loaded(lattice), b = loaded(again);
  const TensorView &x = a->weights().layers[2].gate, &y = b->weights().layers[2].gate;
  REQUIRE(y.dtype == DType::q4_0);
  std::vector<float> p(static_cast<size_t>(x.columns)), q(p.size());
  double error = 0, size = 0;
  for (int64_t row = 0; row < x.rows; ++row) {
    dequantize_row(x, row, p.data());
    dequantize_row(y, row, q.data());
    for (size_t i = 0; i < p.size(); ++i) {
      error += std::pow(static_cast<double>(p[i]) - q[i], 2);
      size += std::pow(static_cast<double>(p[i]), 2);
    }
  }
  CHECK(error < 1e-5 * size);  // the rounding to 16 bits; a new scale would leave 5e-3
}

TEST_CASE("what a text shows to count is nearer afterwards") {
  const TemporaryFolder folder;
  EngineOptions options;
  options.threads = 1;
  auto engine = Engine::create(std::shared_ptr<const LoadedModel>(loaded(spark)), options);
  REQUIRE(engine);
  std::vector<int32_t> text;
  for (int i = 0; i < 700; ++i) text.push_back(300 + i * 37 % 900);
  const auto importance = measure_importance(**engine, text, {});
  REQUIRE(importance);
  CHECK(importance->size() == 6 * 7 - 1 + 1);  // the last layer has no V, but there is the head
  const auto& weights = importance->at("blk.2.ffn_down.weight");
  REQUIRE(weights.size() == 768);
  double total = 0;
  for (const float weight : weights) {
    CHECK(weight > 0.01F);
    total += weight;
  }
  CHECK(total == doctest::Approx(768).epsilon(0.01));
  const auto source = ModelSource::open(spark);
  REQUIRE(source);
  const auto plain = plan_quantization(*source, QuantizedType::q4_0);
  const auto weighted = plan_quantization(*source, QuantizedType::q4_0, &*importance);
  REQUIRE(plain);
  REQUIRE(weighted);
  ThreadPool pool(1);
  const auto error_of = [&](const QuantizePlan& plan, const char* name) {
    const std::string path = (folder.path() / name).string();
    REQUIRE(write_quantized(plan, source->files(), path, pool, {}));
    const auto model = loaded(path), original = loaded(spark);
    const TensorView &x = original->weights().layers[2].down, &y = model->weights().layers[2].down;
    std::vector<float> p(768), q(768);
    double error = 0;
    for (int64_t row = 0; row < x.rows; ++row) {
      dequantize_row(x, row, p.data());
      dequantize_row(y, row, q.data());
      for (size_t i = 0; i < 768; ++i) error += weights[i] * std::pow(static_cast<double>(p[i]) - q[i], 2);
    }
    return error;
  };
  CHECK(error_of(*weighted, "weighted.gguf") < 0.9 * error_of(*plain, "plain.gguf"));
  const auto stopped = measure_importance(**engine, text, [](int64_t, int64_t) { return false; });
  REQUIRE(!stopped);
  CHECK(stopped.error().kind == ErrorKind::cancelled);
}

TEST_CASE("an interrupted write leaves nothing, and the file that was there before") {
  const TemporaryFolder folder;
  const std::string path = folder.write("model.gguf", "before");
  const auto source = ModelSource::open(spark);
  REQUIRE(source);
  const auto plan = plan_quantization(*source, QuantizedType::q8_0);
  REQUIRE(plan);
  ThreadPool pool(1);
  int calls = 0;
  const auto stopped =
      write_quantized(*plan, source->files(), path, pool, [&](uint64_t, uint64_t) { return ++calls < 5; });
  REQUIRE(!stopped);
  CHECK(stopped.error().kind == ErrorKind::cancelled);
  CHECK(bytes_of(path) == "before");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  const auto nowhere =
      write_quantized(*plan, source->files(), (folder.path() / "no/such/folder.gguf").string(), pool, {});
  REQUIRE(!nowhere);
  CHECK(nowhere.error().kind == ErrorKind::io);
}

TEST_CASE("a weight that is no number is refused, by its tensor") {
  const TemporaryFolder folder;
  std::string bytes = bytes_of(quantize(spark, (folder.path() / "good.gguf").string(), QuantizedType::f16));
  const auto good = Gguf::open((folder.path() / "good.gguf").string());
  const StoredTensor* gate = good->tensors().find("blk.1.ffn_gate.weight");
  REQUIRE(gate != nullptr);
  bytes[gate->offset + 1000] = '\xFF';
  bytes[gate->offset + 1001] = '\x7F';  // NaN in half precision
  const std::string bad = folder.write("bad.gguf", bytes);
  const auto source = ModelSource::open(bad);
  REQUIRE(source);
  ThreadPool pool(2);
  const auto written = write_quantized(*plan_quantization(*source, QuantizedType::q4_0), source->files(),
                                       (folder.path() / "out.gguf").string(), pool, {});
  REQUIRE(!written);
  CHECK(written.error().where.find("blk.1.ffn_gate.weight") != std::string::npos);
  CHECK(!fs::exists(folder.path() / "out.gguf"));
}

TEST_CASE("what is no model is refused") {
  CHECK(ModelSource::open("tests/golden/unified/model/gguf/mmproj.gguf").error().kind == ErrorKind::refused);
  CHECK(!ModelSource::open("README.md"));
  CHECK(!ModelSource::open("nowhere"));
}

}  // namespace lapidary
