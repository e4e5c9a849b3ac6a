// Output that is valid by construction: what a text must be, and which tokens may come next.
//
//   auto grammar = Grammar::from_schema(text, "schema.json");     // once; share it
//   auto tokens = TokenTrie::create(tokenizer);                   // once a tokenizer
//   Matcher matcher(*grammar, tokens);                            // one sequence
//   matcher.mask(bits); …sample…; matcher.accept(token);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/tokenizer.h"

namespace lapidary {

namespace grammar {
struct Program;
class TokenTrie;
class Recognizer;
}  // namespace grammar

class Grammar;

enum class WhiteSpace : uint8_t {
  flexible,  // in one place a space, or a line break and an indent of at most 64 characters
  none,      // compact
};

struct GrammarOptions {
  WhiteSpace white_space = WhiteSpace::flexible;
};

struct ToolDeclaration {
  std::string name;
  std::string parameters;  // a JSON Schema, as text
  bool strict = true;      // false: if it cannot be enforced, calls are held to the name and to being an object
};

enum class ToolChoice : uint8_t {
  automatic,  // text, calls, or text and then calls
  none,       // text only
  required,   // at least one call, no text
};

struct ToolOptions {
  ToolChoice choice = ToolChoice::automatic;
  std::string only;      // with `required`: the one tool that may be called; "": any
  bool parallel = true;  // several calls, one behind the other
  std::shared_ptr<const Grammar>
      answer;  // what a reply without calls has to be (not itself one of tools); null: any text
};

// What a text must be. Immutable; safe from any thread. A compilation that would take too long or too much memory is
// given up (ErrorKind::limit); what cannot be enforced is named (ErrorKind::unsupported), never dropped. `where` names
// the source in errors.
class Grammar {
 public:
  // A JSON text that satisfies a JSON Schema (draft 2020-12 or 7; docs/constrained-output.md has the keywords).
  static Result<std::shared_ptr<const Grammar>> from_schema(std::string_view schema, const std::string& where,
                                                            const GrammarOptions& options = {});
  // A text that the whole of an ECMA-262 pattern matches.
  static Result<std::shared_ptr<const Grammar>> from_regex(std::string_view pattern, const std::string& where);
  // A text of a context-free grammar in GBNF.
  static Result<std::shared_ptr<const Grammar>> from_gbnf(std::string_view text, const std::string& where);
  // A reply of a Gemma 4 model, whose calls are of declared tools, with the names, keys and types that they declare.
  // `warnings`: why the schemas of tools that are not strict are not enforced, if there are such.
  static Result<std::shared_ptr<const Grammar>> from_tools(std::span<const ToolDeclaration> tools,
                                                           const ToolOptions& options,
                                                           std::vector<std::string>* warnings = nullptr);
  ~Grammar();
  size_t bytes() const;  // of its tables, about

 private:
  Grammar();
  friend class Matcher;
  struct Parts;
  static std::shared_ptr<const Grammar> make(std::unique_ptr<const Parts> parts);
  std::unique_ptr<const Parts> parts_;
};

// A vocabulary, prepared for masks. Immutable; safe from any thread.
class TokenTable {
 public:
  // Takes some tens of milliseconds and megabytes. `tokenizer` has to outlive it.
  static std::shared_ptr<const TokenTable> create(const Tokenizer& tokenizer);
  ~TokenTable();
  int32_t vocabulary() const;
  size_t words() const;  // of a mask

 private:
  explicit TokenTable(const Tokenizer& tokenizer);
  friend class Matcher;
  struct Symbol {  // a special token that grammars know
    int32_t token = -1;
    uint32_t symbol = 0;
  };
  const Tokenizer* tokenizer_;
  std::unique_ptr<const grammar::TokenTrie> trie_;
  std::vector<Symbol> symbols_;
};

// One sequence. Not for several threads at once.
class Matcher {
 public:
  // `stop_tokens` are allowed where the text is complete.
  Matcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTable> tokens,
          std::vector<int32_t> stop_tokens = {});
  Matcher(const Matcher& other);
  Matcher(Matcher&&) noexcept;
  ~Matcher();

  // Sets bit `id` (id % 64 of word id / 64) for every token that may come next. bits.size(): TokenTable::words().
  void mask(std::span<uint64_t> bits);
  // Whether `token` may come next, without a mask.
  bool allows(int32_t token);
  // Takes a token. False: it may not come next, and nothing has changed. A stop token ends the text.
  bool accept(int32_t token);
  // Takes text byte by byte, as if tokens had spelled it. False: it does not fit, and nothing has changed.
  bool accept_text(std::string_view text);
  // Forgets the last `count` tokens (or texts) that were taken.
  void rollback(size_t count);
  // Whether the text may end here.
  bool may_stop();
  bool stopped() const { return stopped_; }
  // Tokens that follow without choice, as the tokenizer would write them; they are not taken yet. The last piece of a
  // forced text is left to the model where the text after it could join with it.
  // At most `tokens_max`.
  std::vector<int32_t> forced_tokens(size_t tokens_max = 64);
  size_t accepted() const;
  size_t bytes_used() const;

 private:
  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTable> tokens_;
  std::vector<int32_t> stop_tokens_;
  std::unique_ptr<grammar::Recognizer> recognizer_;
  struct Step;
  std::vector<Step> history_;  // before each token
  uint32_t state_ = 0;
  bool stopped_ = false;
};

}  // namespace lapidary
