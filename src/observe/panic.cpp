// panic: the report of an exception that leaves a goroutine. The frames that threw are still on the stack,
// because the goroutine's first frame ends the unwinder's search (arch/x86_64/switch.S).
#include <cxxabi.h>

#include <exception>
#include <string>
#include <typeinfo>

#include "base/print.hpp"
#include "observe/child.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"
#include "os/sys.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

// An exception and those that it carries in std::nested_exception, outermost first. The texts live as long
// as the exceptions do, and those live until the process dies.
struct chain {
  struct link {
    const std::type_info* type = nullptr;
    const char* what = nullptr;
    bool is_number = false;
    long long number = 0;
  };
  static constexpr std::size_t max = 16;
  link links[max];
  std::size_t n = 0;
  bool more = false;
};

void add(chain& to, const std::exception_ptr& e);

void add_nested(chain& to, const std::nested_exception* nested) {
  if (nested != nullptr && nested->nested_ptr() != nullptr) add(to, nested->nested_ptr());
}

template <class Number>
chain::link number_link(Number n) {
  return {&typeid(Number), nullptr, true, static_cast<long long>(n)};
}

// In the process itself, because what() is the user's code.
void add(chain& to, const std::exception_ptr& e) {
  if (to.n == chain::max) {
    to.more = true;
    return;
  }
  chain::link& l = to.links[to.n++];
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    l = {&typeid(x), x.what()};
    add_nested(to, dynamic_cast<const std::nested_exception*>(&x));
  } catch (const std::nested_exception& x) {
    l = {&typeid(x)};
    add_nested(to, &x);
  } catch (const std::string& x) {
    l = {&typeid(x), x.c_str()};
  } catch (const char* x) {
    l = {&typeid(x), x};
  } catch (const v0::cancelled& x) {
    l = {&typeid(x), x.what()};
  } catch (int x) {
    l = number_link(x);
  } catch (long x) {
    l = number_link(x);
  } catch (unsigned x) {
    l = number_link(x);
  } catch (...) {
    l = {abi::__cxa_current_exception_type()};
  }
}

// Not an exception of the user's, but one that unwinds a goroutine and was not to be met by a noexcept function.
const char* unwinding_text(const chain& c) {
  if (c.n == 0 || c.links[0].type == nullptr) return nullptr;
  if (*c.links[0].type == typeid(v0::cancelled)) return "weft::cancelled";
  if (*c.links[0].type == typeid(v0::detail::goexit_unwind)) return "weft::this_goroutine::exit";
  return nullptr;
}

// All that a report needs. Static: a goroutine that panics may have little stack left, and one reports at a time.
struct panic {
  const g* gp;
  chain exceptions;
  bool foreign;  // an exception that C++ did not throw
  stack_frames frames;
  report_progress* progress;
};
constinit panic the_panic{};

// As Go prints it: further lines are indented, so that they are not taken for the report's own.
void add_indented(std::string& to, const char* text) {
  for (; *text != '\0'; ++text) {
    to += *text;
    if (*text == '\n') to += '\t';
  }
}

std::string describe(const chain::link& l) {
  std::string text = l.type != nullptr ? readable_type(l.type->name()) : "exception of unknown type";
  if (l.what != nullptr) {
    text += ": ";
    add_indented(text, l.what);
  }
  if (l.is_number) text += ": " + std::to_string(l.number);
  return text;
}

const char* without_exception(const unwinding& seen) {
  if (seen.forced) return "forced unwinding (pthread_exit or thread cancellation) has met a noexcept function";
  if (seen.at_noexcept) return "an exception that is not C++'s has met a noexcept function";
  return "terminate called without an active exception";
}

void add_whose(line& to, const g* gp) {
  to.text("\n");
  if (gp != nullptr) {
    add_title(to, *gp, running_text);
  } else {
    to.text("thread ").number(os::thread_id());
  }
  to.text(":\n");
}

