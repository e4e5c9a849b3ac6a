// What the constrained requests of one model share: the table of its vocabulary, made when the first of them comes, and
// the grammars that were compiled lately.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "chat/reply_form.h"
#include "engine/loaded_model.h"

namespace lapidary {

// Safe from any thread. Compiles and builds on the caller's: some milliseconds a grammar, some tenths of a second once
// for the table of a large vocabulary.
class ConstraintShelf {
 public:
  static constexpr size_t grammars_max = 64;
  static constexpr size_t bytes_max = 64 << 20;  // of grammars and what they were compiled of

  explicit ConstraintShelf(std::shared_ptr<const LoadedModel> model) : model_(std::move(model)) {}

  std::shared_ptr<const TokenTable> tokens();
  // As compile_form(); the same form again is found, by its whole text.
  Result<ReplyGrammar> grammar(const ReplyForm& form, const std::vector<OrderedJson>& tools);

  size_t grammars() const;
  size_t bytes() const;
  uint64_t compiled() const;  // so far

 private:
  struct Entry {
    std::string key;
    ReplyGrammar grammar;
    size_t bytes = 0;
  };

  const std::shared_ptr<const LoadedModel> model_;
  std::mutex tokens_mutex_;  // whoever needs the table waits for it
  std::shared_ptr<const TokenTable> tokens_;
  mutable std::mutex mutex_;  // guards what follows; nothing is compiled under it
  std::list<Entry> entries_;  // most lately used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> index_;
  size_t bytes_ = 0;
  uint64_t compiled_ = 0;
};

}  // namespace lapidary
