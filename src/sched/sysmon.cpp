// sysmon: a thread without a P that watches. For now it has one duty, the schedtrace line, and exists only
// while that is asked for; taking Ps back from goroutines that block or spin is its next.
#include "base/check.hpp"
#include "base/print.hpp"
#include "os/sys.hpp"
#include "sched/sched.hpp"

namespace weft::rt {
namespace {

void sysmon_main(void* arg) {
  auto* rt = static_cast<sched_t*>(arg);
  const auto period = static_cast<std::int64_t>(rt->knobs.schedtrace) * 1'000'000;
  std::int64_t due = rt->start_time;
  for (;;) {
    const std::int64_t left = due - os::now();
    if (left > 0 && rt->sysmon_note.sleep_for(left)) return;
    print_schedtrace(rt);
    due += period;
    if (due < os::now()) due = os::now() + period;
  }
}

}  // namespace

void start_sysmon(sched_t* rt) {
  rt->has_sysmon = true;
  const int err = os::thread_start(&rt->sysmon_thread, sysmon_main, rt);
  if (err != 0) {
    line{}
        .text("weft: no thread for schedtrace (errno ")
        .number(static_cast<std::uint64_t>(err))
        .text(")\n")
        .flush_sig();
    rt->has_sysmon = false;
  }
}

void stop_sysmon(sched_t* rt) {
  rt->sysmon_note.wakeup();
  os::thread_join(rt->sysmon_thread);
  rt->has_sysmon = false;
}

}  // namespace weft::rt
