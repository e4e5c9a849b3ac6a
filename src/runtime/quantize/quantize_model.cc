#include "quantize/quantize_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>

#include "base/output_file.h"
#include "quantize/row_quantizer.h"
#include "tensor/code_block.h"
#include "tensor/dequantize.h"

namespace lapidary {
namespace {

constexpr uint64_t chunk_bytes = 16 << 20;  // of the source or of the result, whichever is larger

uint64_t row_bytes(DType dtype, int64_t columns) {
  const DTypeInfo& info = dtype_info(dtype);
  return static_cast<uint64_t>(columns / info.block_values * info.block_bytes);
}

uint64_t source_bytes(const SourceTensor& tensor) {
  uint64_t bytes = tensor.values.size() * sizeof(float);
  for (const TensorView& part : tensor.parts) bytes += static_cast<uint64_t>(part.bytes());
  return bytes;
}

// Row `index` as floats.
void read_row(const SourceTensor& tensor, int64_t index, std::vector<float>& scratch, float* out) {
  const int64_t columns = tensor.columns();
  if (tensor.parts.empty()) {
    std::copy_n(tensor.values.data() + index * columns, columns, out);
    return;
  }
  const TensorView* part = tensor.parts.data();
  for (; index >= part->rows; ++part) index -= part->rows;
  if (!tensor.channels_first) return dequantize_row(*part, index, out);
  scratch.resize(static_cast<size_t>(columns));
  dequantize_row(*part, index, scratch.data());
  const int64_t pixels = columns / 3;
  for (int64_t channel = 0; channel < 3; ++channel)
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      out[channel * pixels + pixel] = scratch[static_cast<size_t>(pixel * 3 + channel)];
}

bool all_finite(const float* values, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite &= std::abs(values[i]) <= 3.4028235e38F;
  return finite;
}

// How many blocks of some rows, spread over a tensor, are on a lattice.
LatticeCount sample_lattice(const SourceTensor& tensor) {
  constexpr int64_t rows_sampled = 16;
  LatticeCount count;
  const int64_t rows = tensor.rows(), columns = tensor.columns();
  if (columns % 32 != 0 || is_quantized(tensor.dtype())) return count;
  std::vector<float> values(static_cast<size_t>(columns)), scratch;
  for (int64_t i = 0; i < std::min(rows, rows_sampled); ++i) {
    read_row(tensor, i * rows / std::min(rows, rows_sampled), scratch, values.data());
    const LatticeCount own = count_on_lattice(values.data(), columns);
    count.blocks += own.blocks;
    count.on_lattice += own.on_lattice;
  }
  return count;
}

bool is_lattice(const LatticeCount& count) { return count.blocks > 0 && 10 * count.on_lattice >= 9 * count.blocks; }

void find_lattice(const ModelSource& source, QuantizePlan& plan) {
  LatticeCount layers;
  for (const SourceTensor& tensor : source.model().tensors) {
    if (!is_quantizable(tensor.name)) continue;
    if (tensor.name == "token_embd.weight") {
      plan.head_lattice = is_lattice(sample_lattice(tensor));
    } else if (tensor.name.starts_with("blk.")) {
      const LatticeCount own = sample_lattice(tensor);
      layers.blocks += own.blocks;
      layers.on_lattice += own.on_lattice;
    }
  }
  plan.lattice = is_lattice(layers);
}

// Header and places, once the types are known.
void lay_out(GgufWriter writer, QuantizePlan& plan) {
  for (const QuantizePlan::Tensor& tensor : plan.tensors)
    writer.tensor(tensor.source->name, tensor.source->shape, tensor.dtype);
  GgufWriter::Layout layout = writer.layout();
  plan.header = std::move(layout.header);
  plan.file_bytes = layout.file_bytes;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    plan.tensors[i].offset = layout.offsets[i];
    plan.source_bytes += source_bytes(*plan.tensors[i].source);
  }
}

class Writer {
 public:
  Writer(const QuantizePlan& plan, const TensorMap& files, OutputFile& out, ThreadPool& pool,
         const QuantizeProgress& progress)
      : plan_(plan), files_(files), out_(out), pool_(pool), progress_(progress) {}

  Result<void> run() {
    LAPIDARY_CHECK(out_.write_at(0, std::as_bytes(std::span(plan_.header))));
    for (const QuantizePlan::Tensor& tensor : plan_.tensors) LAPIDARY_CHECK(write(tensor));
    LAPIDARY_CHECK(pad());
    return go_on();
  }

 private:
  Result<void> go_on() {
    if (progress_ && !progress_(done_, plan_.source_bytes)) return fail(ErrorKind::cancelled, "quantize", "stopped");
    return {};
  }

  // The last tensor's padding, so that the file has the length its header promises.
  Result<void> pad() {
    if (plan_.tensors.empty()) return {};
    const QuantizePlan::Tensor& last = plan_.tensors.back();
    const uint64_t end =
        last.offset + row_bytes(last.dtype, last.source->columns()) * static_cast<uint64_t>(last.source->rows());
    const std::vector<std::byte> zeros(plan_.file_bytes - end);
    return out_.write_at(end, zeros);
  }

  Result<void> write(const QuantizePlan::Tensor& tensor) {
    const SourceTensor& source = *tensor.source;
    const int64_t rows = source.rows(), columns = source.columns();
    const uint64_t out_row = row_bytes(tensor.dtype, columns), in_row = row_bytes(source.dtype(), columns);
    const auto chunk = std::max<int64_t>(1, static_cast<int64_t>(chunk_bytes / std::max(out_row, in_row)));
    for (int64_t first = 0; first < rows; first += chunk) {
      LAPIDARY_CHECK(go_on());
      const int64_t count = std::min(chunk, rows - first);
      buffer_.resize(static_cast<size_t>(count) * out_row);
      look_ahead(source, first + count, std::min(chunk, rows - first - count));
      LAPIDARY_CHECK(convert(tensor, first, count, out_row));
      LAPIDARY_CHECK(out_.write_at(tensor.offset + static_cast<uint64_t>(first) * out_row, buffer_));
      forget(source, first, count);
      done_ += static_cast<uint64_t>(count) * in_row;
    }
    return {};
  }

