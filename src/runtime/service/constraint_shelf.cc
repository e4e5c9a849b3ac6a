#include "service/constraint_shelf.h"

#include <utility>

namespace lapidary {

std::shared_ptr<const TokenTable> ConstraintShelf::tokens() {
  const std::scoped_lock lock(tokens_mutex_);
  if (tokens_ == nullptr) tokens_ = TokenTable::create(model_->tokenizer());
  return tokens_;
}

Result<ReplyGrammar> ConstraintShelf::grammar(const ReplyForm& form, const std::vector<OrderedJson>& tools) {
  std::string key = form_key(form, tools);
  {
    const std::scoped_lock lock(mutex_);
    if (const auto found = index_.find(key); found != index_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->grammar;
    }
    ++compiled_;
  }
  LAPIDARY_TRY(ReplyGrammar made, compile_form(form, tools));
  if (made.grammar == nullptr) return made;
  const size_t bytes = key.size() + made.grammar->bytes();
  const std::scoped_lock lock(mutex_);
  if (bytes > bytes_max / 4 || index_.contains(key)) return made;
  entries_.push_front({std::move(key), made, bytes});
  index_[entries_.front().key] = entries_.begin();
  bytes_ += bytes;
  while (entries_.size() > grammars_max || bytes_ > bytes_max) {
    bytes_ -= entries_.back().bytes;
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return made;
}

size_t ConstraintShelf::grammars() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

size_t ConstraintShelf::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

uint64_t ConstraintShelf::compiled() const {
  const std::scoped_lock lock(mutex_);
  return compiled_;
}

}  // namespace lapidary
