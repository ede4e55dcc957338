// A file of its own, because it looks into src/. The two functions that the loops call contain what is to be
// counted and nothing else, so that a disassembler can count it too.
#include "probe/door.hpp"

#include "arch/getg.hpp"
#include "sched/enter.hpp"

namespace bench {
namespace {

[[gnu::noinline]] void one_entry(weft::rt::g* gp) { weft::rt::enter inside(gp); }
[[gnu::noinline]] void nothing(weft::rt::g* gp) { asm volatile("" : : "r"(gp) : "memory"); }

}  // namespace

void through_the_door(std::uint64_t n) {
  for (weft::rt::g* gp = weft::rt::getg(); n != 0; --n) one_entry(gp);
}

void past_the_door(std::uint64_t n) {
  for (weft::rt::g* gp = weft::rt::getg(); n != 0; --n) nothing(gp);
}

}  // namespace bench
