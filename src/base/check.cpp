#include "base/check.hpp"

#include "base/atomic.hpp"
#include "base/floor.hpp"
#include "base/print.hpp"

namespace weft::rt {
namespace {

constinit atomic<dump_fn> dump_wire{nullptr};
constinit atomic<bool> dying{false};

[[noreturn]] void die() {
  // A second failure, or one inside the dump, must not hide the first.
  if (!dying.exchange(true, acq_rel)) {
    if (dump_fn fn = dump_wire.load(acquire)) fn();
  }
  os::exit_process(2);
}

}  // namespace

void set_fatal_dump(dump_fn fn) { dump_wire.store(fn, release); }

void fatal(const char* text) {
  line{}.text("fatal error: ").text(text).text("\n").flush_sig();
  die();
}

void fatal(const char* text, unsigned long long a, unsigned long long b) {
  line{}.text("fatal error: ").text(text).text(" (").hex(a).text(", ").hex(b).text(")\n").flush_sig();
  die();
}

}  // namespace weft::rt
