#include "tokenizer/source.h"

namespace lapidary {

void add_merge(TokenizerSource& source, std::string_view left, std::string_view right, uint32_t rank) {
  const Vocabulary& vocabulary = source.vocabulary;
  if (left.size() + right.size() > token_bytes_max) return;
  const int32_t left_id = vocabulary.find_plain(left), right_id = vocabulary.find_plain(right);
  if (left_id < 0 || right_id < 0) return;
  char joined[token_bytes_max];
  left.copy(joined, left.size());
  right.copy(joined + left.size(), right.size());
  const int32_t result = vocabulary.find_plain({joined, left.size() + right.size()});
  if (result >= 0) source.merges.insert(left_id, right_id, {rank, result});
}

}  // namespace lapidary
