// replay: the one line that repeats a failure, and the promise that it is printed however the failure shows: as a
// failed expectation, a fatal error of the runtime, a sanitizer's report, a signal, or a hang.
//
// One case runs at a time, so there is one line per process. It is kept ready-made in static storage, because it may
// be needed in a signal handler.
#pragma once
#include <string>

namespace weft::test {

// Names what is about to run. Installs the handlers at the first call.
void set_replay_line(const std::string& line);
const char* replay_line();
void print_replay_sig();

// The path of this executable, as one would type it.
std::string executable();

// A number from the environment, or `otherwise` if it is not set. Anything but a number ends the process: a test run
// with a mistyped seed would prove nothing.
unsigned long long number_from_env(const char* name, unsigned long long otherwise);

// The hang must end: after `seconds` the process prints the replay line, what the Ps, Ms and goroutines of every
// runtime are doing, and aborts. Sanitizer builds get five times as long. Each call replaces the one before.
void set_watchdog(unsigned seconds);
void clear_watchdog();

// The state the watchdog prints, on stderr. Takes no locks: numbers may be torn.
void print_state_sig();

}  // namespace weft::test
