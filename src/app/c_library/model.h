// A model's handle, and what its sessions and generations still hold when it is closed.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "base/result.h"
#include "lapidary.h"
#include "service/service.h"

namespace lapidary {

// Safe from any thread.
class SharedService {
 public:
  explicit SharedService(std::unique_ptr<Service> service) : service_(std::move(service)) {}

  // What `use` returns, a Result, for the service, which stays until then; ErrorKind::cancelled if it was closed.
  template <typename Use>
  auto with(const Use& use) -> decltype(use(std::declval<Service&>())) {
    const std::shared_lock lock(mutex_);
    if (service_ == nullptr) return fail(ErrorKind::cancelled, "model", "it was closed");
    return use(*service_);
  }

  // Waits for the service's threads, which may be in with() until then.
  void close() {
    std::unique_ptr<Service> service;
    {
      const std::unique_lock lock(mutex_);
      service.swap(service_);
    }
  }

 private:
  std::shared_mutex mutex_;
  std::unique_ptr<Service> service_;
};

}  // namespace lapidary

struct lapidary_model {
  std::shared_ptr<lapidary::SharedService> service;
  lapidary::ModelInfo info;
  lapidary_model_info described{};  // points into info
};
