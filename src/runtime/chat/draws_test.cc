// Random schemas and random sets of tools, and replies drawn at temperature 2 from random logits under their
// constraints, through the same generation as a model's: every reply that ends is valid, says a plain validator that
// shares nothing with the constraint, and every call reads back as one that was declared.
//
// LAPIDARY_DRAWS=10000: so many replies of each kind (./dev draws), LAPIDARY_DRAWS_SEED: others. LAPIDARY_DRAWS_FILE:
// each of them with its schema, a line of JSON, for other validators.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "base/json.h"
#include "chat/reply_form.h"
#include "chat/turn_steps.h"
#include "engine/loaded_model.h"
#include "grammar/dice_for_test.h"
#include "grammar/plain_validator_for_test.h"
#include "sanitized.h"

namespace lapidary {
namespace {

constexpr int64_t tokens_max = 1'500;  // a reply that is longer is drawn anew
constexpr int64_t tokens_wild = 40;    // from here on, what closes is likelier
constexpr int draws_default = sanitized ? 60 : 300;

// --- schemas ---------------------------------------------------------------------------------------------------------

class SchemaDice {
 public:
  explicit SchemaDice(Dice& dice) : dice_(dice) {}

  Json schema() {
    Json made = value(3);
    if (uses_node_)
      made["$defs"]["node"] = {{"type", "object"},
                               {"properties", {{"v", value(0)}, {"next", {{"$ref", "#/$defs/node"}}}}},
                               {"additionalProperties", false}};
    uses_node_ = false;
    return made;
  }

  Json parameters() {
    Json made = object(2);
    while (made.contains("$ref") || uses_node_) {
      uses_node_ = false;
      made = object(2);
    }
    return made;
  }

  std::string name() {
    static constexpr const char* names[] = {"a", "b", "name", "size", "kind", "is it", "größe", "x-y", "id", "list"};
    return names[dice_.below(std::size(names))];
  }

 private:
  Json value(int depth) {
    switch (dice_.below(depth > 0 ? 13 : 6)) {
      case 0:
        return {{"type", "boolean"}};
      case 1:
        return number();
      case 2:
        return number();
      case 3:
        return text();
      case 4:
        return text();
      case 5:
        return choice();
      case 6:
        return array(depth - 1);
      case 7:
        return array(depth - 1);
      case 8:
        return combination(depth - 1);
      case 9:
        if (dice_.one_in(2)) break;
        uses_node_ = true;
        return {{"$ref", "#/$defs/node"}};
      default:
        break;
    }
    return object(depth - 1);
  }

  Json number() {
    const bool whole = dice_.one_in(2);
    Json made = {{"type", whole ? "integer" : "number"}};
    const int64_t low = dice_.from(-300, 300);
    if (dice_.one_in(2))
      made[dice_.one_in(3) ? "exclusiveMinimum" : "minimum"] = whole ? Json(low) : Json(static_cast<double>(low) / 10);
    if (dice_.one_in(2)) made[dice_.one_in(3) ? "exclusiveMaximum" : "maximum"] = low + dice_.from(3, 500);
    if (made.contains("minimum") && made.contains("maximum") && dice_.one_in(2))
      made["multipleOf"] = whole ? Json(dice_.from(1, 3)) : Json(0.5);
    return made;
  }

  Json text() {
    static constexpr const char* patterns[] = {"^[a-z]+$",
                                               "^\\d{2,4}-\\d{2}$",
                                               "^(red|green|blue)$",
                                               "b",
                                               "^[^x]{2,6}$",
                                               "^a.*z$",
                                               "^[A-Z][a-z]{0,5}( [A-Z][a-z]{0,5})?$",
                                               "^\\w+@\\w+\\.(de|fr)$"};
    Json made = {{"type", "string"}};
    if (dice_.one_in(3)) made["pattern"] = patterns[dice_.below(std::size(patterns))];
    if (made.contains("pattern")) return made;
    const int64_t low = dice_.from(0, 6);
    if (dice_.one_in(2)) made["minLength"] = low;
    if (dice_.one_in(2)) made["maxLength"] = low + dice_.from(0, 9);
    return made;
  }

