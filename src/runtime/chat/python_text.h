// The few things that the chat format's official template leaves to Python: how values become text, what counts as
// space, how keys are sorted.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace lapidary {

// str.strip(): without the Unicode whitespace at both ends.
std::string_view python_strip(std::string_view text);

// str(value): texts as they are; None, True, 1.0, 1e-05, ['a', None], {'k': 1}.
std::string python_str(const OrderedJson& value);

// bool(value): null, false, 0, "", [] and {} are false.
bool python_true(const OrderedJson& value);

// value.upper() of str(value). Only ASCII letters change: the words of JSON Schema have no others.
std::string python_upper(const OrderedJson& value);

// The members of an object in the order of Jinja's `dictsort`: by key, small and capital letters alike (of the Latin,
// Greek and Cyrillic alphabets), equals as they stand.
std::vector<std::pair<std::string_view, const OrderedJson*>> sorted_members(const OrderedJson& object);

}  // namespace lapidary
