// Text <-> token ids, for the Gemma 3 and 4 vocabularies.
//
// Gemma 4: BPE by rank over the whole text (between special tokens), spaces written as U+2581, bytes as fallback.
// Gemma 3 in GGUF: SentencePiece, merged by score. Both with one merge queue, O(n log n), no recursion.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"

namespace lapidary {

enum class TokenKind : uint8_t {
  normal,
  control,  // special: has a meaning, never part of the text a user reads
  visible,  // special, but shown by decoders that want it (GGUF's USER_DEFINED: the tool and channel markers)
  added,    // an added token that is plain text (runs of newlines or spaces): matched first, whoever wrote the text
  byte,
  unknown,  // special too: stands for text that cannot be written, which bytes as fallback make impossible
  unused,
};

enum class SpecialParsing : uint8_t { off, on };

// A stretch of text that holds no special token, or one special token.
struct TextFragment {
  std::string_view text;
  int32_t special = -1;  // its id, or -1
};

// Immutable after construction; safe from any thread.
class Tokenizer {
 public:
  static Result<Tokenizer> from_json_file(const std::string& path);  // tokenizer.json
  static Result<Tokenizer> from_json(std::string_view text, const std::string& name);
  static Result<Tokenizer> from_gguf(const Gguf& file);  // tokenizer.ggml.*
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Appends the ids of `text` (any bytes). No <bos> is added. With special parsing off (anything a user or a tool
  // wrote), the names of special tokens are ordinary characters; added plain-text tokens are matched in both cases.
  void encode(std::string_view text, SpecialParsing special, std::vector<int32_t>& ids) const;
  std::vector<int32_t> encode(std::string_view text, SpecialParsing special) const;

  // Cuts `text` at the special tokens whose names it holds. The fragments are views into `text`, none is empty.
  std::vector<TextFragment> split_at_specials(std::string_view text) const;

  // The bytes a token stands for (its name for special tokens); "" if id is out of range.
  std::string_view piece(int32_t id) const;
  TokenKind kind(int32_t id) const;
  bool is_special(int32_t id) const;  // control, visible or unknown
  // The id of the special or normal token with exactly this text, or -1.
  int32_t find(std::string_view text) const;
  int32_t size() const;
  const std::string& model_name() const;  // "gemma4 BPE", "gemma3 SentencePiece": for `show`

  // Whole text of the ids; special tokens appear by name if `special` is on, else not at all. A run of byte tokens that
  // is not well-formed UTF-8 becomes one U+FFFD a byte, the whole run, as the official decoder has it.
  std::string decode(std::span<const int32_t> ids, SpecialParsing special) const;

 private:
  struct Tables;
  explicit Tokenizer(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

// Turns tokens into text as they come. What it has returned is always whole characters; a character that is spread over
// several byte tokens is held back until it is complete or turns out to be none (then U+FFFD for each byte). Joined,
// its texts equal Tokenizer::decode with special off, but for runs of byte tokens that mix characters and other bytes:
// here the characters, which were given out before the run went wrong, stay.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // The text that `id` completes, "" if none yet. Special tokens flush what is held back and give no text themselves.
  std::string push(int32_t id);
  // What is left at the end.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string held_;
};

}  // namespace lapidary