  Json choice() {
    Json list = Json::array();
    for (uint64_t i = 1 + dice_.below(5); i > 0; --i) {
      switch (dice_.below(6)) {
        case 0:
          list.push_back(dice_.from(-5, 5));
          break;
        case 1:
          list.push_back(nullptr);
          break;
        case 2:
          list.push_back(Json{{"a", true}});
          break;
        case 3:
          list.push_back(Json::array({1, "b"}));
          break;
        default:
          list.push_back(name());
      }
    }
    if (dice_.one_in(3)) return {{"const", list[0]}};
    return {{"enum", list}};
  }

  Json array(int depth) {
    Json made = {{"type", "array"}};
    const int64_t low = dice_.from(0, 3);
    if (dice_.one_in(2)) made["minItems"] = low;
    made["maxItems"] = low + dice_.from(0, 4);
    if (dice_.one_in(3))
      for (uint64_t i = 1 + dice_.below(2); i > 0; --i) made["prefixItems"].push_back(value(depth));
    if (!dice_.one_in(4)) made["items"] = value(depth);
    if (dice_.one_in(5)) {
      made["contains"] = value(0);
      made["maxItems"] = low + 4;
      if (dice_.one_in(3)) made["maxContains"] = 2;
    }
    return made;
  }

  Json object(int depth) {
    Json made = {{"type", "object"}};
    std::vector<std::string> names;
    for (uint64_t i = dice_.below(5); i > 0; --i) {
      names.push_back(name());
      made["properties"][names.back()] = value(depth);
    }
    for (const std::string& one : names)
      if (dice_.one_in(2)) made["required"].push_back(one);
    const uint64_t rest = dice_.below(4);
    if (rest == 0) made["additionalProperties"] = value(0);
    if (rest > 1) made["additionalProperties"] = false;
    // Else random letters would go on to write other names instead of those that are required.
    if (rest <= 1) made["maxProperties"] = (made.contains("required") ? made["required"].size() : 0) + dice_.below(3);
    if (rest <= 1 && dice_.one_in(4)) made["propertyNames"] = {{"pattern", "^[a-zß-ü -]{1,9}$"}};
    if (rest == 1 && dice_.one_in(3)) made["patternProperties"] = {{"^x", {{"type", "null"}}}};
    if (names.size() > 1 && dice_.one_in(4)) made["dependentRequired"] = {{names[0], Json::array({names[1]})}};
    if (rest > 1 && dice_.one_in(6)) made["minProperties"] = 1;
    return made;
  }

  Json combination(int depth) {
    const auto two = [&] { return Json::array({value(depth), value(depth)}); };
    switch (dice_.below(6)) {
      case 0:
        return {{"anyOf", two()}};
      case 1:
        return {{"oneOf", two()}};
      case 2:
        return {{"allOf", Json::array({number(), number()})}};
      case 3:
        return {{"not", value(0)}, {"type", Json::array({"string", "integer", "null"})}};
      case 4:
        return {{"if", value(0)}, {"then", value(depth)}, {"else", value(depth)}};
      default:
        return {{"anyOf", Json::array({{{"type", "null"}}, value(depth)})}};
    }
  }

  Dice& dice_;
  bool uses_node_ = false;
};

// --- replies ---------------------------------------------------------------------------------------------------------

struct Reply {
  std::string text;
  std::vector<ToolCall> calls;
  std::string broken;  // a call that could not be read, and why
  bool ended = false;
};

class ReplyDice {
 public:
  explicit ReplyDice(Dice& dice) : dice_(dice), model_(LoadedModel::open("models/spark").value()) {
    const Tokenizer& tokenizer = model_->tokenizer();
    tokens_ = TokenTable::create(tokenizer);
    for (int32_t id = 0; id < tokenizer.size(); ++id) {
      const std::string_view piece = tokenizer.piece(id);
      const bool closes = piece == "<|\"|>" || piece == "<tool_call|>" ||
                          (!piece.empty() && piece.find_first_not_of("\"}]:") == std::string_view::npos);
      if (closes) closing_.push_back(id);
    }
  }

