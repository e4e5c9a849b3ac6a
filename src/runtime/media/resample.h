// Changes the sample rate of one channel, piece by piece.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"

namespace lapidary {

// soxr's high quality (20 bits): a linear-phase low-pass just below half the lower rate, without a shift in time.
// The same rate on both sides passes the samples through untouched.
class Resampler {
 public:
  static Result<Resampler> create(int32_t rate_in_hz, int32_t rate_out_hz);

  // Takes samples and appends what can be told by now to `out`.
  Result<void> process(std::span<const float> samples, std::vector<float>& out);

  // After the last samples: appends the rest. In all, round(samples in * rate out / rate in) samples come out.
  Result<void> finish(std::vector<float>& out);

 private:
  struct Deleter {
    void operator()(void* soxr) const;
  };
  Resampler(int32_t rate_in_hz, int32_t rate_out_hz) : rate_in_hz_(rate_in_hz), rate_out_hz_(rate_out_hz) {}
  Result<void> run(const float* samples, size_t count, std::vector<float>& out);

  std::unique_ptr<void, Deleter> soxr_;  // none where the rates are equal
  int32_t rate_in_hz_, rate_out_hz_;
  int64_t taken_ = 0, given_ = 0;
};

}  // namespace lapidary
