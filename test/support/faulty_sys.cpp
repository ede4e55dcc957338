// The linker's --wrap=f sends each call of f to __wrap_f and gives the real one the name __real_f. The names are the
// mangled ones; if a signature in os/sys.hpp changes, __real_… is undefined here and the link says so.
#include "support/faulty_sys.hpp"

#include "os/sys.hpp"

namespace weft::test::faulty {
namespace {

using rt::acq_rel;
using rt::acquire;
using rt::relaxed;
using rt::release;

struct order {
  rt::atomic<unsigned> calls{0};
  rt::atomic<unsigned> first{0};
  rt::atomic<unsigned> last{0};
  rt::atomic<int> err{0};
  rt::atomic<bool> failed{false};
};

constinit order orders[5];
constinit rt::atomic<unsigned> spurious{0};
constinit rt::atomic<void (*)(void*)> hook_fn{nullptr};
constinit rt::atomic<void*> hook_arg{nullptr};

order& of(call which) { return orders[static_cast<int>(which)]; }

// The errno value to fail with, or 0.
int fault(call which) {
  order& o = of(which);
  const unsigned n = o.calls.fetch_add(1, acq_rel) + 1;
  const unsigned first = o.first.load(acquire);
  if (first == 0 || n < first || n > o.last.load(relaxed)) return 0;
  o.failed.store(true, release);
  if (auto* hook = hook_fn.load(acquire)) hook(hook_arg.load(relaxed));
  return o.err.load(relaxed);
}

}  // namespace

void fail(call which, unsigned k, int err, unsigned times) {
  order& o = of(which);
  o.first.store(0, relaxed);
  o.calls.store(0, relaxed);
  o.failed.store(false, relaxed);
  o.err.store(err, relaxed);
  o.last.store(times > ~0u - k ? ~0u : k + times - 1, relaxed);
  o.first.store(k, release);
}

bool has_failed(call which) { return of(which).failed.load(acquire); }
unsigned calls(call which) { return of(which).calls.load(acquire); }
void spurious_futex_waits(unsigned n) { spurious.store(n, relaxed); }

void at_failure(void (*hook)(void* arg), void* arg) {
  hook_arg.store(arg, relaxed);
  hook_fn.store(hook, release);
}

void reset() {
  for (const call which : {call::thread_start, call::reserve, call::install_guards, call::futex_wait})
    fail(which, 0, 0);
  spurious_futex_waits(0);
  at_failure(nullptr, nullptr);
}

int real_thread_start(rt::os::thread* out, void (*fn)(void*),
                      void* arg) asm("__real__ZN4weft2rt2os12thread_startEPNS1_6threadEPFvPvES4_");
void* real_reserve(std::size_t bytes, int* err) asm("__real__ZN4weft2rt2os7reserveEmPi");
int real_install_guards(rt::os::guard_method how, std::span<const rt::os::range> ranges) asm(
    "__real__ZN4weft2rt2os14install_guardsENS1_12guard_methodESt4spanIKNS1_5rangeELm18446744073709551615EE");
void real_futex_wait(rt::atomic<std::uint32_t>* word, std::uint32_t expected,
                     std::int64_t timeout_ns) asm("__real__ZN4weft2rt2os10futex_waitEPSt6atomicIjEjl");

int wrap_thread_start(rt::os::thread* out, void (*fn)(void*),
                      void* arg) asm("__wrap__ZN4weft2rt2os12thread_startEPNS1_6threadEPFvPvES4_");
int wrap_thread_start(rt::os::thread* out, void (*fn)(void*), void* arg) {
  if (const int err = fault(call::thread_start)) return err;
  return real_thread_start(out, fn, arg);
}

void* wrap_reserve(std::size_t bytes, int* err) asm("__wrap__ZN4weft2rt2os7reserveEmPi");
void* wrap_reserve(std::size_t bytes, int* err) {
  if (const int e = fault(call::reserve)) {
    *err = e;
    return nullptr;
  }
  return real_reserve(bytes, err);
}

int wrap_install_guards(rt::os::guard_method how, std::span<const rt::os::range> ranges) asm(
    "__wrap__ZN4weft2rt2os14install_guardsENS1_12guard_methodESt4spanIKNS1_5rangeELm18446744073709551615EE");
int wrap_install_guards(rt::os::guard_method how, std::span<const rt::os::range> ranges) {
  if (const int err = fault(call::install_guards)) return err;
  return real_install_guards(how, ranges);
}

void wrap_futex_wait(rt::atomic<std::uint32_t>* word, std::uint32_t expected,
                     std::int64_t timeout_ns) asm("__wrap__ZN4weft2rt2os10futex_waitEPSt6atomicIjEjl");
void wrap_futex_wait(rt::atomic<std::uint32_t>* word, std::uint32_t expected, std::int64_t timeout_ns) {
  const unsigned n = spurious.load(relaxed);
  const unsigned count = of(call::futex_wait).calls.fetch_add(1, relaxed);
  if (n != 0 && count % (n + 1) != n) return;
  real_futex_wait(word, expected, timeout_ns);
}

int real_membarrier() asm("__real__ZN4weft2rt2os10membarrierEv");
int wrap_membarrier() asm("__wrap__ZN4weft2rt2os10membarrierEv");
int wrap_membarrier() {
  if (const int err = fault(call::membarrier)) return err;
  return real_membarrier();
}

}  // namespace weft::test::faulty