  Reply draw(const std::shared_ptr<const Grammar>& grammar, const std::string& what) {
    TurnOptions options;
    options.sampler.temperature = 2;
    options.sampler.seed = dice_.next();
    options.tokens_max = tokens_max;
    options.constraint = grammar;
    options.constraint_tokens = tokens_;
    Reply reply;
    ReplyGeneration generation(model_->tokenizer(), model_->config(), options, ChatFormat::gemma4, false,
                               [&](TurnEvent&& event) {
                                 if (const auto* text = std::get_if<TextDelta>(&event)) reply.text += text->text;
                                 if (auto* call = std::get_if<ToolCallEvent>(&event)) reply.calls.push_back(call->call);
                                 if (const auto* bad = std::get_if<BadToolCall>(&event))
                                   reply.broken = bad->raw + ": " + bad->reason;
                               });
    const bool forces = dice_.one_in(2);
    while (generation.wants_token()) {
      const auto token = generation.next(logits(generation.tokens()));
      REQUIRE_MESSAGE(token.has_value(),
                      (token ? "" : token.error().text())
                          << " after " << model_->tokenizer().decode(generation.usage().reply_ids, SpecialParsing::on)
                          << " by " << what);
      if (forces && generation.wants_token()) generation.take_forced(8);
    }
    generation.finish();
    const StopReason reason = generation.usage().reason;
    reply.ended = reason == StopReason::stop_token || reason == StopReason::tool_call;
    return reply;
  }

 private:
  // Normal with a deviation of 4, which temperature 2 makes flat; later with a bias towards an end, or none would come.
  std::span<const float> logits(int64_t written) {
    logits_.resize(static_cast<size_t>(model_->config().vocabulary));
    for (float& logit : logits_) {
      const uint64_t bits = dice_.next();
      float sum = 0;
      for (int i = 0; i < 4; ++i) sum += static_cast<float>(bits >> (16 * i) & 0xFFFF) / 65536.0F - 0.5F;
      logit = sum * 7;
    }
    if (written > tokens_wild)
      for (const int32_t id : closing_) logits_[static_cast<size_t>(id)] += 24;
    if (written > tokens_wild || dice_.one_in(8))
      for (const int32_t id : model_->config().generation.stop_tokens) logits_[static_cast<size_t>(id)] += 30;
    return logits_;
  }

