// What the fuzz targets of grammars share: a grammar that compiled is walked at random, and its masks have to agree
// with what it says of single tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grammar/constraint.h"
#include "small_vocabulary.h"

namespace lapidary::fuzz {

inline const std::shared_ptr<const TokenTable>& small_tokens() {
  static const std::shared_ptr<const TokenTable> tokens = TokenTable::create(small_tokenizer());
  return tokens;
}

// `seed` chooses the tokens. Returns the text if it came to an end, which is taken once in `stop_one_in` times.
inline std::string walk_grammar(const std::shared_ptr<const Grammar>& grammar, uint64_t seed, int tokens_max,
                                bool& ended, uint64_t stop_one_in = 1) {
  const Tokenizer& tokenizer = small_tokenizer();
  const int32_t stop = tokenizer.find("<eos>");
  Matcher matcher(grammar, small_tokens(), {stop});
  std::vector<uint64_t> bits(small_tokens()->words());
  std::string text;
  ended = false;
  for (int i = 0; i < tokens_max && !ended; ++i) {
    matcher.mask(bits);
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < tokenizer.size(); ++id) {
      const bool in_mask = (bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
      require(in_mask == matcher.allows(id));
      if (in_mask) allowed.push_back(id);
    }
    if (allowed.empty()) break;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const bool stops = matcher.may_stop() && (seed >> 20) % stop_one_in == 0;
    const int32_t token = stops ? stop : allowed[(seed >> 33) % allowed.size()];
    require(matcher.accept(token));
    ended = token == stop;
    if (!ended && !tokenizer.is_special(token)) text += tokenizer.piece(token);
  }
  const size_t accepted = matcher.accepted();
  matcher.rollback(accepted);
  require(matcher.accepted() == 0);
  return text;
}

inline void walk_and_check(const std::shared_ptr<const Grammar>& grammar, uint64_t seed) {
  bool ended = false;
  const std::string text = walk_grammar(grammar, seed, 12, ended);
  if (!ended) return;
  Matcher again(grammar, small_tokens());
  require(again.accept_text(text) && again.may_stop());
}

}  // namespace lapidary::fuzz
