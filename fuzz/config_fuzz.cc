// config.json, generation_config.json and processor_config.json (separated by lines of "---") -> config -> names of
// weights.
#include <cstdint>
#include <string_view>

#include "model/config.h"
#include "model/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lapidary;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  HuggingFaceFolder folder;
  folder.path = "fuzz";
  std::optional<Json>* const rest[] = {&folder.generation_config, &folder.processor_config};
  constexpr std::string_view separator = "\n---\n";
  for (size_t part = 0; part < 3; ++part) {
    const size_t end = std::min(text.find(separator), text.size());
    auto json = parse_json(text.substr(0, end), "fuzz", {.depth_max = 64, .values_max = 100'000});
    if (json && json->is_object()) {
      if (part == 0)
        folder.config = std::move(*json);
      else
        *rest[part - 1] = std::move(*json);
    } else if (part == 0) {
      return 0;
    }
    if (end == text.size()) break;
    text.remove_prefix(end + separator.size());
  }
  if (is_drafter(folder)) {
    const auto drafter = read_drafter_config(folder);
    if (drafter) (void)bind_drafter(folder, *drafter);
  }
  const auto config = read_config(folder);
  if (config) (void)bind_weights(folder, *config);
  return 0;
}
