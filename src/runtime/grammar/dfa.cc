// Expressions -> automata.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/utf8.h"
#include "grammar/regex.h"

namespace lapidary::grammar {
namespace {

constexpr char32_t ascii_end = 0x80;
constexpr char32_t surrogate_first = 0xD800, surrogate_last = 0xDFFF;

constexpr std::array<CodePointRange, 9> odd_ranges = {{{0xA0, 0xA0},
                                                       {0x1680, 0x1680},
                                                       {0x2000, 0x200A},
                                                       {0x2028, 0x2029},
                                                       {0x202F, 0x202F},
                                                       {0x205F, 0x205F},
                                                       {0x3000, 0x3000},
                                                       {0xFEFF, 0xFEFF},
                                                       {0x0085, 0x0085}}};

// Characters that no set of the expressions tells apart.
struct Classes {
  std::vector<char32_t> starts;    // of ranges, ascending, from 0
  std::vector<uint16_t> class_of;  // by range
  std::vector<char32_t> examples;  // by class
  std::vector<bool> written;       // by class: has more than halves of UTF-16 pairs, which no text can have
};

Classes partition(const std::vector<CodePointSet>& sets) {
  std::vector<char32_t> starts{0};
  for (const CodePointSet& set : sets)
    for (const CodePointRange& range : set) {
      if (range.first > code_point_max) continue;
      starts.push_back(range.first);
      if (range.last < code_point_max) starts.push_back(range.last + 1);
    }
  std::ranges::sort(starts);
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  std::vector<std::vector<uint32_t>> members(starts.size());  // by range: the sets it is in
  for (size_t s = 0; s < sets.size(); ++s)
    for (const CodePointRange& range : sets[s]) {
      if (range.first > code_point_max) continue;
      auto i = static_cast<size_t>(std::ranges::lower_bound(starts, range.first) - starts.begin());
      for (; i < starts.size() && starts[i] <= range.last; ++i) members[i].push_back(static_cast<uint32_t>(s));
    }
  Classes classes;
  std::map<std::vector<uint32_t>, uint16_t> index;
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto [place, added] = index.try_emplace(members[i], static_cast<uint16_t>(classes.examples.size()));
    if (added) classes.examples.push_back(starts[i]), classes.written.push_back(false);
    const char32_t last = i + 1 < starts.size() ? starts[i + 1] - 1 : code_point_max;
    if (starts[i] < surrogate_first || last > surrogate_last) classes.written[place->second] = true;
    classes.starts.push_back(starts[i]);
    classes.class_of.push_back(place->second);
  }
  return classes;
}

void fill_classes(const Classes& classes, Dfa& dfa) {
  dfa.classes = static_cast<uint32_t>(classes.examples.size());
  for (size_t i = 0; i < classes.starts.size(); ++i) {
    const char32_t first = classes.starts[i];
    const char32_t end = i + 1 < classes.starts.size() ? classes.starts[i + 1] : code_point_max + 1;
    for (char32_t c = first; c < std::min(end, ascii_end); ++c) dfa.ascii_class[c] = classes.class_of[i];
    if (end <= ascii_end) continue;
    dfa.starts.push_back(std::max(first, ascii_end));
    dfa.start_class.push_back(classes.class_of[i]);
  }
}

struct Automaton {  // before dead states are merged
  std::vector<std::vector<RegexId>> states;
  std::vector<std::vector<uint32_t>> next;
  std::vector<uint32_t> outputs;
};

Result<Automaton> explore(RegexArena& arena, const std::vector<RegexId>& languages, const Classes& classes,
                          const DfaBudget& budget) {
  Automaton automaton;
  std::map<std::vector<RegexId>, uint32_t> index;
  const size_t nodes_max = arena.size() + size_t{10} * budget.states;
  const uint64_t work_max = arena.work() + budget.work;
  const auto state_of = [&](std::vector<RegexId> key) {
    const auto [place, added] = index.try_emplace(std::move(key), static_cast<uint32_t>(automaton.states.size()));
    if (added) {
      uint32_t outputs = 0;
      for (size_t i = 0; i < place->first.size(); ++i) outputs |= uint32_t{arena.accepts_end(place->first[i])} << i;
      automaton.states.push_back(place->first);
      automaton.outputs.push_back(outputs);
    }
    return place->second;
  };
  state_of(languages);
  uint64_t steps = 0;
  for (uint32_t state = 0; state < automaton.states.size(); ++state) {
    std::vector<uint32_t> row;
    for (size_t c = 0; c < classes.examples.size(); ++c) {
      std::vector<RegexId> key;
      key.reserve(languages.size());
      const std::vector<RegexId> from = automaton.states[state];
      for (const RegexId language : from)
        key.push_back(classes.written[c] ? arena.derivative(language, classes.examples[c]) : arena.empty());
      if (arena.work() > work_max || arena.effort() > automata_effort_max)
        return fail(ErrorKind::limit, "", "its automaton takes too long to make");
      row.push_back(state_of(std::move(key)));
      ++steps;
      arena.count_step();
    }
    automaton.next.push_back(std::move(row));
    if (automaton.states.size() > budget.states || steps > budget.steps || arena.size() > nodes_max)
      return fail(ErrorKind::limit, "", fmt::format("its automaton has more than {} states", automaton.states.size()));
  }
  return automaton;
}

// Characters to the nearest accepting state, backwards and breadth first; unbounded: none.
std::vector<uint32_t> nearest_accepting(const Automaton& automaton, const std::vector<bool>& accepting) {
  const size_t count = automaton.states.size();
  std::vector<std::vector<uint32_t>> before(count);
  for (uint32_t state = 0; state < count; ++state)
    for (const uint32_t next : automaton.next[state])
      if (before[next].empty() || before[next].back() != state) before[next].push_back(state);
  std::vector<uint32_t> distance(count, unbounded), queue;
  for (uint32_t state = 0; state < count; ++state)
    if (accepting[state]) distance[state] = 0, queue.push_back(state);
  for (size_t i = 0; i < queue.size(); ++i)
    for (const uint32_t state : before[queue[i]])
      if (distance[state] == unbounded) distance[state] = distance[queue[i]] + 1, queue.push_back(state);
  return distance;
}

// Longest ways forward: by taking away, again and again, the states with no way on; what is left lies before a loop.
void fill_farthest(Dfa& dfa) {
  std::vector<std::vector<uint32_t>> before(dfa.states);
  std::vector<uint32_t> open(dfa.states);
  for (uint32_t state = 1; state < dfa.states; ++state)
    for (uint32_t c = 0; c < dfa.classes; ++c)
      if (const uint32_t next = dfa.next[state * dfa.classes + c]; next != Dfa::dead)
        before[next].push_back(state), ++open[state];
  dfa.farthest.assign(dfa.states, unbounded);
  std::vector<uint32_t> queue, longest(dfa.states);
  for (uint32_t state = 1; state < dfa.states; ++state)
    if (open[state] == 0) queue.push_back(state);
  for (size_t i = 0; i < queue.size(); ++i) {
    dfa.farthest[queue[i]] = longest[queue[i]];
    for (const uint32_t state : before[queue[i]]) {
      longest[state] = std::max(longest[state], longest[queue[i]] + 1);
      if (--open[state] == 0) queue.push_back(state);
    }
  }
}

// Characters of each class, without halves of pairs.
std::vector<uint64_t> class_widths(const Dfa& dfa) {
  std::vector<uint64_t> width(dfa.classes);
  for (char32_t c = 0; c < ascii_end; ++c) ++width[dfa.ascii_class[c]];
  for (size_t i = 0; i < dfa.starts.size(); ++i) {
    const char32_t first = dfa.starts[i], last = i + 1 < dfa.starts.size() ? dfa.starts[i + 1] - 1 : code_point_max;
    const char32_t from = std::max(first, surrogate_first), to = std::min(last, surrogate_last);
    width[dfa.start_class[i]] += last - first + 1 - (from <= to ? to - from + 1 : 0);
  }
  return width;
}

// Kinds of characters that a class holds.
struct ClassKinds {
  bool ascii = false, word = false, wide = false, odd = false;
};

std::vector<ClassKinds> class_kinds(const Dfa& dfa) {
  std::vector<ClassKinds> kinds(dfa.classes);
  for (char32_t c = 0; c < ascii_end; ++c) {
    ClassKinds& kind = kinds[dfa.ascii_class[c]];
    kind.ascii = true;
    kind.word |= (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  }
  for (size_t i = 0; i < dfa.starts.size(); ++i) {
    const char32_t last = i + 1 < dfa.starts.size() ? dfa.starts[i + 1] - 1 : code_point_max;
    bool all_odd = last - dfa.starts[i] < 64, any_odd = false;
    for (char32_t c = dfa.starts[i]; all_odd && c <= last; ++c) all_odd = is_odd(c);
    for (const CodePointRange& range : odd_ranges) any_odd |= range.first <= last && range.last >= dfa.starts[i];
    kinds[dfa.start_class[i]].odd |= any_odd;
    kinds[dfa.start_class[i]].wide |= !all_odd;
  }
  return kinds;
}

constexpr std::array<uint64_t, 2> word_ascii = {0x03FF000000000000u, 0x07FFFFFE07FFFFFEu};

// A state has a run of 1 if what may follow it may not all follow a state behind it; else one more than the shortest
// behind it, which is a search backwards, breadth first.
std::vector<uint32_t> find_runs(const Dfa& dfa, const std::vector<ClassKinds>& kinds, bool words) {
  std::vector<uint32_t> run(dfa.states, unbounded), queue;
  std::vector<std::vector<uint32_t>> before(dfa.states);
  const std::array<uint64_t, 2> mask = words ? word_ascii : std::array<uint64_t, 2>{~uint64_t{0}, ~uint64_t{0}};
  for (uint32_t state = 1; state < dfa.states; ++state) {
    const bool wide = !words && dfa.wide_alive[state] != 0, odd = !words && dfa.odd_alive[state] != 0;
    bool narrows = false;
    for (uint32_t c = 0; c < dfa.classes; ++c) {
      const uint32_t next = dfa.next[state * dfa.classes + c];
      const bool counts = (words ? kinds[c].word : kinds[c].ascii) || (wide && kinds[c].wide) || (odd && kinds[c].odd);
      if (next == Dfa::dead || !counts) continue;
      narrows |= (dfa.alive[state * 2] & ~dfa.alive[next * 2] & mask[0]) != 0 ||
                 (dfa.alive[state * 2 + 1] & ~dfa.alive[next * 2 + 1] & mask[1]) != 0 ||
                 (wide && dfa.wide_alive[next] == 0) || (odd && dfa.odd_alive[next] == 0);
      if (before[next].empty() || before[next].back() != state) before[next].push_back(state);
    }
    if (narrows) run[state] = 1, queue.push_back(state);
  }
  for (size_t i = 0; i < queue.size(); ++i)
    for (const uint32_t state : before[queue[i]])
      if (run[state] == unbounded) run[state] = run[queue[i]] + 1, queue.push_back(state);
  return run;
}

void fill_runs(Dfa& dfa) {
  dfa.alive.assign(size_t{dfa.states} * 2, 0);
  dfa.wide_alive.assign(dfa.states, 1);
  dfa.odd_alive.assign(dfa.states, 1);
  const std::vector<ClassKinds> kinds = class_kinds(dfa);
  for (uint32_t state = 0; state < dfa.states; ++state) {
    for (char32_t c = 0; c < ascii_end; ++c)
      if (dfa.step(state, c) != Dfa::dead) dfa.alive[state * 2 + c / 64] |= uint64_t{1} << (c % 64);
    for (uint32_t c = 0; c < dfa.classes; ++c) {
      if (dfa.next[state * dfa.classes + c] != Dfa::dead) continue;
      if (kinds[c].wide) dfa.wide_alive[state] = 0;
      if (kinds[c].odd) dfa.odd_alive[state] = 0;
    }
  }
  dfa.run = find_runs(dfa, kinds, false);
  dfa.word_run = find_runs(dfa, kinds, true);
  for (uint32_t state = 1; state < dfa.states; ++state) {
    dfa.nearest_max = std::max(dfa.nearest_max, dfa.nearest[state]);
    dfa.endless &= dfa.farthest[state] == unbounded;
  }
}

}  // namespace

bool is_odd(char32_t character) {
  return std::ranges::any_of(
      odd_ranges, [&](const CodePointRange& range) { return character >= range.first && character <= range.last; });
}

bool Dfa::absorbs(uint32_t state, const SubtreeContent& content) const {
  if ((content.ascii[0] & ~alive[state * 2]) != 0 || (content.ascii[1] & ~alive[state * 2 + 1]) != 0) return false;
  if (content.characters_max <= run[state])
    return (!content.wide || wide_alive[state] != 0) && (!content.odd || odd_alive[state] != 0);
  return content.characters_max <= word_run[state] && !content.wide && !content.odd &&
         (content.ascii[0] & ~word_ascii[0]) == 0 && (content.ascii[1] & ~word_ascii[1]) == 0;
}

uint32_t Dfa::class_of(char32_t character) const {
  if (character < ascii_end) return ascii_class[character];
  const auto after = std::ranges::upper_bound(starts, character);
  return start_class[static_cast<size_t>(after - starts.begin()) - 1];
}

bool Dfa::leads_on(uint32_t state, CodePointRange range, uint64_t most, uint64_t least) const {
  return any_next(state, range,
                  [&](uint32_t to) { return to != dead && nearest[to] <= most && farthest[to] >= least; });
}

// Backwards from where texts end. A state changes at most twice: to an output, and to several.
void find_sole_outputs(Dfa& dfa) {
  constexpr uint32_t several = ~uint32_t{0};
  std::vector<std::vector<uint32_t>> before(dfa.states);
  for (uint32_t state = 1; state < dfa.states; ++state)
    for (uint32_t c = 0; c < dfa.classes; ++c)
      if (const uint32_t next = dfa.next[state * dfa.classes + c]; next != Dfa::dead)
        if (before[next].empty() || before[next].back() != state) before[next].push_back(state);
  dfa.sole_output = dfa.outputs;
  std::vector<uint32_t> queue;
  for (uint32_t state = 1; state < dfa.states; ++state)
    if (dfa.outputs[state] != 0) queue.push_back(state);
  for (size_t i = 0; i < queue.size(); ++i)
    for (const uint32_t state : before[queue[i]]) {
      uint32_t& sole = dfa.sole_output[state];
      const uint32_t merged = sole == 0 || sole == dfa.sole_output[queue[i]] ? dfa.sole_output[queue[i]] : several;
      if (merged == sole) continue;
      sole = merged;
      queue.push_back(state);
    }
  std::ranges::replace(dfa.sole_output, several, uint32_t{0});
}

uint32_t Dfa::outputs_of(std::string_view utf8) const {
  uint32_t state = start;
  for (size_t at = 0; at < utf8.size();) {
    const size_t length = std::max<size_t>(1, utf8_length(utf8.substr(at)));
    state = step(state, utf8_decode(utf8.substr(at), length));
    at += length;
  }
  return outputs[state];
}

uint64_t Dfa::words_through(std::span<const uint32_t> words_from, uint32_t state, CodePointRange range) const {
  uint64_t sum = 0;
  for (char32_t c = range.first; c < ascii_end && c <= range.last; ++c) sum += words_from[step(state, c)];
  if (range.last < ascii_end || range.first > range.last) return sum;
  const auto after = std::ranges::upper_bound(starts, std::max(range.first, ascii_end));
  for (auto i = static_cast<size_t>(after - starts.begin()) - 1; i < starts.size() && starts[i] <= range.last; ++i) {
    const char32_t end = i + 1 < starts.size() ? starts[i + 1] - 1 : code_point_max;
    const char32_t last = std::min(range.last, end);
    sum += uint64_t{last - std::max(range.first, starts[i]) + 1} * words_from[next[state * classes + start_class[i]]];
  }
  return sum;
}

// Backwards from where the texts end, each state behind all that follow it; what is never reached so lies before a
// loop.
std::vector<uint32_t> count_words(const Dfa& dfa, uint32_t outputs) {
  const auto ends = [&](uint32_t state) { return outputs == 0 ? dfa.accepts(state) : dfa.outputs[state] == outputs; };
  std::vector<std::vector<uint32_t>> before(dfa.states);
  for (uint32_t state = 1; state < dfa.states; ++state)
    for (uint32_t c = 0; c < dfa.classes; ++c)
      if (const uint32_t next = dfa.next[state * dfa.classes + c]; next != Dfa::dead) before[next].push_back(state);
  std::vector<bool> leads(dfa.states);
  std::vector<uint32_t> queue;
  for (uint32_t state = 1; state < dfa.states; ++state)
    if (ends(state)) leads[state] = true, queue.push_back(state);
  for (size_t i = 0; i < queue.size(); ++i)
    for (const uint32_t state : before[queue[i]])
      if (!leads[state]) leads[state] = true, queue.push_back(state);
  std::vector<uint32_t> open(dfa.states), words(dfa.states);
  queue.clear();
  for (uint32_t state = 1; state < dfa.states; ++state) {
    if (!leads[state]) continue;
    words[state] = unbounded;
    for (uint32_t c = 0; c < dfa.classes; ++c) open[state] += leads[dfa.next[state * dfa.classes + c]] ? 1 : 0;
    if (open[state] == 0) queue.push_back(state);
  }
  const std::vector<uint64_t> width = class_widths(dfa);
  for (size_t i = 0; i < queue.size(); ++i) {
    const uint32_t state = queue[i];
    uint64_t sum = ends(state) ? 1 : 0;
    for (uint32_t c = 0; c < dfa.classes && sum < unbounded; ++c)
      sum += width[c] * words[dfa.next[state * dfa.classes + c]];
    words[state] = static_cast<uint32_t>(std::min<uint64_t>(sum, unbounded));
    for (const uint32_t from : before[state])
      if (leads[from] && --open[from] == 0) queue.push_back(from);
  }
  return words;
}

Result<Dfa> build_dfa(RegexArena& arena, const std::vector<RegexId>& languages, const WantedOutputs& wanted,
                      const DfaBudget& budget) {
  std::vector<CodePointSet> sets;
  for (const RegexId language : languages) arena.collect_sets(language, sets);
  const Classes classes = partition(sets);
  LAPIDARY_TRY(const Automaton automaton, explore(arena, languages, classes, budget));
  std::vector<bool> accepting;
  for (const uint32_t outputs : automaton.outputs) accepting.push_back(wanted.empty() ? outputs != 0 : wanted[outputs]);
  const std::vector<uint32_t> distance = nearest_accepting(automaton, accepting);

  Dfa dfa;
  fill_classes(classes, dfa);
  std::vector<uint32_t> number(automaton.states.size(), Dfa::dead);
  dfa.states = 1;
  for (size_t state = 0; state < number.size(); ++state)
    if (distance[state] != unbounded) number[state] = dfa.states++;
  dfa.start = number[0];
  dfa.next.assign(size_t{dfa.states} * dfa.classes, Dfa::dead);
  dfa.outputs.assign(dfa.states, 0);
  dfa.nearest.assign(dfa.states, unbounded);
  for (size_t state = 0; state < number.size(); ++state) {
    const uint32_t id = number[state];
    if (id == Dfa::dead) continue;
    dfa.outputs[id] = accepting[state] ? automaton.outputs[state] : 0;
    dfa.nearest[id] = distance[state];
    for (uint32_t c = 0; c < dfa.classes; ++c) dfa.next[id * dfa.classes + c] = number[automaton.next[state][c]];
  }
  dfa.fingerprint = {0xCBF29CE484222325u, 0x84222325CBF29CE4u};
  const auto mix = [&](uint64_t value) {
    for (size_t i = 0; i < 2; ++i) {
      dfa.fingerprint[i] = (dfa.fingerprint[i] ^ value) * (i == 0 ? 0x9E3779B97F4A7C15u : 0xBF58476D1CE4E5B9u);
      dfa.fingerprint[i] ^= dfa.fingerprint[i] >> 31;
    }
  };
  for (const uint32_t next : dfa.next) mix(next);
  for (const uint32_t outputs : dfa.outputs) mix(outputs);
  for (const uint16_t c : dfa.ascii_class) mix(c);
  for (size_t i = 0; i < dfa.starts.size(); ++i) mix(uint64_t{dfa.starts[i]} << 16 | dfa.start_class[i]);
  fill_farthest(dfa);
  dfa.words = count_words(dfa, 0);
  fill_runs(dfa);
  find_sole_outputs(dfa);
  return dfa;
}

size_t dfa_bytes(const Dfa& dfa) {
  const size_t per_state = sizeof(uint32_t) * (dfa.classes + 7) + 2 * sizeof(uint64_t) + 2;
  return sizeof dfa + dfa.states * per_state + dfa.starts.size() * (sizeof(char32_t) + sizeof(uint16_t));
}

}  // namespace lapidary::grammar
