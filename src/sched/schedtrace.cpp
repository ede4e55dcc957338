// schedtrace: a line about the scheduler, and with scheddetail one for each P, M and goroutine, in the format of Go 1.25
// and newer, or of 1.23 (GO-BEHAVIOUR E1): programs that read Go's read ours.
//
// Everything is read while it changes. Ms are walked under sched.lock, which keeps them on their list; what an M does at
// the moment may be half of one thing and half of the next, as in Go.
#include <string>

#include "base/glance.hpp"
#include "base/print.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/sched.hpp"

namespace weft::rt {
namespace {

class trace {
 public:
  explicit trace(sched_t* rt) : rt_(rt), old_(rt->knobs.schedformat == 1) {}

  // One string, one write: with thousands of Ps a line outgrows base/print.
  void print() {
    {
      mutex_guard guard(rt_->lock);
      line();
      if (rt_->knobs.scheddetail != 0) details();
    }
    print_text(text_.data(), text_.size());
  }

 private:
  void add(const char* name, std::uint64_t v) { text_.append(" ").append(name) += '=' + std::to_string(v); }
  void add(const char* name, const char* v) { text_.append(" ").append(name).append("=").append(v); }
  void add_flag(const char* name, bool v) { add(name, v ? "true" : "false"); }
  // Go's way to name an M or a P: its number, or nil.
  template <class T>
  void add_id(const char* name, const T* of) {
    if (of == nullptr) {
      add(name, "nil");
    } else {
      add(name, of->id);
    }
  }

  void line() {
    const std::uint32_t n = procs(rt_);
    text_ = "SCHED " + std::to_string((os::now() - rt_->start_time) / 1'000'000) + "ms:";
    add("gomaxprocs", n);
    add("idleprocs", rt_->npidle.load(relaxed));
    add("threads", rt_->nm + watchers(rt_));
    add("spinningthreads", rt_->nmspinning.load(relaxed));
    add("needspinning", rt_->needspinning.load(relaxed));
    add("idlethreads", rt_->nmidle);
    add("runqueue", rt_->runq.size());
    if (rt_->knobs.scheddetail != 0) {
      add_flag("gcwaiting", (rt_->attention.load(relaxed) & attention_stop) != 0);
      add("nmidlelocked", rt_->nmidlelocked);
      add("stopwait", rt_->stopwait.load(relaxed));
      add_flag("sysmonwait", rt_->sysmon_waits);
      text_ += '\n';
      return;
    }
    // 1.23 writes [1 0], since 1.25 it is [ 1 0 ] and the ticks.
    text_ += " [";
    for (std::uint32_t i = 0; i < n; ++i) {
      if (!old_ || i != 0) text_ += ' ';
      text_ += std::to_string(rt_->allp[i].q.length());
    }
    if (!old_) {
      text_ += " ] schedticks=[";
      for (std::uint32_t i = 0; i < n; ++i) text_ += ' ' + std::to_string(rt_->allp[i].schedtick.load(relaxed));
      text_ += ' ';
    }
    text_ += "]\n";
  }

  void details() {
    for (std::uint32_t i = 0; i < procs(rt_); ++i) detail(rt_->allp[i]);
    for (const m* mp = rt_->allm; mp != nullptr; mp = mp->alllink) detail(*mp);
    the_process.gs.for_each(
        [](void* object, void* arg) {
          auto* self = static_cast<trace*>(arg);
          self->detail(*static_cast<g*>(object));
        },
        this);
  }

  void detail(const p& pp) {
    text_ += "  P" + std::to_string(pp.id) + ":";
    add("status", static_cast<std::uint32_t>(pp.status.get()));
    add("schedtick", pp.schedtick.load(relaxed));
    add("syscalltick", std::uint64_t{0});
    add_id("m", glance(pp.m));
    add("runqsize", pp.q.length());
    add("gfreecnt", glance(pp.ngfree));
    add("timerslen", pp.timers->size_hint());
    text_ += '\n';
  }

  void detail(const m& mp) {
    text_ += "  M" + std::to_string(mp.id) + ":";
    add_id("p", glance(mp.p));
    add_goid("curg", glance(mp.curg));
    add("mallocing", std::uint64_t{0});
    add("throwing", std::uint64_t{0});
    add("preemptoff", "");
    add("locks", std::uint64_t{0});
    add("dying", std::uint64_t{0});
    add_flag("spinning", glance(mp.spinning));
    add_flag("blocked", glance(mp.blocked));
    add_goid("lockedg", glance(mp.lockedg));
    text_ += '\n';
  }
  void add_goid(const char* name, const g* gp) {
    if (gp == nullptr) {
      add(name, "nil");
    } else {
      add(name, glance(gp->goid));
    }
  }

  void detail(const g& gp) {
    const status s = gp.status.get();
    const std::uint8_t flags = glance(gp.flags);
    if (s == status::idle || s == status::dead || glance(gp.rt) != rt_ || (flags & g_is_thread) != 0) return;
    text_ += "  G" + std::to_string(glance(gp.goid)) + ": status=" + std::to_string(static_cast<std::uint32_t>(s));
    text_.append("(").append(s == status::waiting ? to_text(glance(gp.reason)) : "").append(")");
    add_id("m", glance(gp.m));
    add_id("lockedm", (flags & g_locked) != 0 ? glance(gp.tied) : nullptr);
    text_ += '\n';
  }

  sched_t* rt_;
  bool old_;
  std::string text_;
};

}  // namespace

void print_schedtrace(sched_t* rt) { trace(rt).print(); }

}  // namespace weft::rt
