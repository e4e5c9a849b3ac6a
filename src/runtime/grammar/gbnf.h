// Context-free grammars in GBNF, as llama.cpp's users write them: rules `name ::= …` of "texts", [classes], names,
// (groups), alternatives and * + ? {m,n}; # begins a comment. The rule `root` is the whole text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/recognizer.h"
#include "grammar/regex.h"

namespace lapidary::grammar {

// A network of nodes that is walked with a stack of the nodes to return to.
struct RuleNetwork {
  struct Node {
    enum class Kind : uint8_t {
      character,  // one of sets[argument], then next
      call,       // the rule that begins at `argument`, then next
      fork,       // next or argument
      end,        // of a rule
    };
    Kind kind = Kind::end;
    uint32_t argument = 0, next = 0;
  };
  std::vector<Node> nodes;
  std::vector<CodePointSet> sets;
  uint32_t root = 0;
};

size_t network_bytes(const RuleNetwork& network);

// A grammar that is regular becomes an automaton, if that is small; any other a network.
struct GbnfGrammar {
  std::optional<Dfa> automaton;
  RuleNetwork network;
};

// Errors: ErrorKind::refused (no grammar, and where), unsupported (left recursion, tokens by number), limit.
Result<GbnfGrammar> parse_gbnf(std::string_view text, const std::string& where);

// `network` has to outlive it.
std::unique_ptr<Recognizer> make_network_recognizer(const RuleNetwork& network);

}  // namespace lapidary::grammar
