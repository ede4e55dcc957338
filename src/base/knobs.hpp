// knobs: WEFT_DEBUG=name=value,name=value. One table; an unknown name is an error that lists them all.
// Knobs are for developers of the runtime; what users set are options, each with a WEFT_<OPTION> variable.
#pragma once
#include <cstdint>

namespace weft::rt {

struct knobs {
  std::uint64_t schedtrace = 0;  // print the scheduler's line every so many milliseconds
  std::uint64_t seed = 0;        // seeds every choice; 0: a random one
  std::uint64_t guard = 0;       // os::guard_method, by name
  std::uint64_t noise = 0;       // base/noise.hpp; checked builds only
  std::uint64_t scheddetail = 0;
  std::uint64_t schedformat = 0;  // 0: Go 1.25 and newer; 1: Go 1.23
  std::uint64_t rest = 0;         // milliseconds until an idle M ends; 0: never
  std::uint64_t membarrier = 0;   // 1: not used
  std::uint64_t takeback = 0;     // 1: sysmon takes no P
  std::uint64_t weight = 0;       // 1: threads weigh what the kernel gives them
  std::uint64_t stall = 0;        // report goroutines that make no call for so many milliseconds; 0: none
  std::uint64_t revokedelay = 0;  // milliseconds between the steps of a revoker
  std::uint64_t spin = 0;         // microseconds that an M without work looks around before it sleeps
};

// The defaults, changed by WEFT_DEBUG. Returns null, or a message that names what is wrong (static storage of
// `message`, which must hold 1000 bytes).
bool parse_knobs(const char* text, knobs* out, char* message, unsigned long message_bytes);

}  // namespace weft::rt
