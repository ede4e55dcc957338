// The process as it is before the first runtime, put back before each execution.
#include "model/process.hpp"

#include <cstring>

#include "checker/machine.hpp"
#include "weft/detail/config.hpp"

namespace weft::check {
namespace {

alignas(64) unsigned char pristine[sizeof(rt::process)];
void (*system_reset_before)() = nullptr;

void reset() {
  if (system_reset_before != nullptr) system_reset_before();
  std::memcpy(static_cast<void*>(&rt::the_process), pristine, sizeof pristine);
}

}  // namespace

// Called once, before the first execution.
void keep_pristine_process() {
  std::memcpy(pristine, static_cast<const void*>(&rt::the_process), sizeof pristine);
  system_reset_before = state_hooks.reset;
  state_hooks.reset = reset;
}

}  // namespace weft::check