// `met`: the noexcept function that stopped what unwinds a goroutine; empty: it is not known, or nothing of that kind.
std::string title(const panic& p, const unwinding& seen, const std::string& met = {}) {
  std::string text = "panic: ";
  if (const char* what = unwinding_text(p.exceptions); what != nullptr && seen.at_noexcept) {
    text += std::string(what) + " has met a noexcept function" + (met.empty() ? "" : ": " + met) + '\n';
  } else if (p.exceptions.n > 0) {
    for (std::size_t i = 0; i < p.exceptions.n; ++i) {
      if (i > 0) text += "\tcaused by: ";
      text += describe(p.exceptions.links[i]) + '\n';
    }
    if (p.exceptions.more) text += "\tcaused by: ...\n";
  } else if (p.foreign) {
    text += "an exception that is not C++'s\n";
  } else {
    text += std::string(without_exception(seen)) + '\n';
  }
  line whose;
  add_whose(whose, p.gp);
  return text + whose.c_str();
}

// In the copy of the process.
bool print_with_names(void* arg) {
  panic& p = *static_cast<panic*>(arg);
  const bool has_exception = p.exceptions.n > 0 || p.foreign;
  // The most important lines come before what may go wrong.
  const bool unwinds = unwinding_text(p.exceptions) != nullptr;
  if (has_exception && !unwinds) {
    write_stderr(title(p, {}));
    p.progress->title = true;
  }
  const symbolizer names;
  p.frames.go_on(names);
  unwinding seen;
  const std::size_t from = machinery(p.frames, names, &seen);
  if (!p.progress->title) {
    std::string met;
    if (unwinds && seen.at_noexcept) {
      const std::size_t at = noexcept_frame(p.frames, from, seen);
      if (at < p.frames.size()) met = place_in_one_line(p.frames.at(at), names);
    }
    write_stderr(title(p, seen, met));
    p.progress->title = true;
  }
  print_frames(p.frames, from, names, &p.progress->frames);
  p.progress->frames = p.frames.size();
  if (p.gp != nullptr) write_stderr(creator_text(*p.gp, find_creator(*p.gp, names)));
  p.progress->creator = true;
  print_missing_library(names);
  return true;
}

// What the copy did not get done, with types as the compiler spells them.
void print_rest(const panic& p) {
  if (!p.progress->title) {
    line text;
    text.text("panic: ");
    if (p.exceptions.n > 0) {
      const chain::link& l = p.exceptions.links[0];
      text.text(l.type != nullptr ? l.type->name() : "exception of unknown type");
      if (l.what != nullptr) text.text(": ").text(l.what);
      if (l.is_number) text.text(": ").signed_number(l.number);
    } else {
      text.text(p.foreign ? "an exception that is not C++'s" : without_exception({}));
    }
    text.text("\n").flush_sig();
    add_whose(text, p.gp);
    text.flush_sig();
  }
  print_frames_sig(p.frames, p.progress->frames);
  if (p.gp != nullptr && !p.progress->creator) print_creator_sig(*p.gp);
  print_no_names_sig();
}

}  // namespace

void report_uncaught(const g* gp) {
  if (!begin_report_sig()) {
    line{}.text("weft: std::terminate again, while the first was being reported\n").flush_sig();
    return;
  }
  panic& p = the_panic;
  p.gp = gp;
  // A foreign exception is among the caught ones, the first word of the globals, but has no exception_ptr.
  if (const std::exception_ptr e = std::current_exception()) {
    add(p.exceptions, e);
  } else {
    p.foreign = *reinterpret_cast<void**>(abi::__cxa_get_globals()) != nullptr;
  }
  if (unwinding_text(p.exceptions) != nullptr) {
    p.frames.take_with_stops();
  } else {
    p.frames.take_sig();
  }
  p.progress = new_progress_sig();
  if (!run_in_child_sig(print_with_names, &p)) print_rest(p);
}

}  // namespace weft::rt
