#include "grammar/regex.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace lapidary::grammar {

CodePointSet normalized(CodePointSet ranges) {
  std::ranges::sort(ranges, {}, &CodePointRange::first);
  CodePointSet result;
  for (const CodePointRange& range : ranges) {
    if (range.first > range.last) continue;
    if (!result.empty() && range.first <= result.back().last + 1) {
      result.back().last = std::max(result.back().last, range.last);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

CodePointSet inverted(const CodePointSet& ranges) {
  CodePointSet result;
  char32_t next = 0;
  for (const CodePointRange& range : ranges) {
    if (range.first > next) result.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= code_point_max) result.push_back({next, code_point_max});
  return result;
}

namespace {

bool contains(const CodePointSet& set, char32_t symbol) {
  const auto after = std::ranges::upper_bound(set, symbol, {}, &CodePointRange::first);
  return after != set.begin() && symbol <= std::prev(after)->last;
}

}  // namespace

size_t RegexArena::Hash::operator()(const Node& node) const {
  uint64_t hash = static_cast<uint64_t>(node.kind) * 0x9E3779B97F4A7C15u ^ node.min;
  const auto mix = [&](uint64_t value) { hash = (hash ^ value) * 0xBF58476D1CE4E5B9u, hash ^= hash >> 29; };
  mix(node.max);
  for (const uint32_t part : node.parts) mix(part);
  return hash;
}

RegexArena::RegexArena() {
  intern({Kind::empty, false, 0, 0, {}});
  intern({Kind::epsilon, true, 0, 0, {}});
}

RegexId RegexArena::intern(Node node) {
  const auto [place, added] = index_.try_emplace(std::move(node), static_cast<RegexId>(nodes_.size()));
  if (added) nodes_.push_back(place->first);
  return place->second;
}

RegexId RegexArena::set(CodePointSet ranges) {
  ranges = normalized(std::move(ranges));
  if (ranges.empty()) return empty();
  const std::string key(reinterpret_cast<const char*>(ranges.data()), ranges.size() * sizeof(CodePointRange));
  const auto [place, added] = set_index_.try_emplace(key, static_cast<uint32_t>(sets_.size()));
  if (added) sets_.push_back(std::move(ranges));
  return intern({Kind::set, false, 0, 0, {place->second}});
}

RegexId RegexArena::concat(RegexId first, RegexId second) {
  if (first == empty() || second == empty()) return empty();
  if (first == epsilon()) return second;
  if (second == epsilon()) return first;
  if (nodes_[first].kind == Kind::concat) {
    const uint32_t head = nodes_[first].parts[0], tail = nodes_[first].parts[1];
    return concat(head, concat(tail, second));
  }
  return intern({Kind::concat, nullable(first) && nullable(second), 0, 0, {first, second}});
}

RegexId RegexArena::list(Kind kind, std::vector<RegexId> parts) {
  std::vector<RegexId> flat;
  for (const RegexId part : parts) {
    if (nodes_[part].kind == kind) {
      flat.insert(flat.end(), nodes_[part].parts.begin(), nodes_[part].parts.end());
    } else {
      flat.push_back(part);
    }
  }
  work_ += flat.size();
  std::ranges::sort(flat);
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  bool nullable_all = true, nullable_any = false;
  for (const RegexId part : flat) nullable_all &= nullable(part), nullable_any |= nullable(part);
  if (flat.size() == 1) return flat[0];
  return intern({kind, kind == Kind::either ? nullable_any : nullable_all, 0, 0, std::move(flat)});
}

RegexId RegexArena::alternation(std::vector<RegexId> parts) {
  CodePointSet joined;
  std::vector<RegexId> rest;
  size_t sets = 0;
  RegexId last_set = 0;
  for (const RegexId part : parts) {
    const Node& node = nodes_[part];
    if (node.kind == Kind::empty) continue;
    if (node.kind == Kind::negation && node.parts[0] == empty()) return part;
    if (node.kind == Kind::set) {
      joined.insert(joined.end(), sets_[node.parts[0]].begin(), sets_[node.parts[0]].end());
      last_set = part;
      ++sets;
      continue;
    }
    rest.push_back(part);
  }
  if (sets > 0) rest.push_back(sets == 1 ? last_set : set(std::move(joined)));
  if (rest.empty()) return empty();
  return list(Kind::either, std::move(rest));
}

RegexId RegexArena::intersection(std::vector<RegexId> parts) {
  std::vector<RegexId> rest;
  for (const RegexId part : parts) {
    const Node& node = nodes_[part];
    if (node.kind == Kind::empty) return empty();
    if (node.kind == Kind::negation && node.parts[0] == empty()) continue;
    rest.push_back(part);
  }
  if (rest.empty()) return negation(empty());
  return list(Kind::both, std::move(rest));
}

RegexId RegexArena::negation(RegexId part) {
  if (nodes_[part].kind == Kind::negation) return nodes_[part].parts[0];
  return intern({Kind::negation, !nullable(part), 0, 0, {part}});
}

RegexId RegexArena::repeat(RegexId part, uint32_t min, uint32_t max) {
  if (max == 0 || part == epsilon()) return epsilon();
  if (part == empty()) return min == 0 ? epsilon() : empty();
  if (nullable(part)) min = 0;
  if (min == 1 && max == 1) return part;
  if (nodes_[part].kind == Kind::repeat && nodes_[part].max == unbounded && nodes_[part].min <= 1 && min <= 1)
    return repeat(nodes_[part].parts[0], std::min(min, nodes_[part].min), unbounded);
  return intern({Kind::repeat, min == 0, min, max, {part}});
}

RegexId RegexArena::characters(std::string_view utf8) {
  std::vector<RegexId> symbols;
  while (!utf8.empty()) {
    const size_t length = utf8_length(utf8);
    if (length == 0) return empty();
    const char32_t character = utf8_decode(utf8, length);
    symbols.push_back(set({{character, character}}));
    utf8.remove_prefix(length);
  }
  RegexId result = epsilon();
  for (size_t i = symbols.size(); i-- > 0;) result = concat(symbols[i], result);
  return result;
}

RegexId RegexArena::derivative(RegexId id, char32_t symbol) {
  if (id <= epsilon()) return empty();
  const uint64_t key = uint64_t{id} << 32 | symbol;
  if (const auto found = memo_.find(key); found != memo_.end()) return found->second;
  const RegexId result = derive(id, symbol);
  memo_.emplace(key, result);
  return result;
}

// The recursion goes as deep as the expression is nested, which the parsers of expressions bound.
RegexId RegexArena::derive(RegexId id, char32_t symbol) {
  const Node node = nodes_[id];
  work_ += 1 + node.parts.size();
  switch (node.kind) {
    case Kind::empty:
    case Kind::epsilon:
      return empty();
    case Kind::set:
      return contains(sets_[node.parts[0]], symbol) ? epsilon() : empty();
    case Kind::concat: {
      const RegexId head = concat(derivative(node.parts[0], symbol), node.parts[1]);
      if (!nullable(node.parts[0])) return head;
      return alternation({head, derivative(node.parts[1], symbol)});
    }
    case Kind::either:
    case Kind::both: {
      std::vector<RegexId> parts;
      parts.reserve(node.parts.size());
      for (const RegexId part : node.parts) {
        const RegexId derived = derivative(part, symbol);
        if (node.kind == Kind::both && derived == empty()) return empty();
        parts.push_back(derived);
      }
      return node.kind == Kind::either ? alternation(std::move(parts)) : intersection(std::move(parts));
    }
    case Kind::negation:
      return negation(derivative(node.parts[0], symbol));
    case Kind::repeat: {
      const RegexId rest =
          repeat(node.parts[0], node.min == 0 ? 0 : node.min - 1, node.max == unbounded ? unbounded : node.max - 1);
      return concat(derivative(node.parts[0], symbol), rest);
    }
  }
  return empty();
}

bool RegexArena::matches(RegexId language, std::string_view utf8) {
  while (!utf8.empty() && language != empty()) {
    const size_t length = utf8_length(utf8);
    if (length == 0) return false;
    language = derivative(language, utf8_decode(utf8, length));
    utf8.remove_prefix(length);
  }
  return accepts_end(language);
}

void RegexArena::collect_sets(RegexId id, std::vector<CodePointSet>& sets) const {
  std::vector<bool> seen(nodes_.size()), set_seen(sets_.size());
  std::vector<RegexId> open{id};
  while (!open.empty()) {
    const RegexId current = open.back();
    open.pop_back();
    if (seen[current]) continue;
    seen[current] = true;
    const Node& node = nodes_[current];
    if (node.kind == Kind::set) {
      if (!set_seen[node.parts[0]]) sets.push_back(sets_[node.parts[0]]);
      set_seen[node.parts[0]] = true;
    } else {
      open.insert(open.end(), node.parts.begin(), node.parts.end());
    }
  }
}

}  // namespace lapidary::grammar
