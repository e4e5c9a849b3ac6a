// What the handlers of all dialects share.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "serve/generation.h"
#include "serve/http_server.h"
#include "serve/keys.h"
#include "serve/response_store.h"
#include "service/service.h"

namespace lapidary {

struct Context {
  Context(Service& the_service, KeyStore& the_keys) : service(the_service), keys(the_keys) {}

  Service& service;
  KeyStore& keys;
  std::string version;
  double started_seconds = 0;
  Generations generations;  // the loop's thread
  ResponseStore responses;
  std::atomic<uint64_t> requests{0};  // HTTP requests that passed the guard
  std::atomic<uint64_t> refusals{0};  // and those that did not
  std::atomic<bool> draining{false};
  std::function<void()> keys_changed;  // closes the streams of keys that are gone; any thread
};

}  // namespace lapidary
