#include "cli/bench_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/system.h"
#include "grammar/constraint.h"

namespace lapidary {
namespace {

// The end of the JSON value that begins at `at`, for text that is known to be JSON.
size_t value_end(std::string_view text, size_t at) {
  int depth = 0;
  bool inside = false;
  for (size_t i = at; i < text.size(); ++i) {
    const char c = text[i];
    if (inside) {
      if (c == '\\') ++i;
      if (c == '"') inside = false;
      if (c == '"' && depth == 0) return i + 1;
      continue;
    }
    if (c == '"') inside = true;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && depth-- <= 1) return depth < 0 ? i : i + 1;
    if (c == ',' && depth == 0) return i;
  }
  return text.size();
}

size_t skip_blanks(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(" \t\r\n", at), text.size());
}

// Members of an object (the names as written), or items of an array (without names), as the text they are.
std::vector<std::pair<std::string_view, std::string_view>> parts_of(std::string_view text) {
  std::vector<std::pair<std::string_view, std::string_view>> parts;
  size_t at = skip_blanks(text, 0);
  if (at == text.size()) return parts;
  const bool object = text[at] == '{';
  for (at = skip_blanks(text, at + 1); at < text.size() && text[at] != '}' && text[at] != ']';) {
    std::string_view name;
    if (object) {
      const size_t end = value_end(text, at);
      name = text.substr(at + 1, end - at - 2);
      at = skip_blanks(text, skip_blanks(text, end) + 1);
    }
    const size_t end = value_end(text, at);
    parts.emplace_back(name, text.substr(at, end - at));
    at = skip_blanks(text, end);
    if (at < text.size() && text[at] == ',') at = skip_blanks(text, at + 1);
  }
  return parts;
}

std::string_view member(std::string_view object, std::string_view name) {
  for (const auto& [key, value] : parts_of(object))
    if (key == name) return value;
  return {};
}

// The same JSON with a space behind each comma and colon and no other.
std::string spaced(std::string_view text) {
  std::string result;
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!inside && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) continue;
    result += c;
    if (inside && c == '\\' && i + 1 < text.size()) result += text[++i];
    if (c == '"') inside = !inside;
    if (!inside && (c == ',' || c == ':')) result += ' ';
  }
  return result;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

struct Report {
  int64_t schemas = 0, compiled = 0, fully_right = 0, false_accepts = 0, false_refusals = 0;
  std::vector<double> mask_us, compile_ms;
};

class GrammarBench {
 public:
  GrammarBench(const Tokenizer& tokenizer, const GrammarBenchOptions& options)
      : tokenizer_(tokenizer), options_(options), tokens_(TokenTable::create(tokenizer)), bits_(tokens_->words()) {}

  void schema(std::string_view line);
  Report& report() { return report_; }
  const std::string& details() const { return details_; }

 private:
  // Whether every token of `text` is in the mask before it, and the end may follow.
  bool accepts(const std::shared_ptr<const Grammar>& grammar, const std::string& text);

  const Tokenizer& tokenizer_;
  const GrammarBenchOptions& options_;
  std::shared_ptr<const TokenTable> tokens_;
  std::vector<uint64_t> bits_;
  Report report_;
  std::string details_;
};

bool GrammarBench::accepts(const std::shared_ptr<const Grammar>& grammar, const std::string& text) {
  Matcher matcher(grammar, tokens_);
  for (const int32_t token : tokenizer_.encode(text, SpecialParsing::off)) {
    const double begin = monotonic_seconds();
    matcher.mask(bits_);
    report_.mask_us.push_back((monotonic_seconds() - begin) * 1e6);
    const auto id = static_cast<size_t>(token);
    if ((bits_[id / 64] >> (id % 64) & 1) == 0 || !matcher.accept(token)) return false;
  }
  return matcher.may_stop();
}

void GrammarBench::schema(std::string_view line) {
  ++report_.schemas;
  const double begin = monotonic_seconds();
  const auto grammar = Grammar::from_schema(member(line, "schema"), "schema");
  const double ms = (monotonic_seconds() - begin) * 1e3;
  std::string outcome;
  int64_t wrong_accepts = 0, wrong_refusals = 0;
  const size_t masks_before = report_.mask_us.size();
  if (!grammar) {
    outcome = "not compiled: " + grammar.error().text();
  } else {
    ++report_.compiled;
    report_.compile_ms.push_back(ms);
    for (const auto& [name, test] : parts_of(member(line, "tests"))) {
      const bool valid = member(test, "valid") == "true";
      const bool accepted = accepts(*grammar, spaced(member(test, "data")));
      wrong_accepts += accepted && !valid ? 1 : 0;
      wrong_refusals += !accepted && valid ? 1 : 0;
    }
    report_.false_accepts += wrong_accepts;
    report_.false_refusals += wrong_refusals;
    if (wrong_accepts + wrong_refusals == 0) ++report_.fully_right;
    outcome = wrong_accepts + wrong_refusals == 0
                  ? "right"
                  : fmt::format("{} false accepts, {} false refusals", wrong_accepts, wrong_refusals);
  }
  if (options_.details_file.empty()) return;
  Json masks = Json::array();
  for (size_t i = masks_before; i < report_.mask_us.size(); ++i)
    masks.push_back(std::round(report_.mask_us[i] * 10) / 10);
  details_ += dump(Json{{"name", std::string(member(line, "name"))},
                        {"outcome", outcome},
                        {"compiled", grammar.has_value()},
                        {"false_accepts", wrong_accepts},
                        {"false_refusals", wrong_refusals},
                        {"compile_ms", ms},
                        {"mask_us", std::move(masks)}}) +
              "\n";
}

}  // namespace

Result<std::string> bench_grammar(const Tokenizer& tokenizer, const GrammarBenchOptions& options) {
  LAPIDARY_TRY(const auto file, MappedFile::open(options.file));
  const auto bytes = file->bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  GrammarBench bench(tokenizer, options);
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (skip_blanks(line, 0) == line.size()) continue;
    LAPIDARY_CHECK(parse_json(line, fmt::format("{}: line {}", options.file, number)));
    bench.schema(line);
  }
  Report& report = bench.report();
  double sum = 0;
  for (const double us : report.mask_us) sum += us;
  const double mean = report.mask_us.empty() ? 0 : sum / static_cast<double>(report.mask_us.size());
  const double p99 = percentile(report.mask_us, 0.99), compile = percentile(report.compile_ms, 0.95);
  if (!options.details_file.empty()) {
    std::ofstream out(options.details_file, std::ios::binary);
    out << bench.details();
    if (!out) return fail(ErrorKind::io, options.details_file, "cannot be written");
  }
  if (options.json)
    return fmt::format(
        "{{\"schemas\": {}, \"compiled\": {}, \"fully_right\": {}, \"false_accepts\": {}, \"false_refusals\": {}, "
        "\"mask_us_mean\": {:.2f}, \"mask_us_p99\": {:.2f}, \"compile_ms_p95\": {:.3f}}}\n",
        report.schemas, report.compiled, report.fully_right, report.false_accepts, report.false_refusals, mean, p99,
        compile);
  return fmt::format(
      "{} schemas: {} compiled, {} fully right\n{} false accepts, {} false refusals\n"
      "mask: mean {:.1f} µs, p99 {:.1f} µs ({} masks)\ncompile: p95 {:.2f} ms\n",
      report.schemas, report.compiled, report.fully_right, report.false_accepts, report.false_refusals, mean, p99,
      report.mask_us.size(), compile);
}

}  // namespace lapidary
