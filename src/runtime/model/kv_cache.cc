#include "model/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>

namespace lapidary {

// V rows of every head, then K rows of every head unless they follow from V: [1 or 2, kv_heads, kv_page_positions,
// head_dim].
struct KvPage {
  std::byte* data;
  uint64_t bytes;
  int32_t users;
};

namespace {

constexpr int64_t restored_positions_max = int64_t{1} << 40;  // beyond any context; keeps the arithmetic below safe

uint64_t element_bytes_of(KvType type) { return type == KvType::f32 ? 4 : 2; }

bool values_alone_in(const LayerConfig& layer, KvType type) {
  return type == KvType::f16 && layer.value_from_key && layer.kind == AttentionKind::full;
}

uint64_t page_bytes_of(const LayerConfig& layer, KvType type) {
  return (values_alone_in(layer, type) ? 1 : 2) * static_cast<uint64_t>(layer.kv_heads) * kv_page_positions *
         static_cast<uint64_t>(layer.head_dim) * element_bytes_of(type);
}

// The first position that a query at `position` can see.
int64_t first_visible(int64_t window, int64_t position) {
  return window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
}

}  // namespace

KvPool::~KvPool() { trim(); }

void KvPool::trim() {
  for (auto& [bytes, pages] : free_)
    for (KvPage* page : pages) {
      std::free(page->data);
      delete page;
    }
  free_.clear();
}

KvPage* KvPool::take(uint64_t bytes) {
  KvPage* page = nullptr;
  const auto found = free_.find(bytes);
  if (found != free_.end() && !found->second.empty()) {
    page = found->second.back();
    found->second.pop_back();
  } else {
    auto* data = static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
    if (data == nullptr) return nullptr;
    page = new KvPage{data, bytes, 0};
  }
  page->users = 1;
  bytes_in_use_ += bytes;
  bytes_peak_ = std::max(bytes_peak_, bytes_in_use_);
  return page;
}

void KvPool::give_back(KvPage* page) {
  if (--page->users > 0) return;
  bytes_in_use_ -= page->bytes;
  free_[page->bytes].push_back(page);
}

uint64_t KvDemand::at(int64_t context) const {
  const int64_t pages = (context + kv_page_positions - 1) / kv_page_positions;
  return full_page_bytes * static_cast<uint64_t>(pages) +
         sliding_page_bytes * static_cast<uint64_t>(std::min(pages, ring_pages));
}

uint64_t KvDemand::checkpoint_bytes(int64_t context) const {
  const int64_t pages = (context + kv_page_positions - 1) / kv_page_positions;
  return full_page_bytes + sliding_page_bytes * static_cast<uint64_t>(std::min(pages, window_pages));
}

KvDemand kv_demand(const ModelConfig& config, KvType type, int64_t chunk_max) {
  KvDemand demand;
  for (const LayerConfig& layer : config.layers) {
    const bool sliding = layer.kind == AttentionKind::sliding && config.window > 0;
    (sliding ? demand.sliding_page_bytes : demand.full_page_bytes) += page_bytes_of(layer, type);
  }
  // Both ends of the range may lie inside a page.
  demand.ring_pages = (config.window + chunk_max) / kv_page_positions + 2;
  demand.window_pages = config.window / kv_page_positions + 2;
  return demand;
}

KvCache::KvCache(const ModelConfig& config, KvPool& pool, KvType type) : pool_(&pool), type_(type) {
  for (const LayerConfig& from : config.layers) {
    Layer layer{};
    layer.kv_heads = from.kv_heads;
    layer.head_dim = from.head_dim;
    layer.values_alone = values_alone_in(from, type);
    layer.window = from.kind == AttentionKind::sliding ? config.window : 0;
    layer.element_bytes = element_bytes_of(type);
    layer.head_bytes = static_cast<uint64_t>(kv_page_positions * from.head_dim) * layer.element_bytes;
    layer.page_bytes = page_bytes_of(from, type);
    layers_.push_back(std::move(layer));
  }
}

KvCache::~KvCache() { release_all(); }

KvCache::KvCache(KvCache&& other) noexcept
    : pool_(other.pool_),
      type_(other.type_),
      length_(std::exchange(other.length_, 0)),
      layers_(std::move(other.layers_)) {
  other.layers_.clear();
}

KvCache& KvCache::operator=(KvCache&& other) noexcept {
  if (this != &other) {
    release_all();
    pool_ = other.pool_;
    type_ = other.type_;
    length_ = std::exchange(other.length_, 0);
    layers_ = std::move(other.layers_);
    other.layers_.clear();
  }
  return *this;
}

void KvCache::release_all() {
  for (Layer& layer : layers_) {
    for (KvPage* page : layer.pages) pool_->give_back(page);
    layer.pages.clear();
    layer.first_page = 0;
  }
}

void KvCache::clear() {
  release_all();
  length_ = 0;
}

Result<void> KvCache::reserve(int64_t count) {
  const int64_t last_page = (length_ + count - 1) / kv_page_positions;
  for (Layer& layer : layers_) {
    const int64_t needed = first_visible(layer.window, length_) / kv_page_positions;
    while (!layer.pages.empty() && layer.first_page < needed) {
      pool_->give_back(layer.pages.front());
      layer.pages.erase(layer.pages.begin());
      ++layer.first_page;
    }
    if (layer.pages.empty()) layer.first_page = length_ / kv_page_positions;

    // A page that is shared and about to be written becomes ours by copying.
    for (int64_t page = length_ / kv_page_positions; page <= last_page; ++page) {
      const auto index = static_cast<size_t>(page - layer.first_page);
      if (index < layer.pages.size() && layer.pages[index]->users == 1) continue;
      KvPage* fresh = pool_->take(layer.page_bytes);
      if (fresh == nullptr)
        return fail(ErrorKind::out_of_memory, "KV cache",
                    "no memory for another page of " + std::to_string(layer.page_bytes) + " bytes");
      if (index < layer.pages.size()) {
        std::memcpy(fresh->data, layer.pages[index]->data, layer.page_bytes);
        pool_->give_back(layer.pages[index]);
        layer.pages[index] = fresh;
      } else {
        layer.pages.push_back(fresh);
      }
    }
  }
  return {};
}

std::byte* KvCache::row(const Layer& layer, int32_t kv_head, int64_t position, bool value) const {
  const auto index = static_cast<size_t>(position / kv_page_positions - layer.first_page);
  assert(index < layer.pages.size());
  const auto head = static_cast<uint64_t>(kv_head + (value ? 0 : layer.kv_heads));
  const auto in_page = static_cast<uint64_t>(position % kv_page_positions);
  return layer.pages[index]->data + head * layer.head_bytes +
         in_page * static_cast<uint64_t>(layer.head_dim) * layer.element_bytes;
}

void KvCache::write(int32_t layer_index, int32_t kv_head, int64_t position, const float* key, const float* value,
                    const Kernels& kernels) {
  const Layer& layer = layers_[static_cast<size_t>(layer_index)];
  const auto store = [&](const float* from, bool is_value) {
    std::byte* to = row(layer, kv_head, position, is_value);
    if (type_ == KvType::f32)
      std::memcpy(to, from, static_cast<size_t>(layer.head_dim) * sizeof(float));
    else
      kernels.to_half(from, layer.head_dim, reinterpret_cast<uint16_t*>(to));
  };
  store(value, true);
  if (!layer.values_alone) store(key, false);
}

void KvCache::spans(int32_t layer_index, int32_t kv_head, int64_t first, int64_t end, std::vector<KvSpan>& out) const {
  const Layer& layer = layers_[static_cast<size_t>(layer_index)];
  out.clear();
  for (int64_t position = first; position < end;) {
    const int64_t page_end = std::min(end, (position / kv_page_positions + 1) * kv_page_positions);
    out.push_back({layer.values_alone ? nullptr : row(layer, kv_head, position, false),
                   row(layer, kv_head, position, true), static_cast<int32_t>(page_end - position), position});
    position = page_end;
  }
}

bool KvCache::can_truncate(int64_t length) const {
  if (length > length_) return false;
  return std::all_of(layers_.begin(), layers_.end(), [length](const Layer& layer) {
    return length == 0 || layer.pages.empty() ||
           layer.first_page * kv_page_positions <= first_visible(layer.window, length);
  });
}

void KvCache::visit_pages(const std::function<void(const void*, uint64_t)>& visit) const {
  for (const Layer& layer : layers_)
    for (const KvPage* page : layer.pages) visit(page, page->bytes);
}

int64_t KvCache::ring_first() const {
  int64_t first = 0;
  for (const Layer& layer : layers_) first = std::max(first, layer.first_page * kv_page_positions);
  return first;
}

uint64_t KvCache::saved_bytes() const {
  uint64_t bytes = 0;
  for (const Layer& layer : layers_) bytes += 2 * sizeof(int64_t) + layer.pages.size() * layer.page_bytes;
  return bytes;
}

Result<void> KvCache::save(const std::function<Result<void>(std::span<const std::byte>)>& write) const {
  for (const Layer& layer : layers_) {
    const int64_t place[] = {layer.first_page, static_cast<int64_t>(layer.pages.size())};
    LAPIDARY_CHECK(write(std::as_bytes(std::span(place))));
    for (const KvPage* page : layer.pages) LAPIDARY_CHECK(write({page->data, page->bytes}));
  }
  return {};
}

Result<void> KvCache::restore(int64_t length, std::span<const std::byte> bytes, const std::string& where) {
  clear();
  const auto fill = [&]() -> Result<void> {
    for (Layer& layer : layers_) {
      int64_t place[2] = {};
      if (length <= 0 || bytes.size() < sizeof(place)) return malformed(where, "another layer", "the end");
      std::memcpy(place, bytes.data(), sizeof(place));
      bytes = bytes.subspan(sizeof(place));
      if (length > restored_positions_max) return malformed(where, "a length that can be", std::to_string(length));
      const int64_t end = (length + kv_page_positions - 1) / kv_page_positions;
      if (place[0] < 0 || place[0] > first_visible(layer.window, length) / kv_page_positions || place[0] >= end ||
          place[1] != end - place[0])
        return malformed(where, "pages up to position " + std::to_string(length),
                         std::to_string(place[1]) + " from page " + std::to_string(place[0]));
      if (bytes.size() / layer.page_bytes < static_cast<uint64_t>(place[1]))
        return malformed(where, std::to_string(place[1]) + " pages", "the end");
      layer.first_page = place[0];
      for (int64_t i = 0; i < place[1]; ++i) {
        KvPage* page = pool_->take(layer.page_bytes);
        if (page == nullptr) return fail(ErrorKind::out_of_memory, "KV cache", "no memory for a saved state's pages");
        layer.pages.push_back(page);
        std::memcpy(page->data, bytes.data(), layer.page_bytes);
        bytes = bytes.subspan(layer.page_bytes);
      }
    }
    if (!bytes.empty()) return malformed(where, "the end", std::to_string(bytes.size()) + " bytes more");
    return {};
  };
  auto done = fill();
  if (!done) {
    clear();
    return done;
  }
  length_ = length;
  return {};
}

bool KvCache::truncate(int64_t length) {
  if (!can_truncate(length)) return false;
  const int64_t pages_end = (length + kv_page_positions - 1) / kv_page_positions;
  for (Layer& layer : layers_)
    while (!layer.pages.empty() && layer.first_page + static_cast<int64_t>(layer.pages.size()) > pages_end) {
      pool_->give_back(layer.pages.back());
      layer.pages.pop_back();
    }
  length_ = length;
  return true;
}

KvCache KvCache::fork() const {
  KvCache copy(*pool_, type_, layers_, length_);
  return copy;
}

KvCache::KvCache(KvPool& pool, KvType type, const std::vector<Layer>& layers, int64_t length)
    : pool_(&pool), type_(type), length_(length), layers_(layers) {
  for (Layer& layer : layers_)
    for (KvPage* page : layer.pages) ++page->users;
}

}  // namespace lapidary