  Result<void> convert(const QuantizePlan::Tensor& tensor, int64_t first, int64_t count, uint64_t out_row) {
    const SourceTensor& source = *tensor.source;
    const int64_t columns = source.columns();
    const bool verbatim = source.parts.size() == 1 && !source.channels_first && source.dtype() == tensor.dtype;
    const QuantizeRow quantize = row_quantizer(tensor.dtype);
    if (!verbatim && quantize == nullptr)
      return fail(ErrorKind::unsupported, "tensor " + source.name,
                  fmt::format("{} cannot be written", dtype_info(tensor.dtype).name));
    const float* weights = tensor.column_weights == nullptr ? nullptr : tensor.column_weights->data();
    std::atomic<int64_t> bad_row = -1;
    pool_.run(count, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> values(static_cast<size_t>(columns)), scratch;
      for (int64_t i = begin; i < end; ++i) {
        std::byte* out = buffer_.data() + static_cast<uint64_t>(i) * out_row;
        if (verbatim) {
          std::memcpy(out, source.parts[0].row(first + i), out_row);
          continue;
        }
        read_row(source, first + i, scratch, values.data());
        if (!all_finite(values.data(), columns)) bad_row = first + i;
        quantize(values.data(), weights, columns, out);
      }
    });
    if (bad_row >= 0)
      return malformed(fmt::format("tensor {}, row {}", source.name, bad_row.load()), "finite weights",
                       "one that is none");
    return {};
  }

  // Calls act(file, offset, bytes) for the source's rows [first, first + count).
  template <typename Act>
  void for_rows(const SourceTensor& source, int64_t first, int64_t count, const Act& act) {
    for (const TensorView& part : source.parts) {
      const int64_t begin = std::clamp<int64_t>(first, 0, part.rows),
                    end = std::clamp<int64_t>(first + count, 0, part.rows);
      first -= part.rows;
      if (begin >= end) continue;
      for (const auto& file : files_.files) {
        const std::byte* data = file->bytes().data();
        if (part.data < data || part.data >= data + file->bytes().size()) continue;
        act(*file, static_cast<uint64_t>(part.row(begin) - data),
            static_cast<uint64_t>((end - begin) * part.row_bytes));
      }
    }
  }
  void look_ahead(const SourceTensor& source, int64_t first, int64_t count) {
    for_rows(source, first, count,
             [](const MappedFile& file, uint64_t at, uint64_t bytes) { file.will_need(at, bytes); });
  }
  void forget(const SourceTensor& source, int64_t first, int64_t count) {
    for_rows(source, first, count, [](const MappedFile& file, uint64_t at, uint64_t bytes) { file.forget(at, bytes); });
  }

  const QuantizePlan& plan_;
  const TensorMap& files_;
  OutputFile& out_;
  ThreadPool& pool_;
  const QuantizeProgress& progress_;
  std::vector<std::byte> buffer_;
  uint64_t done_ = 0;
};

}  // namespace

Result<QuantizePlan> plan_quantization(const ModelSource& source, QuantizedType type, const Importance* importance) {
  QuantizePlan plan;
  plan.type = type;
  find_lattice(source, plan);
  for (const SourceTensor& tensor : source.model().tensors) {
    QuantizePlan::Tensor planned{&tensor, DType::f32, 0, nullptr};
    if (importance != nullptr)
      if (const auto found = importance->find(tensor.name);
          found != importance->end() && static_cast<int64_t>(found->second.size()) == tensor.columns())
        planned.column_weights = &found->second;
    if (tensor.kept) {
      planned.dtype = *tensor.kept;
    } else if (tensor.shape.size() != 1) {
      const bool lattice = tensor.name == "token_embd.weight" ? plan.head_lattice : plan.lattice;
      planned.dtype = type_of({tensor.name, tensor.columns(), lattice}, type, source.config());
    }
    plan.tensors.push_back(planned);
  }
  GgufWriter writer = source.model().keys;
  writer.number("general.file_type", gguf_file_type(type));
  writer.number("general.quantization_version", 2);
  lay_out(std::move(writer), plan);
  return plan;
}

QuantizePlan plan_projector(const SourceFile& projector) {
  QuantizePlan plan;
  for (const SourceTensor& tensor : projector.tensors)
    plan.tensors.push_back({&tensor, tensor.kept.value_or(DType::f32), 0, nullptr});
  lay_out(projector.keys, plan);
  return plan;
}

std::optional<DType> quantized_already(const ModelSource& source) {
  std::map<DType, uint64_t> bytes;
  for (const SourceTensor& tensor : source.model().tensors)
    if (tensor.name.starts_with("blk.") && is_quantizable(tensor.name)) bytes[tensor.dtype()] += source_bytes(tensor);
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  if (most == bytes.end() || !is_quantized(most->first)) return std::nullopt;
  return most->first;
}

Result<void> write_quantized(const QuantizePlan& plan, const TensorMap& files, const std::string& path,
                             ThreadPool& pool, const QuantizeProgress& progress) {
  LAPIDARY_TRY(OutputFile out, OutputFile::create(path, plan.file_bytes));
  LAPIDARY_CHECK(Writer(plan, files, out, pool, progress).run());
  return out.commit();
}

}  // namespace lapidary
