// overflow: a goroutine has met the guard of its stack. Runs on the alternate signal stack, a few kilobytes, while
// the goroutine may hold any lock there is, malloc's as likely as not: it dies in whatever it called last.
#include "base/print.hpp"
#include "mem/stack.hpp"
#include "observe/child.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"

namespace weft::rt {
namespace {

struct overflow {
  const g* gp;
  stack_frames frames;
  report_progress* progress;
};
constinit overflow the_overflow{};

void add_overflow(line& to, const g& gp) {
  add_title(to, gp, running_text);
  to.text(": stack overflow");
  if (gp.stack != nullptr) to.text(" (").bytes(stack_bytes(*gp.stack)).text(")");
}

void add_advice(line& to, const stack* st) {
  if (st != nullptr && st->slot_class == stack_apart) {
    to.text("\tmain's stack is as large as ulimit -s (RLIMIT_STACK) says\n");
  } else if (st != nullptr && st->slot_class + 1 < stack_classes) {
    to.text("\tmore stack: weft::attrs{.stack_size = ...} for this goroutine, weft::on_big_stack for one call,\n");
    to.text("\toptions::stack_size or WEFT_STACK_SIZE for all; up to ");
    to.bytes(stack_class_bytes[stack_classes - 1]).text("\n");
  } else {
    to.text("\tthis is the largest stack that a goroutine can have\n");
  }
}

void print_title_sig(const g& gp, std::uintptr_t address) {
  line text;
  add_overflow(text, gp);
  text.text(": address ").hex(address).text("\n");
  add_advice(text, gp.stack);
  text.flush_sig();
}

bool print_with_names(void* arg) {
  const overflow& o = *static_cast<overflow*>(arg);
  const symbolizer names;
  print_frames(o.frames, 0, names, &o.progress->frames);
  o.progress->frames = o.frames.size();
  write_stderr(creator_text(*o.gp, find_creator(*o.gp, names)));
  o.progress->creator = true;
  print_missing_library(names);
  return true;
}

}  // namespace

void report_overflow_sig(const g* gp, std::uintptr_t address) {
  print_title_sig(*gp, address);
  if (!begin_report_sig()) return;
  overflow& o = the_overflow;
  o.gp = gp;
  o.frames.take_sig(true);
  o.progress = new_progress_sig();
  if (run_in_child_sig(print_with_names, &o)) return;
  print_frames_sig(o.frames, o.progress->frames);
  if (!o.progress->creator) print_creator_sig(*gp);
  print_no_names_sig();
}

// Found, not met: this is the goroutine itself, back from where it should not have been.
void report_overflow_found(const g* gp, std::uintptr_t address) {
  line text;
  add_overflow(text, *gp);
  text.text(": it had no guard to meet, and has written below its end, at ").hex(address).text("\n");
  add_advice(text, gp->stack);
  text.flush_sig();
}

}  // namespace weft::rt
