// doctor: what this machine has, and what it can run.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json.h"
#include "base/system.h"
#include "cli/commands.h"
#include "engine/memory_plan.h"
#include "kernels/ops.h"

namespace lapidary {
namespace {

// Shapes of the family, as far as memory depends on them (docs/gemma4.md, "Rest of the family"). Layers that borrow
// their keys and values from others are left out.
struct Shape {
  int32_t layers, period;  // every period-th layer attends to everything
  int32_t hidden, feed_forward, query_heads, kv_heads_sliding, kv_heads_full, window;
  int64_t context_max;
};
constexpr Shape shape_12b{48, 6, 3840, 15360, 16, 8, 1, 1024, 262'144};
constexpr Shape shape_31b{60, 6, 5376, 21504, 32, 16, 4, 1024, 262'144};
constexpr Shape shape_26b{30, 6, 2816, 2112, 16, 8, 2, 1024, 262'144};
constexpr Shape shape_e4b{24, 6, 2560, 10240, 8, 2, 2, 512, 131'072};
constexpr Shape shape_e2b{15, 5, 1536, 6144, 8, 1, 1, 512, 131'072};

struct FamilyModel {
  const char* name;
  double gigabytes;  // of the file and its mmproj; approximate
  Shape shape;
  bool runs;  // this program has what it needs
};
constexpr std::array<FamilyModel, 7> family = {{
    {"12B Q4_0 (QAT)", 6.98 + 0.175, shape_12b, true},
    {"12B Q8_0", 12.65 + 0.175, shape_12b, true},
    {"12B BF16", 23.9, shape_12b, true},
    {"31B Q4_0", 17.5, shape_31b, true},
    {"26B-A4B Q4_0", 14.5, shape_26b, false},
    {"E4B Q4_0", 4.6, shape_e4b, false},
    {"E2B Q4_0", 2.9, shape_e2b, false},
}};

ModelConfig config_of(const Shape& shape) {
  constexpr int32_t head_sliding = 256, head_full = 512, vocabulary = 262'144;
  ModelConfig config;
  config.hidden = shape.hidden;
  config.vocabulary = vocabulary;
  config.context_max = shape.context_max;
  config.window = shape.window;
  for (int32_t i = 1; i <= shape.layers; ++i) {
    const bool full = i % shape.period == 0;
    config.layers.push_back({full ? AttentionKind::full : AttentionKind::sliding, shape.query_heads,
                             full ? shape.kv_heads_full : shape.kv_heads_sliding, full ? head_full : head_sliding,
                             shape.feed_forward, full});
  }
  return config;
}

struct Verdict {
  const FamilyModel* model;
  uint64_t needed_bytes;  // at 8K
  bool fits;              // at 8K
  int64_t largest_context;
};

struct Diagnosis {
  MemoryState memory;
  const Kernels* kernels = nullptr;
  std::string why;
  std::vector<Verdict> verdicts;
};

std::string why_these(const Kernels& kernels) {
  if (environment("LAPIDARY_KERNELS")) return "LAPIDARY_KERNELS asks for them";
  const CpuFeatures cpu = cpu_features();
  if (kernels.name == "avx512vnni") return "the CPU has AVX-512 with VNNI, the fastest of those built in";
  if (kernels.name == "avxvnni") return "the CPU has AVX2 with AVX-VNNI, but no AVX-512 VNNI";
  if (kernels.name == "avx2") return cpu.avx512 ? "the CPU has AVX-512, but no VNNI" : "the CPU has AVX2, but no VNNI";
  if (kernels.name == "neon-i8mm")
    return "the CPU has NEON with products of byte matrices, the fastest of those built in";
  if (kernels.name == "neon") return "the CPU has NEON with dot products of bytes, but none of matrices";
  return "the CPU has neither AVX2 nor NEON with dot products: plain C++, slow";
}

Result<Diagnosis> diagnose() {
  constexpr int64_t context = 8192;
  Diagnosis diagnosis;
  diagnosis.memory = memory_state();
  LAPIDARY_TRY(diagnosis.kernels, select_kernels(environment("LAPIDARY_KERNELS")));
  diagnosis.why = why_these(*diagnosis.kernels);
  const KvType kv = diagnosis.kernels->quantize_row == nullptr ? KvType::f32 : KvType::f16;
  for (const FamilyModel& model : family) {
    const ModelConfig config = config_of(model.shape);
    const auto file_bytes = static_cast<uint64_t>(model.gigabytes * 1e9);
    const uint64_t needed = plan_memory(config, file_bytes, kv, context).total_bytes();
    diagnosis.verdicts.push_back({&model, needed, needed <= diagnosis.memory.available_bytes,
                                  largest_context(config, file_bytes, kv, diagnosis.memory.available_bytes)});
  }
  return diagnosis;
}

std::string as_json(const Diagnosis& diagnosis) {
  const CpuFeatures cpu = cpu_features();
  OrderedJson available = OrderedJson::array(), models = OrderedJson::array();
  for (const Kernels* kernels : available_kernels()) available.push_back(std::string(kernels->name));
  for (const Verdict& verdict : diagnosis.verdicts)
    models.push_back({{"name", verdict.model->name},
                      {"file_bytes_approximate", static_cast<uint64_t>(verdict.model->gigabytes * 1e9)},
                      {"supported", verdict.model->runs},
                      {"needed_at_8k", verdict.needed_bytes},
                      {"fits_at_8k", verdict.fits},
                      {"largest_context", verdict.largest_context}});
  const OrderedJson json = {
      {"version", LAPIDARY_VERSION},
      {"cpu", cpu_name()},
      {"cores", {{"physical", physical_cores()}, {"logical", logical_cores()}}},
      {"features",
       {{"avx2", cpu.avx2},
        {"avx_vnni", cpu.avx_vnni},
        {"avx512", cpu.avx512},
        {"avx512_vnni", cpu.avx512_vnni},
        {"avx512_bf16", cpu.avx512_bf16},
        {"byte_dot_products", cpu.byte_dot_products},
        {"byte_matrix_products", cpu.byte_matrix_products}}},
      {"memory",
       {{"total", diagnosis.memory.total_bytes},
        {"available", diagnosis.memory.available_bytes},
        {"limited_by", diagnosis.memory.limited_by}}},
      {"kernels", {{"chosen", std::string(diagnosis.kernels->name)}, {"why", diagnosis.why}, {"available", available}}},
      {"models", models}};
  return dump(json) + "\n";
}

std::string as_text(const Diagnosis& diagnosis) {
  const auto bytes = [](uint64_t n) { return format_bytes(static_cast<double>(n)); };
  std::string available;
  for (const Kernels* kernels : available_kernels())
    available += (available.empty() ? "" : ", ") + std::string(kernels->name);
  std::string text = fmt::format("lapidary    {}\nCPU         {}\ncores       {} physical, {} logical\n",
                                 LAPIDARY_VERSION, cpu_name(), physical_cores(), logical_cores());
  text += fmt::format("memory      {}, {} available ({})\n", bytes(diagnosis.memory.total_bytes),
                      bytes(diagnosis.memory.available_bytes), diagnosis.memory.limited_by);
  text += fmt::format("kernels     {}: {}\n            available: {}\n\n", diagnosis.kernels->name, diagnosis.why,
                      available);
  text += fmt::format("{:<16}{:>11}{:>14}   {}\n", "Gemma 4", "about", "needs at 8K", "");
  for (const Verdict& verdict : diagnosis.verdicts) {
    std::string judgement =
        !verdict.model->runs ? "not supported yet"
        : verdict.fits       ? fmt::format("fits, with up to {} tokens of context", verdict.largest_context)
        : verdict.largest_context > 0
            ? fmt::format("fits with {} tokens of context only", verdict.largest_context)
            : fmt::format("{} too little", bytes(verdict.needed_bytes - diagnosis.memory.available_bytes));
    text += fmt::format("{:<16}{:>11}{:>14}   {}\n", verdict.model->name,
                        fmt::format("{:.1f} GB", verdict.model->gigabytes), bytes(verdict.needed_bytes), judgement);
  }
  return text + "\nFile sizes are approximate; `lapidary show FILE` reckons with the file itself.\n";
}

}  // namespace

ExitStatus doctor_command(const DoctorOptions& options, Console& console) {
  const auto diagnosis = diagnose();
  if (!diagnosis) return console.fail(diagnosis.error());
  console.print(options.json ? as_json(*diagnosis) : as_text(*diagnosis));
  return ExitStatus::done;
}

}  // namespace lapidary
