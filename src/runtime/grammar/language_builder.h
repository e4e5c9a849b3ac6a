// Schemas -> languages (language.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "grammar/language.h"
#include "grammar/schema_document.h"

namespace lapidary::grammar {

struct LanguageBudget {
  uint64_t steps = 30'000;  // rules combined, and their parts
  uint32_t list_max = 300;  // rules for one type of one value
  uint32_t demands = 60'000;
};

class LanguageBuilder {
 public:
  LanguageBuilder(const SchemaDocument& document, RegexArena& arena, const LanguageBudget& budget = {});

  RegexArena& arena() { return arena_; }
  Demand demand_of(const JsonValue& schema, bool negated = false);
  Demand constant(const JsonValue& value);  // exactly this value
  Demand nothing();
  Demand both(Demand a, Demand b);
  // The demands any of which a value meets that does not meet `demand`.
  std::vector<Demand> opposites(Demand demand) const;

  // Everything that meets `demand`. Errors: what cannot be enforced, and where.
  Result<std::shared_ptr<const Language>> expand(Demand demand);
  // What is asked of the value under `name`.
  Demand lookup(const ObjectRule& rule, const std::string& name);
  bool matches(const StringRule& rule, const std::string& text);
  std::string place(Demand demand) const;
  // A name that some rule requires and nothing satisfies, if there was one: why there may be no value at all.
  const std::string& hopeless_name() const { return hopeless_name_; }

  Result<Language> intersect(const Language& a, const Language& b);
  Result<Language> complement(const Language& language);
  Language values(const std::vector<const JsonValue*>& list);
  Result<void> spend(uint64_t steps);
  uint64_t steps() const { return steps_; }
  uint32_t list_max() const { return budget_.list_max; }
  Result<void> check_size(const Language& language) const;

 private:
  struct Entry {
    const JsonValue* value = nullptr;
    bool constant = false;
    uint8_t busy = 0;
    std::shared_ptr<const Language> language, opposite;
  };
  Demand intern(std::vector<uint32_t> references);
  uint32_t entry_of(const JsonValue& value, bool constant);
  Result<std::shared_ptr<const Language>> expand_new(Demand demand);
  Result<std::shared_ptr<const Language>> reference(uint32_t reference);
  bool surely_empty(Demand demand);
  bool no_string(RegexId regex);

  std::optional<StringRule> meet(const StringRule& a, const StringRule& b);
  std::optional<ArrayRule> meet(const ArrayRule& a, const ArrayRule& b);
  std::optional<ObjectRule> meet(const ObjectRule& a, const ObjectRule& b);
  std::optional<NumberRule> meet(const NumberRule& a, const NumberRule& b);
  Result<std::vector<StringRule>> opposite(const StringRule& rule);
  Result<std::vector<ArrayRule>> opposite(const ArrayRule& rule);
  Result<std::vector<ObjectRule>> opposite(const ObjectRule& rule);
  Result<std::vector<NumberRule>> opposite(const NumberRule& rule);
  template <typename Rule>
  Result<std::vector<Rule>> meet_lists(const std::vector<Rule>& a, const std::vector<Rule>& b);
  template <typename Rule>
  Result<std::vector<Rule>> opposite_list(const std::vector<Rule>& rules);

  const SchemaDocument& document_;
  RegexArena& arena_;
  const LanguageBudget budget_;
  uint64_t steps_ = 0;
  uint32_t emptiness_depth_ = 0, depth_ = 0;
  std::vector<Entry> entries_;
  std::unordered_map<const JsonValue*, uint32_t> entry_index_[2];
  std::unordered_map<std::string, uint32_t> leaf_index_;  // of schemas without others in them, by what they ask
  std::vector<std::vector<uint32_t>> demands_;
  std::map<std::vector<uint32_t>, Demand> demand_index_;
  std::unordered_map<Demand, std::shared_ptr<const Language>> expanded_;
  std::unordered_map<RegexId, bool> empty_regex_;
  JsonValue false_;
  std::string hopeless_name_;
};

// The language of one schema by its keywords. Reads references and subschemas through `builder`.
Result<Language> read_schema(LanguageBuilder& builder, const SchemaDocument& document, const JsonValue& schema);

// Formats that are enforced; nothing: none of these.
std::optional<RegexId> format_language(RegexArena& arena, std::string_view format);

}  // namespace lapidary::grammar
