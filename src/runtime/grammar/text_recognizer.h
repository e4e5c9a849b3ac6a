// A whole text that an automaton describes: regular expressions.
#pragma once

#include <memory>

#include "grammar/recognizer.h"
#include "grammar/regex.h"

namespace lapidary::grammar {

// `dfa` has to outlive it.
std::unique_ptr<Recognizer> make_text_recognizer(const Dfa& dfa);

}  // namespace lapidary::grammar