  Dice& dice_;
  std::shared_ptr<const LoadedModel> model_;
  std::shared_ptr<const TokenTable> tokens_;
  std::vector<int32_t> closing_;
  std::vector<float> logits_;
};

// LAPIDARY_DRAWS_SEED: other dice, so that many draws can be split.
uint64_t seed_of(uint64_t usual) {
  const char* seed = std::getenv("LAPIDARY_DRAWS_SEED");
  return seed == nullptr ? usual : usual + 1'000'003 * std::strtoull(seed, nullptr, 10);
}

int draws_wanted() {
  const char* wanted = std::getenv("LAPIDARY_DRAWS");
  return wanted == nullptr ? draws_default : std::max(1, std::atoi(wanted));
}

struct Tally {
  int drawn = 0, refused = 0, cut = 0, calls = 0;
  void print(const char* what) const {
    if (draws_wanted() == draws_default) return;
    fmt::print("{}: {} valid of {} that ended, {} longer than {} tokens, {} calls, {} refused at compilation\n", what,
               drawn, drawn, cut, tokens_max, calls, refused);
    std::fflush(stdout);
  }
};

void write_line(const Json& schema, const Json& value) {
  const char* file = std::getenv("LAPIDARY_DRAWS_FILE");
  if (file == nullptr) return;
  std::ofstream(file, std::ios::app) << dump(Json{{"schema", schema}, {"value", value}}) << '\n';
}

// `text`: where the value was read from, if its numbers have all their digits there.
void check_valid(const Json& schema, const Json& value, const std::string* text) {
  PlainValidator validator(schema);
  if (text == nullptr) validator.numbers_are_rounded();
  const auto valid = validator.judge(text == nullptr ? value : parse_json(with_long_numbers(*text), "text").value());
  REQUIRE_MESSAGE(valid.has_value(), dump(schema));
  REQUIRE_MESSAGE(*valid, dump(value) << " by " << dump(schema));
  write_line(schema, value);
}

}  // namespace

TEST_CASE("whatever schema: a reply that ends is valid") {
  Dice dice{seed_of(2026)};
  SchemaDice schemas(dice);
  ReplyDice replies(dice);
  Tally tally;
  while (tally.drawn < draws_wanted()) {
    const Json schema = schemas.schema();
    ReplyForm form;
    form.kind = ReplyForm::Kind::schema;
    form.text = dump(schema);
    const auto made = compile_form(form, {});
    if (!made) {
      CHECK_MESSAGE(made.error().kind == ErrorKind::unsupported, made.error().text() << " in " << form.text);
      ++tally.refused;
      continue;
    }
    const Reply reply = replies.draw(made->grammar, form.text);
    REQUIRE(reply.calls.empty());
    if (!reply.ended) {
      ++tally.cut;
      continue;
    }
    const auto value = parse_json(reply.text, "reply");
    REQUIRE_MESSAGE(value.has_value(), reply.text << " by " << form.text);
    check_valid(schema, *value, &reply.text);
    ++tally.drawn;
  }
  tally.print("schemas");
  CHECK(tally.refused * 4 < tally.drawn);
  CHECK(tally.cut * 20 < tally.drawn);
}

TEST_CASE("whatever tools: calls read back as declared") {
  Dice dice{seed_of(4)};
  SchemaDice schemas(dice);
  ReplyDice replies(dice);
  Tally tally;
  while (tally.drawn < draws_wanted()) {
    std::vector<OrderedJson> tools;
    std::map<std::string, Json> declared;
    for (uint64_t i = 1 + dice.below(4); i > 0; --i) {
      const std::string name = fmt::format("{}_{}", dice.one_in(2) ? "get" : "put", i);
      declared[name] = schemas.parameters();
      OrderedJson function = {{"name", name}};
      function["parameters"] = parse_ordered_json(dump(declared[name]), "parameters").value();
      tools.push_back({{"type", "function"}, {"function", std::move(function)}});
    }
    ReplyForm form;
    form.strict_calls = true;
    form.parallel_calls = dice.one_in(2);
    if (!dice.one_in(3)) form.tool_choice = ToolChoice::required;
    if (dice.one_in(3)) form.callable = {declared.begin()->first};
    if (dice.one_in(4)) {
      form.kind = ReplyForm::Kind::schema;
      form.text = R"({"type": "object", "maxProperties": 1})";
    }
    const auto made = compile_form(form, tools);
    if (!made) {
      CHECK_MESSAGE(made.error().kind == ErrorKind::unsupported, made.error().text());
      ++tally.refused;
      continue;
    }
    const Reply reply = replies.draw(made->grammar, dump(OrderedJson(tools)));
    if (!reply.ended) {
      ++tally.cut;
      continue;
    }
    REQUIRE_MESSAGE(reply.broken.empty(), reply.broken);
    if (form.tool_choice == ToolChoice::required) {
      REQUIRE_FALSE(reply.calls.empty());
      REQUIRE(reply.text.empty());
    }
    if (!form.parallel_calls) REQUIRE(reply.calls.size() <= 1);
    for (const ToolCall& call : reply.calls) {
      if (!form.callable.empty()) REQUIRE(call.name == form.callable[0]);
      REQUIRE(declared.contains(call.name));
      check_valid(declared[call.name], parse_json(dump(call.arguments), "arguments").value(), nullptr);
    }
    if (reply.calls.empty() && form.kind == ReplyForm::Kind::schema)
      REQUIRE(parse_json(reply.text, "reply").has_value());
    tally.calls += static_cast<int>(reply.calls.size());
    ++tally.drawn;
  }
  tally.print("tool sets");
  CHECK(tally.calls * 2 > tally.drawn);
  CHECK(tally.refused * 4 < tally.drawn);
  CHECK(tally.cut * 20 < tally.drawn);
}

TEST_CASE("the plain validator says what the standard says") {
  const auto judge = [](const char* schema, const char* value) {
    const Json parsed = parse_json(schema, "schema").value();
    return PlainValidator(parsed).judge(parse_json(value, "value").value());
  };
  CHECK(judge(R"({"type": "integer", "minimum": 3, "multipleOf": 2})", "4") == true);
  CHECK(judge(R"({"type": "integer", "minimum": 3, "multipleOf": 2})", "5") == false);
  CHECK(judge(R"({"type": "integer"})", "1.0") == true);
  CHECK(judge(R"({"exclusiveMaximum": 3})", "3") == false);
  CHECK(judge(R"({"multipleOf": 0.1})", "0.3") == true);
  CHECK(judge(R"({"pattern": "^a+(b|cd){2}$"})", "\"aabcd\"") == true);
  CHECK(judge(R"({"pattern": "^a+(b|cd){2}$"})", "\"aab\"") == false);
  CHECK(judge(R"({"pattern": "[^0-9]\\d"})", "\"12x3\"") == true);
  CHECK(judge(R"x({"pattern": "(?=a)"})x", "\"a\"") == std::nullopt);
  CHECK(judge(R"({"maxLength": 1})", "\"ü\"") == true);
  CHECK(judge(R"({"oneOf": [{"type": "integer"}, {"minimum": 2}]})", "3") == false);
  CHECK(judge(R"({"if": {"const": 1}, "then": false})", "1") == false);
  CHECK(judge(R"({"properties": {"a": {"type": "null"}}, "additionalProperties": false})", R"({"b": 1})") == false);
  CHECK(judge(R"({"patternProperties": {"^b": false}})", R"({"b": 1})") == false);
  CHECK(judge(R"({"contains": {"const": 1}, "maxContains": 1})", "[1, 1]") == false);
  CHECK(judge(R"({"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}})", "[null, 1]") == false);
  CHECK(judge(R"({"uniqueItems": true})", "[1, 1.0]") == false);
  CHECK(judge(R"({"$ref": "#/$defs/a", "$defs": {"a": {"enum": [2]}}})", "2") == true);
  CHECK(judge(R"({"dependentRequired": {"a": ["b"]}})", R"({"a": 1})") == false);
  CHECK(judge(R"({"propertyNames": {"maxLength": 1}})", R"({"ab": 1})") == false);
  CHECK(judge(R"({"format": "date"})", "\"x\"") == std::nullopt);
  const auto judge_exactly = [](const char* schema, const char* value) {
    const Json parsed = parse_json(schema, "schema").value();
    return PlainValidator(parsed).judge(parse_json(with_long_numbers(value), "value").value());
  };
  CHECK(judge_exactly(R"({"multipleOf": 3})", "90071992547409931") == false);
  CHECK(judge_exactly(R"({"multipleOf": 3})", "90071992547409930") == true);
  CHECK(judge_exactly(R"({"items": {"type": "integer"}})", "[20412712587242021105496213620061.53]") == false);
  CHECK(judge_exactly(R"({"exclusiveMaximum": 1})", "0.99999999999999999999999") == true);
  CHECK(judge_exactly(R"({"enum": [[1, "12345678901234567"]]})", R"([1.0000000000000000, "12345678901234567"])") ==
        true);
}

}  // namespace lapidary
