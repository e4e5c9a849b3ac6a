// Masks for programs: the machine's steps over a vocabulary, with the short cuts that make them cheap.
#pragma once

#include <memory>

#include "grammar/machine.h"
#include "grammar/recognizer.h"

namespace lapidary::grammar {

// `program` has to outlive it.
std::unique_ptr<Recognizer> make_json_recognizer(const Program& program, const Syntax& syntax);

}  // namespace lapidary::grammar
