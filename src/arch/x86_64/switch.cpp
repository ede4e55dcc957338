// The C++ half of the switch for x86-64: the thread-local word, and how a fresh stack looks.
#include "arch/getg.hpp"
#include "arch/gobuf.hpp"

// Defined here, read in getg.hpp. Used in assembly only, hence `used`; C linkage for its plain name.
extern "C" {
[[gnu::used, gnu::tls_model("initial-exec"), gnu::visibility("hidden")]] __thread weft::rt::g* weft_g = nullptr;
}

namespace weft::rt {

gobuf first_frame(std::uintptr_t sp0) {
  // weft_switch pops six zeros and returns into weft_goroutine_start with sp % 16 == 0 there; its call
  // then enters C++ with the alignment of any called function.
  auto* word = reinterpret_cast<std::uintptr_t*>(sp0);
  *--word = 0;  // a return address of zero above the first frame, for walkers without CFI
  *--word = 0;
  *--word = reinterpret_cast<std::uintptr_t>(&weft_goroutine_start);
  for (int i = 0; i < 6; ++i) *--word = 0;
  return gobuf{reinterpret_cast<std::uintptr_t>(word)};
}

}  // namespace weft::rt
