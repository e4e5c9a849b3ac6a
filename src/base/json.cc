#include "base/json.h"

#include <fmt/format.h>

#include <limits>
#include <vector>

namespace lapidary {
namespace {

// Builds a value from parser events, and stops at the first limit. (nlohmann's own builder has no limits.)
template <typename Value>
class Builder : public nlohmann::json_sax<Value> {
 public:
  Builder(const JsonLimits& limits, bool members_limited) : limits_(limits), members_limited_(members_limited) {}

  Value root;
  std::string problem;

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(typename Value::number_integer_t value) override { return put(value); }
  bool number_unsigned(typename Value::number_unsigned_t value) override { return put(value); }
  bool number_float(typename Value::number_float_t value, const typename Value::string_t&) override {
    return put(value);
  }
  bool string(typename Value::string_t& value) override { return put(std::move(value)); }
  bool binary(typename Value::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Value::object()); }
  bool start_array(size_t) override { return open(Value::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(typename Value::string_t& key) override {
    if (members_limited_ && stack_.back()->size() >= limits_.members_max)
      return stop(fmt::format("more than {} members in one object", limits_.members_max));
    slot_ = &(*stack_.back())[key];  // a repeated key: the last one counts, as in most parsers
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    if (problem.empty()) {
      std::string_view text = e.what();
      if (const auto colon = text.find("]"); colon != std::string_view::npos)
        text.remove_prefix(std::min(colon + 2, text.size()));
      problem = fmt::format("{} (byte {})", text, position);
    }
    return false;
  }

 private:
  template <typename T>
  Value* place(T&& value) {
    if (++values_ > limits_.values_max) {
      stop(fmt::format("more than {} values", limits_.values_max));
      return nullptr;
    }
    if (stack_.empty()) {
      root = std::forward<T>(value);
      return &root;
    }
    if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::forward<T>(value));
      return &stack_.back()->back();
    }
    *slot_ = std::forward<T>(value);
    return slot_;
  }
  template <typename T>
  bool put(T&& value) {
    return place(Value(std::forward<T>(value))) != nullptr;
  }
  bool open(Value value) {
    if (stack_.size() >= limits_.depth_max) return stop(fmt::format("nested deeper than {}", limits_.depth_max));
    Value* at = place(std::move(value));
    if (at == nullptr) return false;
    stack_.push_back(at);
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }
  bool stop(std::string why) {
    problem = std::move(why);
    return false;
  }

  const JsonLimits& limits_;
  const bool members_limited_;
  uint64_t values_ = 0;
  std::vector<Value*> stack_;
  Value* slot_ = nullptr;
};

template <typename Value>
Result<Value> parse(std::string_view text, std::string_view where, const JsonLimits& limits, bool members_limited) {
  Builder<Value> builder(limits, members_limited);
  if (!Value::sax_parse(text.begin(), text.end(), &builder) || !builder.problem.empty())
    return malformed(std::string(where), "JSON", builder.problem.empty() ? "something else" : builder.problem);
  return std::move(builder.root);
}

std::string position(std::string_view where, const char* key) { return fmt::format("{}: \"{}\"", where, key); }

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  return parse<Json>(text, where, limits, false);
}

Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  return parse<OrderedJson>(text, where, limits, true);
}

Result<int64_t> json_integer(const Json& object, const char* key, int64_t fallback, int64_t min, int64_t max,
                             std::string_view where) {
  const Json* value = member(object, key);
  if (value == nullptr) return fallback;
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() &&
                      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits) return malformed(position(where, key), "a whole number", dump(*value).substr(0, 60));
  const auto number = value->get<int64_t>();
  if (number < min || number > max)
    return malformed(position(where, key), fmt::format("a number from {} to {}", min, max), std::to_string(number));
  return number;
}

Result<double> json_number(const Json& object, const char* key, double fallback, std::string_view where) {
  const Json* value = member(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) return malformed(position(where, key), "a number", dump(*value).substr(0, 60));
  return value->get<double>();
}

Result<bool> json_bool(const Json& object, const char* key, bool fallback, std::string_view where) {
  const Json* value = member(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return malformed(position(where, key), "true or false", dump(*value).substr(0, 60));
  return value->get<bool>();
}

Result<std::string> json_string(const Json& object, const char* key, std::string_view fallback,
                                std::string_view where) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) return malformed(position(where, key), "a string", dump(*value).substr(0, 60));
  return value->get<std::string>();
}

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }
std::string dump(const OrderedJson& value) { return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace); }

}  // namespace lapidary
