// schedtrace: one line about the scheduler, in the format of Go 1.25 and newer (GO-BEHAVIOUR E1).
#include <string>

#include "base/print.hpp"
#include "os/sys.hpp"
#include "sched/sched.hpp"

namespace weft::rt {

void print_schedtrace(sched_t* rt) {
  std::uint32_t threads, idle_threads, queued, idle_procs;
  {
    mutex_guard guard(rt->lock);
    threads = rt->nm + (rt->has_sysmon ? 1 : 0);
    idle_threads = rt->nmidle;
    queued = rt->runq.size();
    idle_procs = rt->npidle.load(relaxed);
  }
  // One string, one write: with thousands of Ps a line outgrows base/print.
  std::string text = "SCHED " + std::to_string((os::now() - rt->start_time) / 1'000'000) + "ms:";
  auto field = [&](const char* name, std::uint32_t v) { text.append(" ").append(name) += '=' + std::to_string(v); };
  field("gomaxprocs", rt->nprocs);
  field("idleprocs", idle_procs);
  field("threads", threads);
  field("spinningthreads", rt->nmspinning.load(relaxed));
  field("needspinning", rt->needspinning.load(relaxed));
  field("idlethreads", idle_threads);
  field("runqueue", queued);
  text += " [";
  for (std::uint32_t i = 0; i < rt->nprocs; ++i) text += ' ' + std::to_string(rt->allp[i].q.length());
  text += " ] schedticks=[";
  for (std::uint32_t i = 0; i < rt->nprocs; ++i) text += ' ' + std::to_string(rt->allp[i].schedtick.load(relaxed));
  text += " ]\n";
  print_text(text.data(), text.size());
}

}  // namespace weft::rt
