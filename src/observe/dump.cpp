// dump: what a fatal error says about the goroutines. The runtime is broken, and others may go on changing what
// is read here: the copy of the process, in which all is still, reads most of it.
#include <string>
#include <string_view>

#include "arch/getg.hpp"
#include "base/print.hpp"
#include "model/process.hpp"
#include "observe/child.hpp"
#include "observe/goroutines.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"
#include "observe/waits.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

struct dump {
  goroutine_list others;  // than `others.but`, which is shown first
  bool thread_gone;       // it has left the current goroutine's stack
  stack_frames frames;
  report_progress* progress;
};
constinit dump the_dump{};
constexpr const char* left_stack = "\tthe thread has left its stack\n";

void print_title(const g& gp) {
  line text;
  text.text("\n");
  add_title(text, gp, running_text);
  text.text(":\n").flush_sig();
}

std::size_t after_fatal(const stack_frames& frames, const symbolizer& names) {
  for (std::size_t i = 0; i < frames.size() && i < 8; ++i) {
    const std::string_view function = names.look_up(frames.at(i).look_up()).calls.back().function;
    if (function.substr(0, 16) == "weft::rt::fatal(") return i + 1;
  }
  return 0;
}

bool print_with_names(void* arg) {
  dump& d = *static_cast<dump*>(arg);
  const symbolizer names;
  const g* current = d.others.but;
  if (current != nullptr) print_title(*current);
  d.progress->title = true;
  if (d.thread_gone) {
    write_stderr(left_stack);
  } else {
    print_frames(d.frames, after_fatal(d.frames, names), names, &d.progress->frames);
  }
  d.progress->frames = d.frames.size();
  if (current != nullptr) write_stderr(creator_text(*current, find_creator(*current, names)));
  d.progress->creator = true;
  const wait_graph waits;
  print_goroutines(d.others, waits, names, d.progress);
  print_missing_library(names);
  return true;
}

void print_rest(const dump& d) {
  const g* current = d.others.but;
  if (!d.progress->title && current != nullptr) {
    print_title(*current);
    if (d.thread_gone) write_stderr(left_stack);
  }
  print_frames_sig(d.frames, d.progress->frames);
  if (!d.progress->creator && current != nullptr) print_creator_sig(*current);
  print_goroutines_sig(d.others, *d.progress);
  print_no_names_sig();
}

void report(const g* current, bool thread_gone) {
  dump& d = the_dump;
  d.others = {current, nullptr, os::now()};
  d.thread_gone = thread_gone;
  if (!thread_gone) d.frames.take_sig();
  d.progress = new_progress_sig();
  if (!run_in_child_sig(print_with_names, &d)) print_rest(d);
}

}  // namespace

void report_goroutines() {
  if (begin_report_sig()) report(getg(), false);
}

void report_thread_ended(const g* gp) {
  if (!begin_report_sig()) return;
  line text;
  text.text("fatal error: the thread of ");
  add_who(text, *gp);
  text.text(" has ended (pthread_exit or thread cancellation in foreign code)\n").flush_sig();
  report(gp, true);
}

}  // namespace weft::rt
