// floor: the few functions of the system floor that base itself needs: to say why the process ends, to end it, and
// to let time pass (noise.hpp). Declared here because base includes no other room; src/os defines them beside all
// the others, so a search that links another floor exchanges them too (RELIABILITY 3.1, rule 2).
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft::rt::os {

// Writes to stderr; false when no more can be written. Safe in a signal handler; errno is left alone.
bool write_error(const char* text, std::size_t n);
// The process ends: at once and without destructors, or by SIGABRT.
[[noreturn]] void exit_process(int status);
[[noreturn]] void abort_process();

void pause();         // the spin hint: the model's yield
void yield_thread();  // sched_yield
void sleep_ns(std::int64_t ns);

}  // namespace weft::rt::os
