// What a model may change about the system under it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft::check {

struct system_answers {
  std::uint32_t refuse_threads = 0;  // so many thread_start from now on fail with EAGAIN
  void (*deadlock)() = nullptr;      // called by who reports one, instead of a failure; does not return
  bool no_membarrier = false;        // the kernel does not know it
  bool membarrier_fails = false;     // each call may be refused from now on: a choice
  bool threads_sleep = false;        // who looks finds all threads asleep in the kernel,
  std::int64_t cpu_step = 0;         // or, this not 0, to have used so much CPU since anybody looked last
  std::int64_t cpu = 0;
};
system_answers& system_now();
// Before each execution.
void system_reset();

inline constexpr std::size_t zeroed_bytes = std::size_t{128} << 10;

}  // namespace weft::check
