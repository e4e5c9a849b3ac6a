// Who listens on a TCP port, for the message that says it is taken.
#pragma once

#include <cstdint>
#include <string>

namespace lapidary {

// "ollama (process 1234)"; "a process of user 1001" if it may not be looked into; "" if nobody is found.
std::string port_owner(uint16_t port);

}  // namespace lapidary
