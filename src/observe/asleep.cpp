// asleep: nobody runs any more who could wake the others, or those who should have ended have not. What the reader
// wants to know is what each waits for.
#include <string>

#include "base/print.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "observe/child.hpp"
#include "observe/goroutines.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"
#include "observe/waits.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

// So many are named in one line.
constexpr std::size_t most_in_line = 8;

struct asleep {
  goroutine_list list;
  std::int64_t ns;  // since main returned, or the goroutines were cancelled
  bool with_stacks;
  report_progress* progress;
};
constinit asleep the_asleep{};

bool print_all(void* arg) {
  asleep& a = *static_cast<asleep*>(arg);
  const symbolizer names;
  const wait_graph waits;
  if (const std::string text = waits.cycles(); !text.empty()) write_stderr('\n' + text);
  print_goroutines(a.list, waits, names, a.progress);
  print_missing_library(names);
  return true;
}

// "10 s", "1.5 s", "0.05 s"
std::string seconds(std::int64_t ns) {
  const auto unit = static_cast<std::uint64_t>(ns >= 1'000'000'000 ? 100'000'000 : 1'000'000);
  const std::uint64_t digits = 1'000'000'000 / unit;  // 10 or 1000
  const std::uint64_t n = (static_cast<std::uint64_t>(ns) + unit / 2) / unit;
  std::string text = std::to_string(n / digits);
  if (n % digits != 0) {
    text += '.' + std::to_string(digits + n % digits).substr(1);
    while (text.back() == '0') text.pop_back();
  }
  return text + " s";
}

std::string goroutines(std::uint64_t n) { return std::to_string(n) + (n == 1 ? " goroutine" : " goroutines"); }

// What the time is counted from.
const char* since(const sched_t* rt) { return rt->embedded ? "shutdown began" : "main has returned"; }

struct counted {
  const goroutine_list* list = nullptr;
  std::size_t n = 0;
  std::string named;
};

void count(void* object, void* arg) {
  auto& c = *static_cast<counted*>(arg);
  const g& gp = *static_cast<g*>(object);
  if (!is_listed(*c.list, gp) || ++c.n > most_in_line) return;
  line text;
  text.text(c.n == 1 ? "" : ", ").number(gp.goid);
  add_name(text, gp);
  text.text(" (").text(state_text(gp)).text(")");
  c.named += text.c_str();
}

bool print_awaited(void* arg) {
  asleep& a = *static_cast<asleep*>(arg);
  counted c;
  c.list = &a.list;
  the_process.gs.for_each(count, &c);
  if (c.n == 0) return true;  // the last one has ended meanwhile
  if (a.with_stacks) {
    write_stderr("weft: " + goroutines(c.n) + (c.n == 1 ? " has" : " have") + " not ended " + seconds(a.ns) +
                 " after " + (c.n == 1 ? "it was" : "they were") + " cancelled:\n");
    return print_all(arg);
  }
  if (c.n > most_in_line) c.named += ", and " + std::to_string(c.n - most_in_line) + " more";
  write_stderr(std::string("weft: ") + since(a.list.rt) + ' ' + seconds(a.ns) + " ago; waiting for " + goroutines(c.n) +
               ": " + c.named + '\n');
  return true;
}

}  // namespace

void report_deadlock(const char* text) {
  if (!begin_report_sig()) return;
  line{}.text("fatal error: ").text(text).text("\n").flush_sig();
  asleep& a = the_asleep;
  a.list = {nullptr, nullptr, os::now()};
  a.progress = new_progress_sig();
  if (run_in_child_sig(print_all, &a)) return;
  print_goroutines_sig(a.list, *a.progress);
  print_no_names_sig();
}

// In a copy too, although nobody is dying: in the process itself names are freed while they are read.
void report_awaited(const sched_t* rt, std::int64_t ns, bool with_stacks) {
  if (!begin_report_sig()) return;
  asleep& a = the_asleep;
  a.list = {nullptr, rt, os::now()};
  a.ns = ns;
  a.with_stacks = with_stacks;
  a.progress = new_progress_sig();
  if (!run_in_child_sig(print_awaited, &a)) {
    const auto ms = static_cast<std::uint64_t>(ns / 1'000'000);
    line text;
    text.text("weft: goroutines that have not ended ").number(ms).text(" ms after ");
    text.text(with_stacks ? "they were cancelled" : since(rt)).text(": ").number(goroutines_alive(rt));
    text.text("; the process that lists them could not be started, or did not finish\n").flush_sig();
  }
  free_progress(a.progress);
  end_report();
}

}  // namespace weft::rt
