// dump: what a fatal error says about the goroutines. The runtime is broken, and others may go on changing what
// is read here: the copy of the process, in which all is still, reads most of it.
#include <map>
#include <string>
#include <string_view>

#include "arch/getg.hpp"
#include "base/print.hpp"
#include "model/process.hpp"
#include "observe/child.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"

namespace weft::rt {
namespace {

// More would bury the error that was named before them.
constexpr std::size_t most = 1000;

struct dump {
  const g* current;
  stack_frames frames;
  report_progress* progress;
};
constinit dump the_dump{};

bool is_alive(const g& gp) {
  const status s = gp.status.get();
  return s != status::idle && s != status::dead;
}

void print_title(const g& gp) {
  line text;
  text.text("\n");
  add_title(text, gp, state_text(gp));
  text.text(":\n").flush_sig();
}

// f(gp, i) for the first `most` goroutines that live, other than the current one.
template <class F>
void for_each_alive(const dump& d, F f) {
  struct walk {
    const dump& d;
    F& f;
    std::size_t n = 0;
  } w{d, f};
  the_process.gs.for_each(
      [](void* object, void* arg) {
        auto& self = *static_cast<walk*>(arg);
        const g& gp = *static_cast<g*>(object);
        if (&gp == self.d.current || !is_alive(gp)) return;
        if (++self.n <= most) self.f(gp, self.n);
      },
      &w);
  if (w.n > most) line{}.text("\n...").number(w.n - most).text(" more goroutines...\n").flush_sig();
}

std::size_t after_fatal(const stack_frames& frames, const symbolizer& names) {
  for (std::size_t i = 0; i < frames.size() && i < 8; ++i) {
    const std::string_view function = names.look_up(frames.at(i).look_up()).calls.back().function;
    if (function.substr(0, 16) == "weft::rt::fatal(") return i + 1;
  }
  return 0;
}

// Of a goroutine that is not the current one.
void print_stack(const g& gp, const symbolizer& names) {
  const status s = gp.status.get();
  if (s == status::running || s == status::detached) {
    write_stderr("\tgoroutine running on other thread; stack unavailable\n");
    return;
  }
  static stack_frames frames;
  if (gp.stack != nullptr && frames.take_parked(gp, names)) print_frames(frames, 0, names, nullptr, true);
}

bool print_with_names(void* arg) {
  dump& d = *static_cast<dump*>(arg);
  const symbolizer names;
  if (d.current != nullptr) print_title(*d.current);
  d.progress->title = true;
  print_frames(d.frames, after_fatal(d.frames, names), names, &d.progress->frames);
  d.progress->frames = d.frames.size();
  if (d.current != nullptr) write_stderr(creator_text(*d.current, find_creator(*d.current, names)));
  d.progress->creator = true;

  std::map<const void*, creator> creators;  // a million goroutines come from a handful of places
  for_each_alive(d, [&](const g& gp, std::size_t i) {
    print_title(gp);
    d.progress->goroutines = i;
    if (gp.is_thread()) return;
    print_stack(gp, names);
    creator& by = creators[gp.gopc];
    if (by.function.empty()) by = find_creator(gp, names);
    write_stderr(creator_text(gp, by));
  });
  print_missing_library(names);
  return true;
}

void print_rest(const dump& d) {
  if (!d.progress->title && d.current != nullptr) print_title(*d.current);
  print_frames_sig(d.frames, d.progress->frames);
  if (!d.progress->creator && d.current != nullptr) print_creator_sig(*d.current);
  const std::size_t done = d.progress->goroutines;
  for_each_alive(d, [done](const g& gp, std::size_t i) {
    if (i <= done) return;
    print_title(gp);
    print_creator_sig(gp);
  });
  print_no_names_sig();
}

}  // namespace

void report_goroutines() {
  if (!begin_report_sig()) return;
  dump& d = the_dump;
  d.current = getg();
  d.frames.take_sig();
  d.progress = new_progress_sig();
  if (!run_in_child_sig(print_with_names, &d)) print_rest(d);
}

}  // namespace weft::rt
