#include "support/replay.hpp"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.hpp"
#include "base/print.hpp"
#include "base/wires.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "os/sanitizers.hpp"
#include "support/build.hpp"

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif
#ifdef WEFT_TSAN
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
#endif

namespace weft::test {
namespace {

constinit char the_line[2000] = {};
constinit bool printed = false;

// What is printed at the end is read without locks, on purpose: the holder of a lock may be what hangs.
void reads_may_race() {
#ifdef WEFT_TSAN
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
#endif
}

// Runs after "fatal error: …" has been printed and before the process ends.
void dump_with_replay() {
  reads_may_race();
  print_replay_sig();
  rt::wires.fatal_dump();
}

void on_crash(int sig) {
  print_replay_sig();
  // SA_RESETHAND has put the default action back: the fault or the abort happens again and ends the process.
  ::raise(sig);
}

void on_alarm(int) {
  rt::line{}.text("\ntest: no end in sight; the watchdog gives up\n").flush_sig();
  reads_may_race();
  print_replay_sig();
  print_state_sig();
  // The dump may hang too, in a process that hangs: a second alarm is not caught.
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(20);
  rt::wires.fatal_dump();
  ::signal(SIGABRT, SIG_DFL);
  std::abort();
}

void handle(int sig, void (*fn)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = fn;
  action.sa_flags = flags;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(sig, &action, nullptr);
}

void install() {
  static const bool once = [] {
    // Before the runtime's own fault handler, which hands on what is no stack overflow to us.
    handle(SIGABRT, on_crash, SA_ONSTACK | SA_RESETHAND);
    if constexpr (!built_with_asan && !built_with_tsan) {
      for (int sig : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) handle(sig, on_crash, SA_ONSTACK | SA_RESETHAND);
    }
#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
    __sanitizer_set_death_callback(print_replay_sig);
#endif
    return true;
  }();
  static_cast<void>(once);
}

struct census {
  std::uint64_t by_status[8] = {};
  std::uint64_t by_reason[8] = {};
  std::uint64_t proxies = 0;
};

void count_goroutine(void* object, void* arg) {
  const auto& gp = *static_cast<const rt::g*>(object);
  auto& c = *static_cast<census*>(arg);
  const auto s = static_cast<unsigned>(gp.status.get());
  if (s < 8) ++c.by_status[s];
  if (gp.status.get() == rt::status::waiting) {
    if (static_cast<unsigned>(gp.reason) < 8) ++c.by_reason[static_cast<unsigned>(gp.reason)];
    if (gp.is_thread()) ++c.proxies;
  }
}

// The runtimes are found through their goroutines: there is no list of them.
struct runtimes {
  const rt::sched_t* found[8] = {};
  unsigned n = 0;
};

void collect_runtime(void* object, void* arg) {
  const auto& gp = *static_cast<const rt::g*>(object);
  auto& r = *static_cast<runtimes*>(arg);
  const rt::status s = gp.status.get();
  if (s == rt::status::idle || s == rt::status::dead || gp.rt == nullptr || gp.is_thread()) return;
  for (unsigned i = 0; i < r.n; ++i) {
    if (r.found[i] == gp.rt) return;
  }
  if (r.n < 8) r.found[r.n++] = gp.rt;
}

void print_runtime(const rt::sched_t& s) {
  rt::line text;
  text.text("SCHED: procs=").number(s.nprocs);
  text.text(" idleprocs=").number(s.npidle.load(rt::relaxed));
  text.text(" threads=").number(s.nm).text(" idlethreads=").number(s.nmidle);
  text.text(" spinningthreads=").number(s.nmspinning.load(rt::relaxed));
  text.text(" needspinning=").number(s.needspinning.load(rt::relaxed));
  text.text(" runqueue=").number(s.runq_size.load(rt::relaxed));
  text.text(" attention=").number(s.attention.load(rt::relaxed));
  text.text(" live_ms=").number(s.live_ms.load(rt::relaxed));
  text.text(" foreign=").number(s.foreign.load(rt::relaxed));
  text.text("\n").flush_sig();
  for (std::uint32_t i = 0; i < s.nprocs && i < 16; ++i) {
    const rt::p& pp = s.allp[i];
    text.text("  P").number(i).text(pp.status.get() == rt::p_status::running ? ": running" : ": idle");
    if (pp.m != nullptr) text.text(" m=").number(pp.m->id);
    text.text(" runq=").number(pp.q.length()).text(pp.q.has_next() ? "+next" : "");
    text.text(" schedtick=").number(pp.schedtick.load(rt::relaxed));
    text.text(" created=").number(pp.created.load(rt::relaxed));
    text.text(" ended=").number(pp.ended.load(rt::relaxed)).text("\n").flush_sig();
  }
  const rt::m* mp = s.allm;
  for (unsigned n = 0; mp != nullptr && n < 32; mp = mp->alllink, ++n) {
    text.text("  M").number(mp->id).text(": tid=").number(mp->tid);
    text.text(mp->blocked ? " asleep" : "").text(mp->spinning ? " spinning" : "");
    if (mp->p != nullptr) text.text(" p=").number(mp->p->id);
    if (mp->curg != nullptr) text.text(" goroutine ").number(mp->curg->goid);
    text.text(" in_runtime=").number(mp->in_runtime.load(rt::relaxed));
    text.text(" revoke=").number(mp->revoke.load(rt::relaxed)).text("\n").flush_sig();
  }
}

}  // namespace

void set_replay_line(const std::string& text) {
  install();
  const std::size_t n = text.size() < sizeof the_line - 1 ? text.size() : sizeof the_line - 1;
  std::memcpy(the_line, text.data(), n);
  the_line[n] = '\0';
  printed = false;
  rt::set_fatal_dump(dump_with_replay);
}

const char* replay_line() { return the_line; }

void print_replay_sig() {
  if (printed || the_line[0] == '\0') return;
  printed = true;
  // Not through base/print's line: it may be longer than one.
  rt::print_text("replay: ", 8);
  rt::print_text(the_line, std::strlen(the_line));
  rt::print_text("\n", 1);
}

std::string executable() {
  char path[1000];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path - 1);
  return n > 0 ? std::string(path, static_cast<std::size_t>(n)) : std::string("(this executable)");
}

unsigned long long number_from_env(const char* name, unsigned long long otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (errno != 0 || *end != '\0' || *text == '-') {
    std::fprintf(stderr, "test: %s=%s is not a number\n", name, text);
    std::_Exit(2);
  }
  return value;
}

void set_watchdog(unsigned seconds) {
  handle(SIGALRM, on_alarm, SA_ONSTACK);
  ::alarm(seconds * (built_with_asan || built_with_tsan ? 5 : 1));
}

void clear_watchdog() { ::alarm(0); }

void print_state_sig() {
  runtimes r;
  rt::the_process.gs.for_each(collect_runtime, &r);
  for (unsigned i = 0; i < r.n; ++i) print_runtime(*r.found[i]);
  census c;
  rt::the_process.gs.for_each(count_goroutine, &c);
  rt::line text;
  text.text("goroutines: ").number(c.by_status[1]).text(" runnable, ").number(c.by_status[2]).text(" running, ");
  text.number(c.by_status[3]).text(" detached, ").number(c.by_status[4]).text(" waiting");
  for (unsigned i = 1; i < 8; ++i) {
    if (c.by_reason[i] == 0) continue;
    text.text(", ").number(c.by_reason[i]).text(" in ").text(rt::to_text(static_cast<rt::wait_reason>(i)));
  }
  text.text("; of the waiting ").number(c.proxies).text(" plain threads\n").flush_sig();
}

}  // namespace weft::test
