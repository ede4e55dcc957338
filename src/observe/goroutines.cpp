#include "observe/goroutines.hpp"

#include <map>
#include <string>

#include "base/print.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "observe/traceback.hpp"
#include "observe/waits.hpp"

namespace weft::rt {
namespace {

// More would bury what was said before them.
constexpr std::size_t most = 1000;

void print_title(const goroutine_list& list, const g& gp) {
  line text;
  text.text("\n");
  add_title(text, gp, state_text(gp), waited_ns(gp, list.now));
  text.text(":\n").flush_sig();
}

// f(gp, i) for the first `most` of them.
template <class F>
void for_each_listed(const goroutine_list& list, F f) {
  struct walk {
    const goroutine_list& list;
    F& f;
    std::size_t n = 0;
  } w{list, f};
  the_process.gs.for_each(
      [](void* object, void* arg) {
        auto& self = *static_cast<walk*>(arg);
        const g& gp = *static_cast<g*>(object);
        if (is_listed(self.list, gp) && ++self.n <= most) self.f(gp, self.n);
      },
      &w);
  if (w.n > most) line{}.text("\n...").number(w.n - most).text(" more goroutines...\n").flush_sig();
}

void print_stack(const g& gp, const symbolizer& names) {
  const status s = gp.status.get();
  if (s == status::running || s == status::detached) {
    write_stderr("\tgoroutine running on other thread; stack unavailable\n");
    return;
  }
  static stack_frames frames;
  if (gp.stack != nullptr && frames.take_parked(gp, names)) print_frames(frames, 0, names, nullptr, true);
}

}  // namespace

bool is_listed(const goroutine_list& list, const g& gp) {
  if (&gp == list.but || !is_alive(gp)) return false;
  if (list.rt == nullptr) return true;
  if (gp.rt != list.rt || gp.is_thread()) return false;
  // Main itself, which nobody has created, has returned; only its record is not buried yet.
  const bool is_main = gp.gopc == nullptr && !list.rt->embedded;
  return !is_main || gp.status.get() == status::waiting;
}

void print_goroutines(const goroutine_list& list, const wait_graph& waits, const symbolizer& names,
                      report_progress* progress) {
  std::map<const void*, creator> creators;  // a million goroutines come from a handful of places
  for_each_listed(list, [&](const g& gp, std::size_t i) {
    print_title(list, gp);
    progress->goroutines = i;
    if (const std::string what = waits.what(gp, list.now); !what.empty()) write_stderr('\t' + what + '\n');
    if (gp.is_thread()) return;
    print_stack(gp, names);
    creator& by = creators[gp.gopc];
    if (by.function.empty()) by = find_creator(gp, names);
    write_stderr(creator_text(gp, by));
  });
}

void print_goroutines_sig(const goroutine_list& list, const report_progress& progress) {
  const std::size_t done = progress.goroutines;
  for_each_listed(list, [&](const g& gp, std::size_t i) {
    if (i <= done) return;
    print_title(list, gp);
    print_creator_sig(gp);
  });
}

}  // namespace weft::rt
