#include "media/resample.h"

#include <soxr.h>

#include <algorithm>

namespace lapidary {

void Resampler::Deleter::operator()(void* soxr) const { soxr_delete(static_cast<soxr_t>(soxr)); }

Result<Resampler> Resampler::create(int32_t rate_in_hz, int32_t rate_out_hz) {
  Resampler resampler(rate_in_hz, rate_out_hz);
  if (rate_in_hz == rate_out_hz) return resampler;
  const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
  soxr_error_t error = nullptr;
  resampler.soxr_.reset(soxr_create(rate_in_hz, rate_out_hz, 1, &error, &io, &quality, &runtime));
  if (error != nullptr || resampler.soxr_ == nullptr)
    return fail(ErrorKind::out_of_memory, "",
                std::string("the resampler cannot be set up: ") + (error != nullptr ? error : ""));
  return resampler;
}

Result<void> Resampler::process(std::span<const float> samples, std::vector<float>& out) {
  if (soxr_ == nullptr) {
    out.insert(out.end(), samples.begin(), samples.end());
    return {};
  }
  taken_ += static_cast<int64_t>(samples.size());
  if (samples.empty()) return {};
  return run(samples.data(), samples.size(), out);
}

Result<void> Resampler::finish(std::vector<float>& out) {
  if (soxr_ == nullptr) return {};
  return run(nullptr, 0, out);
}

// A null `samples` is soxr's sign for the end.
Result<void> Resampler::run(const float* samples, size_t count, std::vector<float>& out) {
  const int64_t wanted = (taken_ * rate_out_hz_ + rate_in_hz_ / 2) / rate_in_hz_;
  float block[4096];
  size_t used = 0;
  for (;;) {
    size_t consumed = 0, produced = 0;
    const float* rest = samples == nullptr ? nullptr : samples + used;
    const soxr_error_t error = soxr_process(static_cast<soxr_t>(soxr_.get()), rest, count - used, &consumed, block,
                                            std::size(block), &produced);
    if (error != nullptr) return fail(ErrorKind::out_of_memory, "", std::string("the resampler stopped: ") + error);
    used += consumed;
    const auto kept = std::min(static_cast<int64_t>(produced), std::max<int64_t>(wanted - given_, 0));
    out.insert(out.end(), block, block + kept);
    given_ += kept;
    if (produced == 0 && used == count) break;
  }
  if (samples == nullptr && given_ < wanted) out.insert(out.end(), static_cast<size_t>(wanted - given_), 0.0F);
  return {};
}

}  // namespace lapidary
