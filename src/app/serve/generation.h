// A request under way: submits it, leads its events through a translator into the exchange, and cancels it when the
// client goes. The loop's thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "serve/http_message.h"
#include "serve/translator.h"
#include "service/service.h"

namespace lapidary {

class Generation;

// Those that run now.
class Generations {
 public:
  // To be called every second: streams that have been silent for a while say that they live.
  void ping_silent(double silent_seconds);
  size_t count() const { return running_.size(); }

 private:
  friend class Generation;
  std::set<Generation*> running_;
};

struct GenerationPlan {
  std::vector<GenerateRequest> requests;  // one a choice
  std::unique_ptr<Translator> translator;
  size_t at_once = 1000;  // requests that are submitted at the same time; the others follow as these end
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  static std::shared_ptr<Generation> start(Service& service, Generations& registry, std::shared_ptr<Exchange> exchange,
                                           GenerationPlan plan);
  ~Generation();
  void cancel();

 private:
  friend class Generations;
  Generation(Service& service, Generations& registry, std::shared_ptr<Exchange> exchange, GenerationPlan plan);
  void submit_next();
  void on_event(size_t choice, GenerateEvent&& event);
  void on_progress(const ProgressEvent& progress);
  void on_error(const ApiError& error);
  void begin(std::string& out);
  void send(std::string out);
  void add_warnings(HttpReply& reply) const;
  void finish();

  Service* service_;
  Generations* registry_;
  std::shared_ptr<Exchange> exchange_;
  std::unique_ptr<Translator> translator_;
  std::vector<GenerateRequest> requests_;
  std::vector<Ticket> tickets_;
  std::vector<bool> ended_;
  std::string warnings_;
  size_t left_ = 0, submitted_ = 0;
  bool begun_ = false, finished_ = false, tells_progress_ = false;
  double last_sent_seconds_ = 0;
};

}  // namespace lapidary
